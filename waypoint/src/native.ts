/**
 * The typed face of the L7 engine in the addon: everything that the waypoint's TypeScript may ask of it.
 *
 * TypeScript decides and tells (programs, certificates, names of hosts), the engine moves bytes and counts. Nothing here is
 * called per request but the hand-over of records, in batches, where an access log or a span wants them.
 */
import { loadAddonFile } from "#lib/addon.ts";

/** Type of a resource of the L7 program: the message's name in proto/l7.proto. */
export type L7Type =
  | "Settings"
  | "Listener"
  | "Destination"
  | "Cluster"
  | "Endpoints"
  | "Policy"
  | "Jwt"
  | "Telemetry"
  | "RouteGroup";

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

/** A request of the process itself by way of a cluster of the program. */
export interface OwnRequest {
  readonly cluster: string;
  readonly path: string;
  readonly authority: string;
  readonly headers: Readonly<Record<string, string>>;
  /** With `grpc` one message, which the engine frames. */
  readonly body: Uint8Array;
  readonly grpc: boolean;
  readonly timeoutMs: number;
}
export interface OwnAnswer {
  /** Empty: there is an answer, for gRPC one of status 0. Else why there is none. */
  readonly failure: string;
  readonly status: number;
}

export interface L7EngineStats {
  readonly openConnections: number;
  readonly openRequests: number;
  readonly openTunnels: number;
  readonly bufferedBytes: number;
  /** Records that were lost because JavaScript did not keep up. */
  readonly recordsLost: number;
  /** Records that were counted under "other" because there are too many series. */
  readonly seriesOverflowed: number;
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
  setIdentity(identity: {
    readonly id: string;
    readonly chain: string;
    readonly key: string;
    readonly roots: string;
  }): void;
  /** One atomic step: requests that begin afterwards see all that was taken of it. */
  apply(updated: readonly L7Resource[], removed: readonly L7Name[]): L7Rejection[];
  /** Counters of requests with the same labels, summed over loops since the start (telemetry/series.ts decodes). */
  series(): Uint8Array;
  stats(): L7EngineStats;
  /** Calls `onRecords` now with what there is. */
  flushRecords(): void;
  /** POSTs once, bounded in time. Resolves also when nobody could be asked. */
  call(request: OwnRequest): Promise<OwnAnswer>;
  /** Stops accepting, GOAWAY, resolves when nothing is left or at the deadline after closing the rest. */
  drain(deadlineMs: number): Promise<void>;
  close(): void;
}

export interface L7Addon {
  readonly createL7Engine: (options: L7EngineOptions) => L7Engine;
}

/** Throws with the build command in its message when the addon is missing. */
export function loadL7Addon(): L7Addon {
  return loadAddonFile() as L7Addon;
}
