/** Component ids as the Collector writes them: `type` or `type/name` (component/identifiable.go). */

/** One part of the configuration: the shape of `ComponentId` in kernel/api.ts. */
interface Id {
  readonly type: string;
  readonly name: string;
}

const TYPE = /^[a-zA-Z][0-9a-zA-Z_]{0,62}$/;
const NAME = /^[^\p{Z}\p{C}\p{S}]{1,1024}$/u;

/**
 * Reads `otlp` or `otlp/edge`.
 * @returns the id, or a string that says what is wrong, worded as the Collector does.
 */
export function parseId(text: string): Id | string {
  const slash = text.indexOf("/");
  const type = (slash < 0 ? text : text.slice(0, slash)).trim();
  const name = slash < 0 ? "" : text.slice(slash + 1).trim();
  if (type === "") return `in "${text}" id: the part before / should not be empty`;
  if (slash >= 0 && name === "") return `in "${text}" id: the part after / should not be empty`;
  if (!TYPE.test(type)) return `in "${text}" id: invalid character(s) in type "${type}"`;
  if (name !== "" && !NAME.test(name)) return `in "${text}" id: invalid character(s) in name "${name}"`;
  return { type, name };
}

/** `otlp` or `otlp/edge`. */
export function formatId(id: Id): string {
  return id.name === "" ? id.type : `${id.type}/${id.name}`;
}
