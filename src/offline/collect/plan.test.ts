import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PART } from "../files/collected.ts";
import { type LocalFiles, localName, makePlan, type RemoteFile } from "./plan.ts";
import type { FileState } from "./record.ts";

const PATHS = { traces: "/traces", log: "/var/nginx" };
const LOG = "nginx_h.log";

function log(suffix: string, inode: string, size: number, mtime = 1000): RemoteFile {
  return { kind: "n", path: `/var/nginx/nginx_error.log${suffix}`, inode, size, mtime };
}

function plan(files: RemoteFile[], known: Record<string, FileState> = {}, local: LocalFiles = new Map()) {
  return makePlan(files, PATHS, "h", new Map(Object.entries(known)), local);
}

function here(files: Record<string, number>, mtime = 900): LocalFiles {
  return new Map(Object.entries(files).map(([name, size]) => [name, { size, mtime }]));
}

function trace(path: string): RemoteFile {
  return { kind: "t", path, inode: "1", size: 1, mtime: 1 };
}

describe("localName", () => {
  it.each([
    [{ ...trace("/traces/a/b.log") }, "logs_h/a/b.log"],
    [log("", "1", 1), "nginx_h.log"],
    [log(".2.gz", "1", 1), "nginx_h.log.2.gz"],
    [log("-20261122.gz", "1", 1), "nginx_h.log-20261122.gz"],
    [{ ...log("", "1", 1), kind: "a" as const, path: "/var/nginx/nginx_access.log.1" }, "nginx_access_h.log.1"],
  ])("localName of %j is %s", (file, wanted) => {
    expect(localName(file, PATHS, "h")).toBe(wanted);
  });

  it.each([
    "/traces/../etc/passwd",
    "/traces/a/../../x",
    "/traces/./x",
    "/traces//x",
    "/traces/",
    "/etc/passwd",
    "/traces/\xff.log",
    `/traces/x${PART}`,
  ])("localName refuses %j, which a host may answer", (path) => {
    expect(localName(trace(path), PATHS, "h")).toHaveProperty("reason");
  });

  it("localName never leads out of the target, whatever a host answers", () => {
    const path = fc.string({ unit: fc.constantFrom("/", "..", ".", "a", "traces", "\n", "\0") });
    fc.assert(
      fc.property(path, fc.constantFrom("t", "n", "a"), (text, kind) => {
        const name = localName({ ...trace(`/traces/${text}`), kind } as RemoteFile, PATHS, "h");
        if (typeof name === "string") expect(name.split("/")).not.toContain("..");
        if (typeof name === "string") expect(name).toMatch(/^logs_h\//);
      }),
    );
  });
});

describe("makePlan", () => {
  it("makePlan leaves alone what has the size and time that it has there", () => {
    const { steps, whole } = plan([log("", "1", 5, 900)], {}, here({ [LOG]: 5 }));
    expect(steps).toEqual([]);
    expect(whole).toHaveLength(1);
  });

  it("makePlan continues a part before anything else", () => {
    const known = { [LOG]: { inode: "1", size: 3, mtime: 900 } };
    const { steps } = plan([log("", "1", 9)], known, here({ [LOG]: 3, [LOG + PART]: 6 }));
    expect(steps).toMatchObject([{ name: LOG, base: LOG + PART, offset: 6 }]);
  });

  it("makePlan begins anew when the part is longer than the file is now", () => {
    const { steps } = plan([log("", "1", 4)], {}, here({ [LOG + PART]: 6 }));
    expect(steps).toMatchObject([{ base: undefined, offset: 0 }]);
  });

  it("makePlan continues a log that was rotated under its new name", () => {
    const known = { [LOG]: { inode: "1", size: 3, mtime: 900 } };
    const { steps, aside } = plan([log("", "2", 1), log(".1", "1", 5)], known, here({ [LOG]: 3 }));
    expect(steps).toMatchObject([
      { name: LOG, base: undefined, offset: 0 },
      { name: `${LOG}.1`, base: LOG, offset: 3 },
    ]);
    expect([...aside.keys()]).toEqual([LOG]);
  });

  it("makePlan takes a plain log for compressed when a compressed one has its time", () => {
    const known = { [`${LOG}.1`]: { inode: "1", size: 3, mtime: 900 } };
    const local = here({ [`${LOG}.1`]: 3 });
    expect(plan([log(".2.gz", "2", 2, 900)], known, local)).toMatchObject({
      gone: [`${LOG}.1`],
      compressed: new Set([`${LOG}.1`]),
    });
    expect(plan([log(".2.gz", "2", 2, 901)], known, local)).toMatchObject({
      gone: [`${LOG}.1`],
      compressed: new Set(),
    });
  });

  it("makePlan sets what is replaced aside under a name that is free and that readers take for the same log", () => {
    const known = { [LOG]: { inode: "1", size: 3, mtime: 1_795_322_093 } };
    const first = `${LOG}-20261122-043453`;
    const { aside } = plan([log("", "2", 1)], known, here({ [LOG]: 3, [first]: 1 }));
    expect(aside.get(LOG)).toBe(`${LOG}-20261122-043454`);
  });
});
