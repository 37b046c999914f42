/**
 * The standard metrics of traffic, made when somebody scrapes.
 *
 * Series of the engine are turned into labels, those that became the same are added up, and prom-client writes them.
 * Labels are worked out once per series and kept, because 25 of them cost more than all the numbers.
 */
import type { Registry } from "prom-client";
import type { AttributeSource } from "#lib/telemetry/attributes.ts";
import { factsOf, RecordAttributes, SeriesAttributes } from "./attributes.ts";
import { type Labels, OTHER, standardLabels } from "./labels.ts";
import { METRIC_NAMES, type MetricName, MetricPlan } from "./metric-plan.ts";
import type { RequestRecord } from "./records.ts";
import { BUCKETS, decodeSeries, type HistogramCounts, type LabelFacts, type MetricSeries } from "./series.ts";

type Measures = Omit<MetricSeries, "key" | "facts">;

/** Sums of one metric at one set of labels. */
interface Cell {
  readonly labels: Labels;
  value: number;
  /** Undefined: a counter. */
  counts: Float64Array | undefined;
}
/** By metric, undefined where it is off or has nothing to say. */
type CellLabels = ReadonlyMap<MetricName, Labels>;

interface Definition {
  readonly help: string;
  readonly protocols: readonly LabelFacts["protocol"][];
  readonly read: (measures: Measures) => number | HistogramCounts;
}

const HTTP = ["http", "grpc"] as const;
const DEFINITIONS: Record<MetricName, Definition> = {
  istio_requests_total: { help: "Requests that ended", protocols: HTTP, read: ({ requests }) => requests },
  istio_request_duration_milliseconds: {
    help: "From the first byte of a request to the last of its answer",
    protocols: HTTP,
    read: ({ durationMs }) => durationMs,
  },
  istio_request_bytes: { help: "Bytes of request bodies", protocols: HTTP, read: ({ requestBytes }) => requestBytes },
  istio_response_bytes: {
    help: "Bytes of response bodies",
    protocols: HTTP,
    read: ({ responseBytes }) => responseBytes,
  },
  istio_request_messages_total: {
    help: "gRPC messages from clients",
    protocols: ["grpc"],
    read: ({ grpcRequestMessages }) => grpcRequestMessages,
  },
  istio_response_messages_total: {
    help: "gRPC messages to clients",
    protocols: ["grpc"],
    read: ({ grpcResponseMessages }) => grpcResponseMessages,
  },
  istio_tcp_sent_bytes_total: {
    help: "Bytes sent in the response direction",
    protocols: ["tcp"],
    read: ({ tcpSentBytes }) => tcpSentBytes,
  },
  istio_tcp_received_bytes_total: {
    help: "Bytes received in the request direction",
    protocols: ["tcp"],
    read: ({ tcpReceivedBytes }) => tcpReceivedBytes,
  },
  istio_tcp_connections_opened_total: {
    help: "TCP connections opened",
    protocols: ["tcp"],
    read: ({ tcpOpened }) => tcpOpened,
  },
  istio_tcp_connections_closed_total: {
    help: "TCP connections closed",
    protocols: ["tcp"],
    read: ({ tcpClosed }) => tcpClosed,
  },
};

/** Of tags that only requests know. Beyond it they are counted as "other". */
const MAX_REQUEST_SERIES = 4096;
const NO_PLAN = new MetricPlan([]);

export class TrafficMetrics {
  readonly #series: () => Uint8Array;
  #plans = new Map<string, MetricPlan>();
  /** Sets of labels by their text, so that equal sets are one object. */
  readonly #interned = new Map<string, Labels>();
  readonly #facts = new Map<string, LabelFacts>();
  readonly #labelsByKey = new Map<string, CellLabels>();
  /** Counted from records, by the text of their labels: of Telemetries whose tags need requests. */
  readonly #requests = new Map<MetricName, Map<string, Cell>>();
  #cells: Map<MetricName, Map<Labels, Cell>> | undefined;

  constructor(series: () => Uint8Array) {
    this.#series = series;
    for (const name of METRIC_NAMES) this.#requests.set(name, new Map());
  }

  /** Plans by name of the Telemetry. */
  setPlans(plans: ReadonlyMap<string, MetricPlan>): void {
    this.#plans = new Map(plans);
    this.#labelsByKey.clear();
    this.#interned.clear();
  }

  /** Counts a request if its Telemetry's tags need it. */
  count(record: RequestRecord): void {
    if (record.tcp) return;
    const plan = this.#plans.get(record.text("telemetry"));
    if (plan?.fromRequests !== true) return;
    const facts = factsOf(record);
    const standard = standardLabels(facts);
    const source = new RecordAttributes(record);
    const measures = measuresOf(record);
    for (const [name, cells] of this.#requests) {
      if (!DEFINITIONS[name].protocols.includes(facts.protocol)) continue;
      const labels = plan.labels(name, standard, source);
      if (labels !== undefined) addTo(boundedCell(cells, labels), DEFINITIONS[name].read(measures));
    }
  }

  register(registry: Registry): void {
    for (const name of METRIC_NAMES) {
      const metric = new CellMetric(name, DEFINITIONS[name].help, () => this.#scraped().get(name) ?? new Map());
      registry.registerMetric(metric as unknown as Parameters<Registry["registerMetric"]>[0]);
    }
  }

  /** All metrics of one scrape come from one look at the engine. */
  #scraped(): Map<MetricName, Map<Labels, Cell>> {
    if (this.#cells === undefined) {
      this.#cells = this.#collect();
      // The metrics of a scrape are asked in one go; the next scrape looks again.
      setImmediate(() => {
        this.#cells = undefined;
      });
    }
    return this.#cells;
  }

  #collect(): Map<MetricName, Map<Labels, Cell>> {
    const all = new Map<MetricName, Map<Labels, Cell>>(METRIC_NAMES.map((name) => [name, new Map()]));
    const seen = new Set<string>();
    for (const series of decodeSeries(this.#series(), this.#facts)) {
      seen.add(series.key);
      const plan = this.#plans.get(series.facts.telemetry) ?? NO_PLAN;
      if (plan.fromRequests && series.facts.protocol !== "tcp") continue;
      for (const [name, labels] of this.#cachedLabels(series, plan)) {
        add(all.get(name) ?? new Map<Labels, Cell>(), labels, DEFINITIONS[name].read(series));
      }
    }
    for (const [name, cells] of this.#requests) {
      for (const cell of cells.values()) {
        const value = cell.counts === undefined ? cell.value : { counts: cell.counts, sum: cell.value };
        add(all.get(name) ?? new Map<Labels, Cell>(), this.#intern(cell.labels), value);
      }
    }
    for (const key of this.#facts.keys()) if (!seen.has(key)) this.#facts.delete(key);
    for (const key of this.#labelsByKey.keys()) if (!seen.has(key)) this.#labelsByKey.delete(key);
    return all;
  }

  #cachedLabels(series: MetricSeries, plan: MetricPlan): CellLabels {
    let labels = this.#labelsByKey.get(series.key);
    if (labels === undefined) {
      labels = this.#labelsOf(series.facts, plan, new SeriesAttributes(series.facts));
      this.#labelsByKey.set(series.key, labels);
    }
    return labels;
  }

  #labelsOf(facts: LabelFacts, plan: MetricPlan, source: AttributeSource): CellLabels {
    const standard = this.#intern(standardLabels(facts));
    const result = new Map<MetricName, Labels>();
    for (const name of METRIC_NAMES) {
      if (!DEFINITIONS[name].protocols.includes(facts.protocol)) continue;
      const labels = plan.labels(name, standard, source);
      if (labels !== undefined) result.set(name, labels === standard ? standard : this.#intern(labels));
    }
    return result;
  }

  #intern(labels: Labels): Labels {
    const text = JSON.stringify(labels);
    const known = this.#interned.get(text);
    if (known !== undefined) return known;
    this.#interned.set(text, labels);
    return labels;
  }
}

function add(cells: Map<Labels, Cell>, labels: Labels, value: number | HistogramCounts): void {
  let cell = cells.get(labels);
  if (cell === undefined) {
    cell = { labels, value: 0, counts: undefined };
    cells.set(labels, cell);
  }
  addTo(cell, value);
}

function addTo(cell: Cell, value: number | HistogramCounts): void {
  if (typeof value === "number") {
    cell.value += value;
    return;
  }
  cell.value += value.sum;
  cell.counts ??= new Float64Array(value.counts.length);
  for (let i = 0; i < value.counts.length; i++) cell.counts[i] = (cell.counts[i] ?? 0) + (value.counts[i] ?? 0);
}

/** Clients choose values of such tags: what is beyond the bound must leave nothing behind but a count. */
function boundedCell(cells: Map<string, Cell>, labels: Labels): Cell {
  const text = JSON.stringify(labels);
  const known = cells.get(text);
  if (known !== undefined) return known;
  if (cells.size >= MAX_REQUEST_SERIES) return otherCell(cells, labels);
  const cell: Cell = { labels, value: 0, counts: undefined };
  cells.set(text, cell);
  return cell;
}

function otherCell(cells: Map<string, Cell>, labels: Labels): Cell {
  let cell = cells.get(OTHER);
  if (cell === undefined) {
    cell = { labels: { ...emptied(labels), destination_service: OTHER }, value: 0, counts: undefined };
    cells.set(OTHER, cell);
  }
  return cell;
}

function emptied(labels: Labels): Labels {
  return Object.fromEntries(Object.keys(labels).map((name) => [name, "unknown"]));
}

function measuresOf(record: RequestRecord): Measures {
  return {
    requests: 1,
    durationMs: histogramOf(record.durationUs / 1000),
    requestBytes: histogramOf(record.bytesReceived),
    responseBytes: histogramOf(record.bytesSent),
    grpcRequestMessages: record.grpcRequestMessages,
    grpcResponseMessages: record.grpcResponseMessages,
    tcpOpened: 0,
    tcpClosed: 0,
    tcpSentBytes: 0,
    tcpReceivedBytes: 0,
  };
}

function histogramOf(value: number): HistogramCounts {
  const counts = new Float64Array(BUCKETS.length + 1);
  const bucket = BUCKETS.findIndex((bound) => value <= bound);
  counts[bucket === -1 ? BUCKETS.length : bucket] = 1;
  return { counts, sum: value };
}

interface Sample {
  readonly metricName?: string;
  readonly labels: Labels;
  readonly sharedLabels: Labels;
  readonly value: number;
}

const BOUND_LABELS = [...BUCKETS.map((bound) => ({ le: String(bound) })), { le: "+Inf" }];
const NO_LABELS: Labels = {};

/** A metric as prom-client's registry wants it, of numbers that are there already. */
class CellMetric {
  name: string;
  readonly help: string;
  readonly type: "counter" | "histogram";
  readonly aggregator = "sum";
  readonly #read: () => ReadonlyMap<Labels, Cell>;
  readonly #fullName: string;

  constructor(name: MetricName, help: string, read: () => ReadonlyMap<Labels, Cell>) {
    this.name = name;
    this.#fullName = name;
    this.help = help;
    this.type = name.endsWith("_total") ? "counter" : "histogram";
    this.#read = read;
  }

  get(): { name: string; help: string; type: string; aggregator: string; values: Sample[] } {
    const values: Sample[] = [];
    for (const cell of this.#read().values()) this.#write(cell, values);
    return { name: this.name, help: this.help, type: this.type, aggregator: this.aggregator, values };
  }

  reset(): void {
    // The engine counts; there is nothing here to forget.
  }

  #write({ labels, value, counts }: Cell, into: Sample[]): void {
    if (counts === undefined) {
      into.push({ labels: NO_LABELS, sharedLabels: labels, value });
      return;
    }
    let total = 0;
    for (let i = 0; i < counts.length; i++) {
      total += counts[i] ?? 0;
      const bound = BOUND_LABELS[i] ?? NO_LABELS;
      into.push({ metricName: `${this.#fullName}_bucket`, labels: bound, sharedLabels: labels, value: total });
    }
    into.push({ metricName: `${this.#fullName}_sum`, labels: NO_LABELS, sharedLabels: labels, value });
    into.push({ metricName: `${this.#fullName}_count`, labels: NO_LABELS, sharedLabels: labels, value: total });
  }
}
