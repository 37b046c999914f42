/**
 * The typed face of the L7 engine in the addon: everything that the waypoint's TypeScript may ask of it.
 *
 * TypeScript decides and tells (programs, certificates, names of hosts), the engine moves bytes and counts. Nothing here is
 * called per request but the hand-over of records, in batches, where an access log or a span wants them.
 */

/** Type of a resource of the L7 program: the message's name in proto/l7.proto. */
export type L7Type =
  | "Settings"
  | "Listener"
  | "Destination"
  | "Cluster"
  | "Endpoints"
  | "Policy"
  | "Jwt"
  | "Telemetry";

export interface L7Resource {
  readonly type: L7Type;
  readonly name: string;
  /** The encoded message. Endpoints must have no hostnames left: the process looks them up. */
  readonly bytes: Uint8Array;
}
export interface L7Name {
  readonly type: L7Type;
  readonly name: string;
}
/** A resource that was not taken; what was in force under its name stays. */
export interface L7Rejection extends L7Name {
  readonly reason: string;
}

export interface L7EngineOptions {
  /** Event loops; default: cores, at most 4. */
  readonly loops?: number;
  /** Where HBONE is accepted; absent: not at all. Port 0: any free one. */
  readonly hbone?: { readonly address: string; readonly port: number };
  /** Where this process is, for locality-aware balancing. */
  readonly locality: { readonly region: string; readonly zone: string; readonly subzone: string };
  /** Labels of this process, for `failoverPriority`. */
  readonly labels: Readonly<Record<string, string>>;
  /** `baggage` on CONNECTs that this process opens. */
  readonly baggage: string;
  /** Records of requests whose Telemetry has an access log or whose trace is sampled, in batches (records.ts decodes). */
  readonly onRecords: (batch: Uint8Array) => void;
}

/** Counters of requests with the same labels, summed over loops since the start. */
export interface MetricSeries {
  readonly tcp: boolean;
  readonly destination: string;
  readonly cluster: string;
  readonly telemetry: string;
  /** Of the tunnel's peer. */
  readonly peerIdentity: string;
  readonly peerBaggage: string;
  readonly workload: WorkloadFacts | undefined;
  /** Service that was chosen. */
  readonly service: { readonly namespace: string; readonly hostname: string; readonly name: string };
  readonly protocol: "http" | "grpc" | "tcp";
  readonly responseCode: number;
  /** -1: none. */
  readonly grpcStatus: number;
  readonly flags: string;
  readonly downstreamTls: boolean;
  readonly requests: number;
  readonly durationMs: Histogram;
  readonly requestBytes: Histogram;
  readonly responseBytes: Histogram;
  readonly grpcRequestMessages: number;
  readonly grpcResponseMessages: number;
  readonly tcpOpened: number;
  readonly tcpClosed: number;
  readonly tcpSentBytes: number;
  readonly tcpReceivedBytes: number;
}
/** Counts by upper bound, not cumulative; the last is for what is above all bounds. */
export interface Histogram {
  readonly counts: readonly number[];
  readonly sum: number;
}
export interface WorkloadFacts {
  readonly name: string;
  readonly namespace: string;
  readonly canonicalService: string;
  readonly canonicalRevision: string;
  readonly clusterId: string;
  readonly principal: string;
  readonly app: string;
  readonly version: string;
  readonly node: string;
}

export interface L7EngineStats {
  readonly openConnections: number;
  readonly openRequests: number;
  readonly openTunnels: number;
  readonly bufferedBytes: number;
  /** Records that were lost because JavaScript did not keep up. */
  readonly recordsLost: number;
  /** By cluster and endpoint: for admin. */
  readonly clusters: readonly {
    readonly name: string;
    readonly endpoints: readonly {
      readonly address: string;
      readonly activeRequests: number;
      readonly connections: number;
      readonly ejected: boolean;
    }[];
  }[];
}

export interface L7Engine {
  /** The addresses that are bound, by listener name; HBONE's is "hbone". */
  listening(): Readonly<Record<string, { readonly address: string; readonly port: number }>>;
  /** The process' own certificate, PEM: tunnels in and out. Open tunnels go on with the one they began with. */
  setIdentity(identity: { readonly id: string; readonly chain: string; readonly key: string; readonly roots: string }): void;
  /** One atomic step: requests that begin afterwards see all that was taken of it. */
  apply(updated: readonly L7Resource[], removed: readonly L7Name[]): L7Rejection[];
  series(): MetricSeries[];
  stats(): L7EngineStats;
  /** Stops accepting, GOAWAY, resolves when nothing is left or at the deadline after closing the rest. */
  drain(deadlineMs: number): Promise<void>;
  close(): void;
}

export interface L7Addon {
  readonly createL7Engine: (options: L7EngineOptions) => L7Engine;
}
