/** Requests as an encoded ExportTraceServiceRequest: one ResourceSpans a log source, one a role with omnilogger lines. */
import { WireWriter } from "../pdata/wire.ts";
import { D_RUNNING_SPAN, ENGINE_SPANS, P_RUNNING_SPAN, type Role } from "./actions.ts";
import { type DerivedSpan, deriveSpans, type Figures } from "./derive.ts";
import type { Identity, ProxyRequest } from "./proxy-request.ts";
import { writeResourceSpans } from "./span-encode.ts";
import type { AttributeValue } from "./span-patch.ts";

type Resource = readonly (readonly [string, AttributeValue])[];

interface Group {
  readonly resource: Resource;
  readonly spans: DerivedSpan[];
}

/** How the writer names things; from the configuration. */
export interface Names {
  /** service.name of the log-derived spans. */
  readonly service: string;
  /** service.name of a role when no vLLM span told it. */
  readonly role: Readonly<Record<Role, string>>;
  /** Scope version: this program's. */
  readonly version: string;
}

/** Gathers the spans of several requests, so that requests of one proxy share a resource. */
export class TraceWriter {
  readonly #names: Names;
  readonly #groups = new Map<string, Group>();
  /** Spans gathered. */
  items = 0;

  constructor(names: Names) {
    this.#names = names;
  }

  /** Adds a request's spans, those named in `without` left out. Returns the names that were added. */
  add(
    request: ProxyRequest,
    figures: Figures,
    extra: readonly (readonly [string, AttributeValue])[],
    without?: ReadonlySet<string>,
  ): Set<string> {
    const added = new Set<string>();
    const put = (resource: Resource, span: DerivedSpan): void => {
      if (without?.has(span.name)) return;
      added.add(span.name);
      this.#group(resource).spans.push(span);
      this.items++;
    };
    const proxy = this.#proxy(request);
    const spans = deriveSpans(request, figures, [...extra, ...engineFigures(request)]);
    for (const span of spans) put(proxy, span);
    for (const [role, record] of request.engine ?? []) {
      const resource = this.#engine(request, role, record.host);
      for (const span of engineSpans(request, role, spans)) put(resource, span);
    }
    return added;
  }

  /** What was gathered, encoded; undefined when nothing was. */
  finish(): { bytes: Buffer; items: number } | undefined {
    if (this.items === 0) return undefined;
    const out = new WireWriter(this.items * 320);
    for (const { resource, spans } of this.#groups.values())
      writeResourceSpans(out, resource, this.#names.version, spans);
    return { bytes: out.finish(), items: this.items };
  }

  #group(resource: Resource): Group {
    const key = JSON.stringify(resource);
    let group = this.#groups.get(key);
    if (!group) {
      group = { resource, spans: [] };
      this.#groups.set(key, group);
    }
    return group;
  }

  #proxy(request: ProxyRequest): Resource {
    const resource: [string, AttributeValue][] = [["service.name", this.#names.service]];
    if (request.host !== "") resource.push(["host.name", request.host]);
    if (request.instance !== "") resource.push(["service.instance.id", request.instance]);
    return resource;
  }

  #engine(request: ProxyRequest, role: Role, host: string): Resource {
    const told = request.joined.find((span) => span.role === role && span.service)?.service;
    const resource: [string, AttributeValue][] = [["service.name", told ?? this.#names.role[role]]];
    if (host !== "") resource.push(["host.ip", host]);
    return resource;
  }
}

/** The spans that omnilogger lines make, under their running state where there is one. */
function engineSpans(request: ProxyRequest, role: Role, derived: readonly DerivedSpan[]): DerivedSpan[] {
  const record = request.engine?.get(role);
  if (!record) return [];
  const identity = request.identity as Identity;
  const home = derived.find((span) => span.name === (role === "prefill" ? P_RUNNING_SPAN : D_RUNNING_SPAN));
  const spans: DerivedSpan[] = [];
  for (const { name, from, to } of ENGINE_SPANS.filter((span) => span.role === role)) {
    const start = record.at[from] as number;
    const end = record.at[to] as number;
    if (start === 0 || end === 0) continue;
    spans.push({
      name,
      kind: "internal",
      traceId: identity.traceId,
      spanId: request.spanId(name),
      parentSpanId: home?.spanId ?? identity.rootSpanId,
      parentIsRemote: true,
      startUs: start,
      endUs: Math.max(start, end),
      attributes: [["omni.role", role]],
    });
  }
  return spans;
}

/** omni.kv_wait_seconds: only Pull kv lines tell. */
function engineFigures(request: ProxyRequest): [string, AttributeValue][] {
  const record = request.engine?.get("decode");
  const span = ENGINE_SPANS.find(({ name }) => name === "Pull kv");
  if (!record || !span) return [];
  const start = record.at[span.from] as number;
  const end = record.at[span.to] as number;
  return start === 0 || end === 0 ? [] : [["omni.kv_wait_seconds", Math.max(0, end - start) / 1e6]];
}
