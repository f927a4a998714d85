/** Tables that can be scrolled sideways by keyboard where the window is narrow. */
import { type Html, html, NOTHING } from "./html.ts";

export interface Column {
  readonly title: string;
  /** Numbers stand on the right. */
  readonly number?: boolean;
  /** The column takes the room that is left. */
  readonly picture?: boolean;
  /** Sentences: never narrow. */
  readonly wide?: boolean;
}

/** A table; the first cell of each row names it. `caption` tells a screen reader what it is. */
export function table(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly (string | Html)[])[],
): Html {
  const head = columns.map(({ title, ...kind }) => html`<th scope="col" class="${lookOf(kind)}">${title}</th>`);
  const body = rows.map(
    (cells) =>
      html`<tr>${cells.map((cell, index) => {
        const look = lookOf(columns[index] ?? {});
        return index === 0
          ? html`<th scope="row" class="${look}">${cell}</th>`
          : html`<td class="${look}">${cell}</td>`;
      })}</tr>`,
  );
  return html`<div class="scroll" role="region" aria-label="${caption}" tabindex="0"><table><caption>${caption}</caption><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
}

/** What a chart shows, as a table that is folded away. */
export function folded(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly (string | Html)[])[],
): Html {
  if (rows.length === 0) return NOTHING;
  return html`<details class="numbers"><summary>${caption} as a table</summary>${table(caption, columns, rows)}</details>`;
}

function lookOf({ number, picture, wide }: Omit<Column, "title">): string {
  return number ? "n" : picture ? "p" : wide ? "w" : "t";
}
