import type { Traces } from "../../src/pdata/payload.ts";
import { WireCursor, WireWriter } from "../../src/pdata/wire.ts";

/** A request with one span a name: ResourceSpans=1 { ScopeSpans=2 { Span=2 { name=5 } } }. */
export function spansNamed(...names: readonly string[]): Traces {
  const bytes = new WireWriter()
    .message(1, (resource) =>
      resource.message(2, (scope) => {
        for (const name of names) scope.message(2, (span) => span.string(5, name));
      }),
    )
    .finish();
  return { signal: "traces", bytes, items: names.length };
}

/** The names of all spans in encoded requests, in order. */
export function namesIn(bytes: Uint8Array): string[] {
  return at(bytes, [1, 2, 2, 5]);
}

function at(bytes: Uint8Array, [field, ...rest]: readonly number[]): string[] {
  const found: string[] = [];
  const cursor = new WireCursor(bytes);
  while (cursor.next())
    if (cursor.field === field) found.push(...(rest.length === 0 ? [cursor.string()] : at(cursor.view(), rest)));
  return found;
}
