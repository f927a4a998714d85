/** An older Collector's configuration -> the newest equivalent, with a reason for each change. */
import { type ConfigNode, type MapEntry, nodeAt, type Source, type Span } from "../node.ts";
import { parseYaml, type SyntaxIssue } from "../parse.ts";
import { positionOf } from "../report.ts";
import { Editor, entriesOf, entryOf, textOf } from "./editor.ts";
import { type Draft, RULES } from "./rules.ts";

/** One change, or something that stays and should be thought about. */
export interface Note {
  /** In the old file, from 1. */
  readonly line: number;
  /** "exporters::otlp". */
  readonly key: string;
  /** "`otlp` becomes `otlp_grpc`". */
  readonly what: string;
  /** Why; "" for a remark, which says it all. */
  readonly reason: string;
}

/** What became of a file. */
export interface Migration {
  /** The new text; the old one, to the byte, when nothing had to change. */
  readonly text: string;
  /** By line. */
  readonly changes: readonly Note[];
  readonly remarks: readonly Note[];
}

/** What the migration has to know. */
export interface MigrationOptions {
  /** The Collector that the file was written for: 103 for 0.103. Defaults that have changed since are written out. */
  readonly from: number;
  /** Component types that this program knows, aliases too, by section. */
  readonly known: Draft["known"];
}

/** @returns the issues when the text is no YAML */
export function migrate(
  source: Source,
  options: MigrationOptions,
): Migration | { readonly issues: readonly SyntaxIssue[] } {
  const { root, issues } = parseYaml(source);
  if (issues.length > 0) return { issues };
  const draft = new Work(source, root, options.known);
  for (const { since, apply } of RULES) if (since === 0 || options.from < since) apply(draft);
  return draft.finish();
}

class Work implements Draft {
  readonly root: ConfigNode;
  readonly editor: Editor;
  readonly known: Draft["known"];
  readonly #changes: Note[] = [];
  readonly #remarks: Note[] = [];
  /** `${section} ${id}` -> new name, "" for one that goes. */
  readonly #renamed = new Map<string, string>();
  readonly #source: Source;

  constructor(source: Source, root: ConfigNode, known: Draft["known"]) {
    this.root = root;
    this.editor = new Editor(source);
    this.known = known;
    this.#source = source;
  }

  changed(path: readonly string[], at: Span, what: string, reason: string): void {
    this.#changes.push({ line: positionOf(at).line, key: path.join("::"), what, reason });
  }

  remark(path: readonly string[], at: Span, text: string): void {
    this.#remarks.push({ line: positionOf(at).line, key: path.join("::"), what: text, reason: "" });
  }

  rename(section: string, entry: MapEntry, id: string, name: string): void {
    const taken = new Set(entriesOf(nodeAt(this.root, [section])).map(([key]) => key.trim()));
    for (const [key, value] of this.#renamed) if (key.startsWith(`${section} `)) taken.add(value);
    let free = name;
    for (let count = 2; taken.has(free); count++) free = name.includes("/") ? `${name}_${count}` : `${name}/${count}`;
    this.#renamed.set(`${section} ${id.trim()}`, free);
    this.editor.renameKey(entry, free);
  }

  remove(section: string, entry: MapEntry, id: string): void {
    this.#renamed.set(`${section} ${id.trim()}`, "");
    const all = entriesOf(nodeAt(this.root, [section]));
    const isLast = all.every(([key]) => this.#renamed.get(`${section} ${key.trim()}`) === "");
    const whole = isLast ? entryOf(this.root, section) : undefined;
    this.editor.removeEntry(whole ?? entry);
  }

  finish(): Migration {
    this.#references();
    const byLine = (a: Note, b: Note): number => a.line - b.line;
    const text = this.#changes.length === 0 ? this.#source.text : this.editor.text;
    return { text, changes: this.#changes.sort(byLine), remarks: this.#remarks.sort(byLine) };
  }

  /** Pipelines and service::extensions name what was renamed. */
  #references(): void {
    const service = nodeAt(this.root, ["service"]);
    const extensions = entryOf(service, "extensions");
    if (extensions) this.#list(extensions, "extensions");
    for (const [, pipeline] of entriesOf(entryOf(service, "pipelines")?.node)) {
      const exporters = entryOf(pipeline.node, "exporters");
      if (exporters) this.#list(exporters, "exporters");
    }
  }

  #list(entry: MapEntry, section: string): void {
    const items = entry.node.kind === "list" ? entry.node.items : [];
    const nameOf = (item: ConfigNode): string | undefined => this.#renamed.get(`${section} ${textOf(item).trim()}`);
    if (items.length > 0 && items.every((item) => nameOf(item) === "")) {
      this.editor.removeEntry(entry);
      return;
    }
    for (const item of items) {
      const name = nameOf(item);
      if (name === "") this.editor.removeItem(item);
      else if (name !== undefined) this.editor.setScalar(item, name);
    }
  }
}
