/** Traffic between workloads, out of the standard metrics. */
import { type Sample, samples } from "./prometheus-text.ts";

export interface TrafficRow {
  readonly reporter: string;
  readonly source: string;
  readonly destination: string;
  readonly service: string;
  requests: number;
  /** Answers of 500 and above, and requests without an answer. */
  errors: number;
  connections: number;
  sentBytes: number;
  receivedBytes: number;
}

type Sums = "requests" | "connections" | "sentBytes" | "receivedBytes";

const COUNTED: Readonly<Record<string, Sums>> = {
  istio_requests_total: "requests",
  istio_tcp_connections_opened_total: "connections",
  istio_tcp_sent_bytes_total: "sentBytes",
  istio_tcp_received_bytes_total: "receivedBytes",
};

/** Sums of the pages of several processes: reporter, source and destination make a row. */
export function trafficRows(pages: Iterable<string>): TrafficRow[] {
  const rows = new Map<string, TrafficRow>();
  for (const page of pages) for (const sample of samples(page)) count(rows, sample);
  return [...rows.values()].sort(
    (a, b) => a.source.localeCompare(b.source) || a.destination.localeCompare(b.destination),
  );
}

/** What has come on top since `before`; rows in which nothing has are left out. */
export function since(before: readonly TrafficRow[], after: readonly TrafficRow[]): TrafficRow[] {
  const earlier = new Map(before.map((row) => [keyOf(row), row]));
  return after
    .map((row) => {
      const old = earlier.get(keyOf(row));
      if (old === undefined) return row;
      return {
        ...row,
        requests: row.requests - old.requests,
        errors: row.errors - old.errors,
        connections: row.connections - old.connections,
        sentBytes: row.sentBytes - old.sentBytes,
        receivedBytes: row.receivedBytes - old.receivedBytes,
      };
    })
    .filter((row) => row.requests + row.connections + row.sentBytes + row.receivedBytes > 0);
}

function count(rows: Map<string, TrafficRow>, { name, labels, value }: Sample): void {
  const sum = COUNTED[name];
  if (sum === undefined) return;
  const fresh: TrafficRow = {
    reporter: labels.reporter ?? "",
    source: workload(labels.source_workload, labels.source_workload_namespace),
    destination: workload(labels.destination_workload, labels.destination_workload_namespace),
    service: labels.destination_service ?? "",
    requests: 0,
    errors: 0,
    connections: 0,
    sentBytes: 0,
    receivedBytes: 0,
  };
  const row = rows.get(keyOf(fresh)) ?? fresh;
  rows.set(keyOf(row), row);
  row[sum] += value;
  const code = Number(labels.response_code);
  if (sum === "requests" && (code >= 500 || code === 0)) row.errors += value;
}

function keyOf({ reporter, source, destination, service }: TrafficRow): string {
  return [reporter, source, destination, service].join(" ");
}

function workload(name = "unknown", namespace = "unknown"): string {
  return namespace === "unknown" ? name : `${name}.${namespace}`;
}
