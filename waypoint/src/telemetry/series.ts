/** Counters of the engine as it hands them over: native/src/telemetry/series_book.h and series_key.h. */
import type { WorkloadFacts } from "./workload.ts";

export type RequestProtocol = "http" | "grpc" | "tcp";

/** What the labels of a series, or of one request, are made of. */
export interface LabelFacts {
  readonly protocol: RequestProtocol;
  /** 0: the client left before there was one. */
  readonly responseCode: number;
  /** -1: none. */
  readonly grpcStatus: number;
  /** Bits of flags.ts. */
  readonly flags: number;
  /** Of the tunnel's peer; empty: it has proved nothing. */
  readonly peerIdentity: string;
  readonly peerBaggage: string;
  /** Name of the Destination: "<namespace>/<hostname>", or a workload's uid. */
  readonly destination: string;
  readonly cluster: string;
  readonly telemetry: string;
  /** Service that was chosen; texts are empty when none was. */
  readonly serviceNamespace: string;
  readonly serviceHostname: string;
  readonly serviceName: string;
  readonly workload: WorkloadFacts | undefined;
  /** What there was no room for: every other fact is empty. */
  readonly other: boolean;
}

/** Counts by upper bound, not cumulative; the last is for what is above all bounds. */
export interface HistogramCounts {
  readonly counts: Float64Array;
  readonly sum: number;
}

export interface MetricSeries {
  /** Same labels, same key, at every scrape. */
  readonly key: string;
  readonly facts: LabelFacts;
  readonly requests: number;
  readonly durationMs: HistogramCounts;
  readonly requestBytes: HistogramCounts;
  readonly responseBytes: HistogramCounts;
  readonly grpcRequestMessages: number;
  readonly grpcResponseMessages: number;
  readonly tcpOpened: number;
  readonly tcpClosed: number;
  readonly tcpSentBytes: number;
  readonly tcpReceivedBytes: number;
}

/** Milliseconds and bytes alike. */
export const BUCKETS = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
] as const;
const COUNTS = BUCKETS.length + 1;
const PROTOCOLS = ["http", "grpc", "tcp"] as const;
const HAS_WORKLOAD = 2;
const OTHER = 4;
const DOUBLE = 8;

/** Reads what SumSeries has written. `facts` remembers labels by key, so that only new series are decoded. */
export function* decodeSeries(bytes: Uint8Array, facts: Map<string, LabelFacts>): Generator<MetricSeries> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const number = (): number => {
    at += DOUBLE;
    return view.getFloat64(at - DOUBLE, true);
  };
  const histogram = (): HistogramCounts => {
    const counts = new Float64Array(COUNTS);
    for (let i = 0; i < COUNTS; i++) counts[i] = number();
    return { counts, sum: number() };
  };
  while (at < buffer.length) {
    const length = view.getUint32(at, true);
    const start = at + 4;
    at = start + length;
    const key = buffer.toString("latin1", start, at);
    let known = facts.get(key);
    if (known === undefined) {
      known = decodeFacts(buffer.subarray(start, at));
      facts.set(key, known);
    }
    yield {
      key,
      facts: known,
      requests: number(),
      durationMs: histogram(),
      requestBytes: histogram(),
      responseBytes: histogram(),
      grpcRequestMessages: number(),
      grpcResponseMessages: number(),
      tcpOpened: number(),
      tcpClosed: number(),
      tcpSentBytes: number(),
      tcpReceivedBytes: number(),
    };
  }
}

function decodeFacts(key: Buffer): LabelFacts {
  let at = 12;
  const text = (): string => {
    const length = key.readUInt16LE(at);
    at += 2 + length;
    return key.toString("utf8", at - length, at);
  };
  const bits = key.readUInt8(1);
  const names = { destination: text(), cluster: text(), telemetry: text(), peerIdentity: text(), peerBaggage: text() };
  const service = { serviceNamespace: text(), serviceHostname: text(), serviceName: text() };
  const workload = {
    name: text(),
    namespace: text(),
    canonicalService: text(),
    canonicalRevision: text(),
    clusterId: text(),
    principal: text(),
    app: text(),
    version: text(),
    node: "",
  };
  return {
    protocol: PROTOCOLS[key.readUInt8(0)] ?? "tcp",
    responseCode: key.readUInt16LE(2),
    grpcStatus: key.readInt32LE(4),
    flags: key.readUInt32LE(8),
    ...names,
    ...service,
    workload: (bits & HAS_WORKLOAD) === 0 ? undefined : workload,
    other: (bits & OTHER) !== 0,
  };
}
