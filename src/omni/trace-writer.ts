/** Requests as an encoded ExportTraceServiceRequest: one ResourceSpans a log source, one a role with omnilogger lines. */
import { WireWriter } from "../pdata/wire.ts";
import { D_RUNNING_SPAN, ENGINE_SPANS, P_RUNNING_SPAN, type Role } from "./actions.ts";
import { type DerivedSpan, deriveSpans, type Figures } from "./derive.ts";
import type { Identity, ProxyRequest } from "./proxy-request.ts";
import { writeResourceSpans } from "./span-encode.ts";
import type { AttributeValue } from "./span-patch.ts";

/** Resource attributes. */
export type Resource = readonly (readonly [string, AttributeValue])[];

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

/** Spans of one resource. */
export interface ResourceGroup {
  readonly resource: Resource;
  readonly spans: readonly DerivedSpan[];
}

/** Takes finished requests; `Merge` asks for a new one whenever it has some. */
export interface RequestWriter {
  /** Spans taken so far. */
  readonly items: number;
  /** Takes a request's spans, those named in `without` left out. `extra` are attributes of the root. @returns the names taken */
  add(
    request: ProxyRequest,
    figures: Figures,
    extra: readonly (readonly [string, AttributeValue])[],
    without?: ReadonlySet<string>,
  ): ReadonlySet<string>;
  /** What is to be handed on; undefined when nothing was taken. */
  finish(): { readonly bytes: Uint8Array; readonly items: number } | undefined;
}

/** All spans that the log makes of a request, by resource: the proxy's, the root first, then a role's. Needs `request.identity`. */
export function groupSpans(
  request: ProxyRequest,
  figures: Figures,
  extra: readonly (readonly [string, AttributeValue])[],
  names: Names,
): ResourceGroup[] {
  const spans = deriveSpans(request, figures, [...extra, ...engineFigures(request)]);
  const groups: ResourceGroup[] = [{ resource: proxyResource(request, names), spans }];
  for (const [role, record] of request.engine ?? [])
    groups.push({
      resource: engineResource(request, role, record.host, names),
      spans: engineSpans(request, role, spans),
    });
  return groups;
}

/** Gathers the spans of several requests, so that requests of one proxy share a resource. */
export class TraceWriter implements RequestWriter {
  readonly #names: Names;
  readonly #groups = new Map<string, Group>();
  items = 0;

  constructor(names: Names) {
    this.#names = names;
  }

  add(
    request: ProxyRequest,
    figures: Figures,
    extra: readonly (readonly [string, AttributeValue])[],
    without?: ReadonlySet<string>,
  ): Set<string> {
    const added = new Set<string>();
    for (const { resource, spans } of groupSpans(request, figures, extra, this.#names)) {
      const wanted = without ? spans.filter(({ name }) => !without.has(name)) : spans;
      if (wanted.length === 0) continue;
      const group = this.#group(resource);
      for (const span of wanted) {
        added.add(span.name);
        group.spans.push(span);
      }
      this.items += wanted.length;
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
}

function proxyResource(request: ProxyRequest, names: Names): Resource {
  const resource: [string, AttributeValue][] = [["service.name", names.service]];
  if (request.host !== "") resource.push(["host.name", request.host]);
  if (request.instance !== "") resource.push(["service.instance.id", request.instance]);
  return resource;
}

function engineResource(request: ProxyRequest, role: Role, host: string, names: Names): Resource {
  const told = request.joined.find((span) => span.role === role && span.service)?.service;
  const resource: [string, AttributeValue][] = [["service.name", told ?? names.role[role]]];
  if (host !== "") resource.push(["host.ip", host]);
  return resource;
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
