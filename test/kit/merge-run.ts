/** Drives the request_merge connector on a fake clock, and makes its output comparable. */
import { decodeConfig } from "../../src/connectors/requestmerge/config.ts";
import { RequestMerge } from "../../src/connectors/requestmerge/request-merge.ts";
import { decodeTraces } from "../../src/pdata/decode.ts";
import type { AttributeValue, SpanData } from "../../src/pdata/model.ts";
import type { Logs } from "../../src/pdata/payload.ts";
import { countItems } from "../../src/pdata/validate.ts";
import { WireWriter } from "../../src/pdata/wire.ts";
import { FakeClock, settle } from "./clock.ts";
import { TestHost, testSettings } from "./settings.ts";
import { RecordingSink } from "./sink.ts";

/** Lines of one file as the omni_proxy_log receiver sends them. */
export function logBatch(path: string, lines: readonly Uint8Array[], host = "proxy-1"): Logs {
  const out = new WireWriter();
  const text = (field: number, key: string, value: string): void => {
    out.message(field, () => out.string(1, key).message(2, () => out.string(1, value)));
  };
  out.message(1, () => {
    out.message(1, () => text(1, "host.name", host));
    out.message(2, () => {
      for (const line of lines) {
        out.message(2, () => {
          out.message(5, () => out.bytes(7, line));
          text(6, "log.file.path", path);
        });
      }
    });
  });
  return { signal: "logs", bytes: out.finish(), items: lines.length };
}

/** The lines of a file, without their line feeds; a last line without one counts. */
export function linesOf(file: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  for (let feed = file.indexOf(10); feed >= 0; feed = file.indexOf(10, start)) {
    lines.push(file.subarray(start, feed));
    start = feed + 1;
  }
  if (start < file.length) lines.push(file.subarray(start));
  return lines;
}

/** One connector between a fake clock and a recording sink. */
export class MergeRun {
  readonly clock = new FakeClock();
  readonly sink = new RecordingSink<"traces">();
  readonly settings = testSettings("request_merge", { clock: this.clock });
  readonly connector: RequestMerge;

  constructor(config: unknown = {}, fedBy: readonly ("logs" | "traces")[] = ["logs", "traces"]) {
    this.connector = new RequestMerge(decodeConfig(config).config, this.settings, { traces: this.sink }, fedBy);
  }

  async start(host = new TestHost()): Promise<this> {
    await this.connector.start(host);
    return this;
  }

  /** Error-log lines unless `path` says otherwise. */
  async lines(lines: readonly Uint8Array[], path = "/var/log/omni/nginx_error.log"): Promise<void> {
    await this.connector.consumers.logs?.consume(logBatch(path, lines), {});
  }

  /** Resolves when the batch is acknowledged: keep the promise and move the clock. */
  spans(bytes: Uint8Array): Promise<void> {
    return this.connector.consumers.traces?.consume(
      { signal: "traces", bytes, items: countItems("traces", bytes) },
      {},
    ) as Promise<void>;
  }

  async stop(): Promise<void> {
    await this.connector.shutdown(new AbortController().signal);
    await settle();
  }

  /** Everything that came out, decoded. */
  output(): OutSpan[] {
    return this.sink.batches.flatMap((batch) => spansOf(batch.bytes));
  }

  async metric(name: string): Promise<number> {
    const lines = (await this.settings.metrics.text())
      .split("\n")
      .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }
}

/** A span with its resource's service. */
export interface OutSpan extends SpanData {
  readonly service: string;
}

export function spansOf(bytes: Uint8Array): OutSpan[] {
  return decodeTraces(bytes).flatMap(({ resource, scopeSpans }) => {
    const service = String(resource.attributes.find(({ key }) => key === "service.name")?.value ?? "");
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => ({ ...span, service })));
  });
}

export function attribute(span: SpanData, key: string): AttributeValue | undefined {
  return span.attributes.find((attribute) => attribute.key === key)?.value;
}

/** Spans as design/merge.md compares traces: without what depends on the clocks' knowledge and on later requests. Start times are kept apart. */
export function comparable(spans: readonly OutSpan[]): Map<string, { text: string; startUs: number }> {
  const out = new Map<string, { text: string; startUs: number }>();
  for (const span of spans) {
    const attributes = span.attributes.filter(
      ({ key }) => !key.startsWith("omni.clock.") && !key.startsWith("omni.bottleneck"),
    );
    const derived = span.service === "omni-proxy";
    const text = JSON.stringify(
      [
        span.name,
        span.parentSpanId,
        span.kind,
        span.status,
        derived ? String(span.endUnixNano - span.startUnixNano) : `${span.startUnixNano} ${span.endUnixNano}`,
        attributes.map(({ key, value }) => [key, value]).sort(),
        span.links,
        span.service,
      ],
      (_, value) => (typeof value === "bigint" ? `${value}n` : value),
    );
    const key = `${span.traceId}/${span.spanId}`;
    out.set(out.has(key) ? `${key} again` : key, { text, startUs: Number(span.startUnixNano / 1000n) });
  }
  return out;
}
