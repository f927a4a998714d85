/** HTML that cannot be made without escaping: whatever stands between `${` and `}` is text, unless it is `Html` itself. */
import { printable } from "../../../omni/text.ts";

/** Text that is markup already. Made by `html` only. */
export class Html {
  readonly #markup: string;

  constructor(markup: string) {
    this.#markup = markup;
  }

  toString(): string {
    return this.#markup;
  }
}

type Value = string | number | Html | readonly Html[];

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * A template whose values are escaped, for element content and for attributes in quotes. Controls and characters that
 * turn the direction of writing are made visible: ids and names come from whoever can send a request.
 */
export function html(strings: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(String.raw({ raw: strings }, ...values.map(markupOf)));
}

function markupOf(value: Value): string {
  if (value instanceof Html) return String(value);
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return printable(value).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
  return value.join("");
}

/** The first characters of a text, and an ellipsis where it was longer. */
export function short(text: string, most: number): string {
  // A character takes two units at most.
  const characters = [...text.slice(0, most * 2 + 2)];
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : text;
}

/** Nothing. */
export const NOTHING = html``;
