import { describe, expect, it } from "vitest";
import { candidates, canonicalId, firstCandidate, fullId, textOf, uuidTraceId } from "./request-id.ts";

const UUID = "8608dc74-c943-4052-9ee4-1dafdc06e6c1";

describe("candidates", () => {
  it.each([
    ["chat", `chatcmpl-${UUID}`, UUID],
    ["completion, one prompt", `cmpl-${UUID}-0`, UUID],
    ["completion, eleventh prompt", "cmpl-job-10", "job"],
    ["beam search", `cmpl-${UUID}-0123456789abcdef-beam-1`, UUID],
    ["n = 2 in vLLM 0.11", `1_chatcmpl-${UUID}`, UUID],
    ["upper case", `chatcmpl-${UUID.toUpperCase()}`, UUID.toUpperCase()],
    ["an empty X-Request-Id", "chatcmpl-", ""],
    ["an id that ends like an index", "chatcmpl-job-1", "job-1"],
    ["no prefix", UUID, UUID],
    ["60 characters, of which the log has 36", `chatcmpl-${"a".repeat(60)}`, "a".repeat(36)],
  ])("puts the logged id first for %s", (_, text, id) => {
    expect(candidates(text)[0]).toBe(id);
  });

  it.each(
    ["", "chatcmpl-", "cmpl-", "1_chatcmpl-", "embd-", "embd-rerank-", "score-", "resp-", "other-", "-", "ü"].flatMap(
      (head) =>
        [UUID, UUID.toUpperCase(), `${UUID}-0`, `${UUID.slice(1)}g`, UUID.slice(1), "job", ""].map((id) => head + id),
    ),
  )("firstCandidate gives the first of %j", (text) => {
    expect(firstCandidate(text)).toBe(candidates(text)[0]);
  });

  it("does not take a completion's index for part of another id", () => {
    expect(candidates("cmpl-job-1")).toEqual(["job"]);
    expect(candidates("cmpl-job-1-0")).toEqual(["job-1"]);
  });

  it("tries vLLM's random tail last", () => {
    expect(candidates("chatcmpl-job-0123abcd")).toEqual(["job-0123abcd", "chatcmpl-job-0123abcd", "job"]);
    expect(candidates("cmpl-job-0-0123abcd")).toContain("job");
  });

  it("undoes Latin-1 mojibake, as bytes", () => {
    const logged = Buffer.from("id-ü中", "utf8").toString("latin1");
    expect(candidates("chatcmpl-id-\u00c3\u00bc\u00e4\u00b8\u00ad")[0]).toBe(logged);
    expect(candidates("chatcmpl-id-ü中")[0]).toBe(logged);
    expect(textOf(logged)).toBe("id-ü中");
  });
});

describe("canonicalId", () => {
  it("is one for all spans of a request", () => {
    for (const text of [`chatcmpl-${UUID}`, `cmpl-${UUID}-0`, `cmpl-${UUID}-1`, `0_chatcmpl-${UUID}`])
      expect(canonicalId(text)).toBe(UUID);
    expect(fullId(`chatcmpl-${"b".repeat(60)}`)).toHaveLength(60);
  });
});

describe("uuidTraceId", () => {
  it("is the UUID's bits in either case, and nothing for the nil UUID or other texts", () => {
    expect(uuidTraceId(UUID.toUpperCase())).toBe("8608dc74c94340529ee41dafdc06e6c1");
    expect(uuidTraceId("00000000-0000-0000-0000-000000000000")).toBeUndefined();
    expect(uuidTraceId(UUID.replaceAll("-", ""))).toBeUndefined();
    expect(uuidTraceId(`${UUID}0`)).toBeUndefined();
  });
});
