/** The program's own metrics in Prometheus text format. The only home of prom-client. */
import { Counter as PromCounter, Gauge as PromGauge, Histogram as PromHistogram, Registry } from "prom-client";

export type Labels = Readonly<Record<string, string>>;

/** Only grows. */
export interface Counter {
  add(value: number, labels?: Labels): void;
}
/** A value that is set. */
export interface Gauge {
  set(value: number, labels?: Labels): void;
}
/** Counts observations into buckets. */
export interface Histogram {
  observe(value: number, labels?: Labels): void;
}

/**
 * Where components declare what they measure. Names are written whole ("otelcol_receiver_accepted_spans") and without
 * `_total`, as the Collector exposes them by default; asking again for a name gives the same instrument.
 * Label values must come from the configuration or a closed set, never from a request (bounded cardinality).
 */
export interface MetricsRegistry {
  counter(name: string, help: string, labels?: readonly string[]): Counter;
  gauge(name: string, help: string, labels?: readonly string[]): Gauge;
  /** A gauge, or a counter that something else counts, read when scraped. */
  observed(name: string, help: string, read: () => number, labels?: Labels, type?: "gauge" | "counter"): void;
  histogram(name: string, help: string, buckets: readonly number[], labels?: readonly string[]): Histogram;
  /** Prometheus text exposition format 0.0.4. */
  text(): Promise<string>;
}

/** What is read at each scrape under one name, by its labels. */
type Readers = Map<string, { readonly labels: Labels; readonly read: () => number }>;

class PromMetrics implements MetricsRegistry {
  readonly #registry = new Registry();
  readonly #known = new Map<string, unknown>();
  readonly #observed = new Map<string, Readers>();

  counter(name: string, help: string, labels: readonly string[] = []): Counter {
    return this.#once(name, () => new BufferedCounter(this.#registry, name, help, labels));
  }

  gauge(name: string, help: string, labels: readonly string[] = []): Gauge {
    const metric = this.#once(
      name,
      () => new PromGauge({ name, help, labelNames: [...labels], registers: [this.#registry] }),
    );
    return { set: (value, given) => metric.set({ ...given }, value) };
  }

  observed(name: string, help: string, read: () => number, labels: Labels = {}, type = "gauge"): void {
    let readers = this.#observed.get(name);
    if (!readers) {
      readers = new Map();
      this.#observed.set(name, readers);
      observe(this.#registry, { name, help, labelNames: Object.keys(labels) }, type, readers);
    }
    readers.set(JSON.stringify(labels), { labels, read });
  }

  histogram(name: string, help: string, buckets: readonly number[], labels: readonly string[] = []): Histogram {
    const metric = this.#once(
      name,
      () =>
        new PromHistogram({ name, help, buckets: [...buckets], labelNames: [...labels], registers: [this.#registry] }),
    );
    return { observe: (value, given) => metric.observe({ ...given }, value) };
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #once<T>(name: string, make: () => T): T {
    let metric = this.#known.get(name);
    if (metric === undefined) {
      metric = make();
      this.#known.set(name, metric);
    }
    return metric as T;
  }
}

/** One combination of label values and what was added to it since the last scrape. */
interface Cell {
  readonly labels: Labels;
  pending: number;
}

/**
 * A counter that adds to a plain number and hands it to prom-client when it is scraped: prom-client checks, sorts and joins
 * the labels at every call, which counts where a request passes ten counters.
 */
class BufferedCounter implements Counter {
  readonly #metric: PromCounter;
  readonly #names: readonly string[];
  readonly #cells = new Map<string, Cell>();
  /** Callers add with the same object again and again. */
  #lastLabels: Labels | undefined;
  #last: Cell | undefined;

  constructor(registry: Registry, name: string, help: string, labels: readonly string[]) {
    this.#names = labels;
    const flush = (): void => this.#flush();
    this.#metric = new PromCounter({
      name,
      help,
      labelNames: [...labels],
      registers: [registry],
      collect: flush,
    });
  }

  add(value: number, labels?: Labels): void {
    let cell = this.#last;
    if (!cell || labels !== this.#lastLabels) {
      cell = this.#cellOf(labels ?? {});
      this.#last = cell;
      this.#lastLabels = labels;
    }
    if (value < 0) throw new Error("It is not possible to decrease a counter");
    cell.pending += value;
  }

  #cellOf(labels: Labels): Cell {
    let key = "";
    for (const name of this.#names) key += `${labels[name]}\0`;
    let cell = this.#cells.get(key);
    if (!cell) {
      cell = { labels: { ...labels }, pending: 0 };
      this.#metric.inc({ ...labels }, 0); // refuses labels that were not declared
      this.#cells.set(key, cell);
    }
    return cell;
  }

  #flush(): void {
    for (const cell of this.#cells.values()) {
      if (cell.pending === 0) continue;
      this.#metric.inc({ ...cell.labels }, cell.pending);
      cell.pending = 0;
    }
  }
}

function observe(
  registry: Registry,
  options: { name: string; help: string; labelNames: string[] },
  type: string,
  readers: Readers,
): void {
  const registers = [registry];
  if (type === "gauge")
    new PromGauge({
      ...options,
      registers,
      collect() {
        for (const { labels, read } of readers.values()) this.set({ ...labels }, read());
      },
    });
  else
    new PromCounter({
      ...options,
      registers,
      collect() {
        this.reset();
        for (const { labels, read } of readers.values()) this.inc({ ...labels }, read());
      },
    });
}

/** An empty registry; one a service. */
export function createMetrics(): MetricsRegistry {
  return new PromMetrics();
}
