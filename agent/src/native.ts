/**
 * The typed face of the C++ addon: everything that TypeScript may ask of the engine and of the BPF plane.
 *
 * TypeScript decides (routes, identities, policies), the engine moves bytes. Nothing here is called per packet or
 * per byte. Addresses are canonical strings as `lib/src/address.ts` makes them (IPv4 dotted, IPv6 compressed, never
 * v4-mapped). Every function that can fail throws an Error whose `code` is a POSIX name or a reason of ours.
 */
import { loadAddonFile } from "#lib/addon.ts";
import type { IdentityChange } from "#lib/identity/identity-manager.ts";
import type { Reason } from "#lib/reasons.ts";

/** `ip` with `port`, both canonical. */
export interface SocketAddress {
  readonly ip: string;
  readonly port: number;
}

/** A number of the agent's own for an enrolled pod, never reused while the process lives. */
export type PodId = number;

export interface PodConfig {
  readonly id: PodId;
  /** Kubernetes pod UID; only used in logs and dumps. */
  readonly uid: string;
  /** Path that `setns(2)` accepts, for example `/proc/123/ns/net`. Opened once, during the call. */
  readonly netnsPath: string;
  /** The pod's own addresses. */
  readonly addresses: readonly string[];
  /** SPIFFE id whose certificate this pod presents; must be set by `set-identity` before tunnels can open. */
  readonly identity: string;
  /** `baggage` header sent on each CONNECT from this pod and in each 200 answer for it. */
  readonly baggage: string;
}

/** One endpoint of a route. */
export interface RouteEndpoint {
  /** Echoed in connection records, so that TypeScript finds the workload again. */
  readonly key: number;
  /** Relative weight, at least 1. The pick is random by weight, per connection. */
  readonly weight: number;
  /** Where to dial: the application itself, or port 15008 of the peer's agent. */
  readonly dial: SocketAddress;
  /** Absent: plaintext TCP to `dial`. */
  readonly tunnel?: {
    /** CONNECT `:authority`. */
    readonly authority: string;
    /** SPIFFE ids of which the server certificate must carry one. Never empty. */
    readonly identities: readonly string[];
  };
}

/** What an outbound connection of one pod to one original destination does. */
export type Route =
  | { readonly kind: "passthrough" }
  | { readonly kind: "refuse"; readonly reason: Reason }
  | {
      readonly kind: "endpoints";
      readonly endpoints: readonly RouteEndpoint[];
      /** `host=` of the `forwarded` header, when a service was addressed. */
      readonly serviceHost?: string;
    };

export interface StringMatch {
  readonly kind: "exact" | "prefix" | "suffix" | "presence";
  readonly value: string;
}
export interface Cidr {
  readonly ip: string;
  readonly length: number;
}
export interface ServiceAccountMatch {
  readonly namespace: string;
  readonly serviceAccount: string;
}
/** Field kinds are AND'ed, values of a kind OR'ed, `not*` means that none may match. Empty list: no condition. */
export interface PolicyMatch {
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly sourceIps: readonly Cidr[];
  readonly notSourceIps: readonly Cidr[];
  readonly destinationIps: readonly Cidr[];
  readonly notDestinationIps: readonly Cidr[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
}
/** rules OR'ed, clauses of a rule AND'ed, matches of a clause OR'ed (`facts`: evaluation as in ambient's L4 RBAC). */
export interface Policy {
  readonly action: "allow" | "deny";
  readonly dryRun: boolean;
  readonly rules: readonly (readonly (readonly PolicyMatch[])[])[];
}

/** Table changes. One `apply` call is one atomic batch: every loop sees all of it or none of it. */
export type Command =
  | { readonly op: "set-route"; readonly pod: PodId; readonly destination: SocketAddress; readonly route: Route }
  | { readonly op: "remove-route"; readonly pod: PodId; readonly destination: SocketAddress }
  | IdentityChange
  /** `name` is `namespace/name` of the Authorization. */
  | { readonly op: "set-policy"; readonly name: string; readonly policy: Policy }
  | { readonly op: "remove-policy"; readonly name: string }
  /** All policies in force for the pod (global, namespace, selected), by name. Unknown names refuse connections, and so
   * does a pod before its first set-pod-policies. */
  | { readonly op: "set-pod-policies"; readonly pod: PodId; readonly policies: readonly string[] }
  | { readonly op: "set-pod-baggage"; readonly pod: PodId; readonly baggage: string }
  /** `host:port` of CONNECT authorities by name that this pod answers, to the application's port. */
  | { readonly op: "set-pod-hosts"; readonly pod: PodId; readonly hosts: Readonly<Record<string, number>> };

export type Path = "outbound" | "inbound-hbone" | "inbound-plaintext";

/** One connection, as it stands (live) or ended (in an event). Byte counts: request direction is client to server. */
export interface ConnectionRecord {
  readonly id: number;
  readonly pod: PodId;
  readonly path: Path;
  /** Peer that opened the connection to us (the application outbound, the remote pod inbound). */
  readonly source: SocketAddress;
  /** Outbound: what the application asked for. Inbound: the application's address and port. */
  readonly destination: SocketAddress;
  /** Where we dialled, once we did. */
  readonly upstream?: SocketAddress;
  /** CONNECT authority, on tunnelled connections. */
  readonly authority?: string;
  /** Verified SPIFFE id of the other end of the tunnel; absent on plaintext. */
  readonly peerIdentity?: string;
  /** `RouteEndpoint.key` of the chosen endpoint (outbound). */
  readonly endpointKey?: number;
  /** `baggage` and `forwarded` header values that the peer sent (inbound HBONE). Unverified. */
  readonly baggage?: string;
  readonly forwarded?: string;
  /** 32 hex digits. */
  readonly traceId: string;
  /** Unix time in ms with fraction. */
  readonly openedAtMs: number;
  readonly durationMs: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** False while the connection is being established and for connections that failed before it was. */
  readonly established: boolean;
  /** `none` for an orderly end. */
  readonly reason: Reason;
  /** Free text for people: errno or TLS alert text, peer status. */
  readonly detail?: string;
  /** The policy that decided, `namespace/name`, on a denial by a DENY policy; empty when no ALLOW matched. */
  readonly policy?: string;
}

export type EngineEvent =
  /** No route for this pod and destination; answer with `set-route`. Asked once until answered or 5 s have passed. */
  | { readonly type: "route-miss"; readonly pod: PodId; readonly destination: SocketAddress }
  /** A connection waits for this identity's certificate (at most 5 s). */
  | { readonly type: "identity-miss"; readonly identity: string }
  | { readonly type: "closed"; readonly record: ConnectionRecord }
  /** A dry-run policy matched (deny) or nothing allowed (allow) - logged, not enforced. */
  | {
      readonly type: "dry-run";
      readonly pod: PodId;
      readonly policy: string;
      readonly source: SocketAddress;
      readonly peerIdentity?: string;
    }
  /** Events lost since the last batch because JavaScript did not keep up. */
  | { readonly type: "events-lost"; readonly count: number };

/** A connection to an enrolled pod, as its policies see it. */
export interface PolicyPeer {
  /** Absent: plaintext, nobody has proved who it is. */
  readonly identity?: string;
  readonly sourceIp: string;
  readonly destinationIp: string;
  readonly port: number;
}

export interface PolicyAnswer {
  readonly allowed: boolean;
  /** The DENY policy that matched; empty when no ALLOW did; absent when none decided. */
  readonly policy?: string;
  /** Dry-run policies that would have denied. Whoever decides in the engine's place must not leave them unreported. */
  readonly dryRun: readonly string[];
}

/** Defaults are ambient's (windows, pool sizes, timeouts); names as in the environment variables that set them. */
export interface EngineOptions {
  /** Event loops; default: cores, at most 4. */
  readonly loops?: number;
  readonly maxStreamsPerConnection?: number;
  readonly poolUnusedReleaseMs?: number;
  readonly streamWindowBytes?: number;
  readonly connectionWindowBytes?: number;
  readonly frameBytes?: number;
  readonly keepalive?: {
    readonly enabled: boolean;
    readonly timeSec: number;
    readonly intervalSec: number;
    readonly retries: number;
  };
  readonly ipv6?: boolean;
  /** Called on the JS thread with batches, never re-entrantly from another call. */
  readonly onEvents: (events: readonly EngineEvent[]) => void;
}

export interface EngineStats {
  /** Counters by `reason` label since start. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly openConnections: number;
  readonly openTunnels: number;
  /** Bytes that the engine holds in its own buffers now. */
  readonly bufferedBytes: number;
}

/** The C++ engine. `bpf`: where original destinations come from and where dialled sockets are announced. */
export interface Engine {
  /**
   * Opens 15001, 15006 and 15008 in the pod's network namespace. Throws, with nothing left open, when a port is
   * taken or the namespace is gone.
   */
  addPod(config: PodConfig): void;
  /** Ends everything of the pod at once, without GOAWAY: its namespace is normally gone. */
  removePod(id: PodId): void;
  /** Opens 15053 on loopback in the pod's namespace (udp and tcp, `::1` when lo has it) and hands over the fds, IPv4 first. */
  openDnsSockets(id: PodId): { readonly udp: readonly number[]; readonly tcp: readonly number[] };
  apply(commands: readonly Command[]): void;
  /** What the policies that are in force for the pod say of such a connection, after everything that was applied. */
  evaluate(pod: PodId, peer: PolicyPeer): PolicyAnswer;
  connections(): ConnectionRecord[];
  stats(): EngineStats;
  /** Stops accepting, sends GOAWAY, resolves when nothing is left or at the deadline after closing the rest. */
  drain(deadlineMs: number): Promise<void>;
  /** Joins the loops. The engine is unusable afterwards. */
  close(): void;
}

export interface BpfOptions {
  /** Folder under a bpffs, for example `/sys/fs/bpf/weft`; versioned by the ABI below it. */
  readonly pinDir: string;
  /** cgroup v2 folder that holds all pods of the node. */
  readonly podsCgroup: string;
  /** cgroup v2 folder of this process: its sockets are never captured. */
  readonly agentCgroup: string;
  /** cgroup v2 folder of the kubelet; its connections to pods are probes. Absent: no probe exemption, logged. */
  readonly kubeletCgroup?: string;
  /** Captured connections at a time on this node, default 262,144. Pinned maps keep the size they were made with. */
  readonly maxFlows?: number;
  /**
   * Connections that BPF alone handled and that have ended or were denied: `struct weft_event`s one after the other
   * (bpf/include/weft_abi.h). Called on the JS thread, at most some 20 times a second.
   */
  readonly onDirectEvents?: (events: Uint8Array) => void;
}

export interface CapturedPod {
  readonly id: PodId;
  readonly netnsPath: string;
  readonly addresses: readonly string[];
  /** Steer DNS (udp and tcp port 53) to 15053. */
  readonly dns: boolean;
  /** The pod has asked for express connections (annotation `weft.dev/express: enabled`). */
  readonly express?: boolean;
}

/**
 * What may be said of a pod by its cgroup folder, before its network namespace is captured. `outside`: untouched. `inside`: of the mesh,
 * what is not captured of it is refused. `held`: of the mesh and about to be captured, connections wait until it becomes `inside`.
 */
export type Membership = "outside" | "inside" | "held";

/** Cookie of a pod's network namespace: how the kernel's maps name a pod. Never used again while the kernel runs. */
export type NetnsCookie = bigint;

/** One endpoint of a route that BPF may choose. */
export interface DirectEndpoint {
  /** `RouteEndpoint.key`: a choice that the agent must carry out names the endpoint by it. */
  readonly key: number;
  /** Relative weight, at least 1. The choice is random by weight, per connection. */
  readonly weight: number;
  /** Where the application listens. */
  readonly address: SocketAddress;
  /** `direct`: enrolled on this node, `pod` says which; `agent`: reached by tunnel; `plain`: nothing needs the agent. */
  readonly path: "direct" | "agent" | "plain";
  readonly pod?: NetnsCookie;
}

/** What a verdict is about. The family is part of it because policies may ask for addresses. */
export interface VerdictKey {
  readonly source: NetnsCookie;
  readonly destination: NetnsCookie;
  readonly port: number;
  readonly family: 4 | 6;
}

/** Changes of what BPF decides by itself, carried out one after the other. */
export type DirectCommand =
  /** Replaces the route as a whole; a connection sees the old one, the new one, or asks the agent. */
  | {
      readonly op: "set-route";
      readonly pod: NetnsCookie;
      readonly destination: SocketAddress;
      readonly endpoints: readonly DirectEndpoint[];
    }
  | { readonly op: "remove-route"; readonly pod: NetnsCookie; readonly destination: SocketAddress }
  /** Counts until the destination's verdicts are expired. */
  | { readonly op: "set-verdict"; readonly verdict: VerdictKey; readonly allow: boolean }
  | { readonly op: "remove-verdict"; readonly verdict: VerdictKey }
  /** Nothing decided so far about connections to this pod counts any more: they go to the agent. */
  | { readonly op: "expire-verdicts"; readonly pod: NetnsCookie }
  /** Whether plaintext from outside may go to the pod's applications without the agent. */
  | { readonly op: "set-open"; readonly pod: NetnsCookie; readonly open: boolean };

/** Names a connection that BPF alone handles, as the fields of a `struct weft_event` do. */
export interface DirectConnection {
  readonly path: "direct" | "plain-out" | "plain-in";
  /** 0n: not a pod of this node. */
  readonly sourcePod: NetnsCookie;
  readonly destinationPod: NetnsCookie;
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
}

/** Whether a kernel's shortcut is used for a pod, and if not why. */
export interface Shortcut {
  readonly pod: NetnsCookie;
  /** The host's end of the pod's device, where one was found. */
  readonly device: string | undefined;
  /** Undefined: it is on. */
  readonly off: string | undefined;
}

/** Pinned links and maps. Everything survives the process; `load` adopts what is there. */
export interface BpfPlane {
  /** Starts steering this pod. Idempotent for the same namespace. Returns its netns cookie. */
  capture(pod: CapturedPod): bigint;
  /** Stops steering; connections that are open go on untouched. */
  release(cookie: bigint): void;
  /** `folder`: the pod's, or one between it and that of all pods. */
  setMembership(folder: string, membership: Membership): void;
  /** Forgets what was said of all others. */
  keepMemberships(folders: readonly string[]): void;
  /** For that long, pods of which nothing was said cannot connect: we are about to say something. Then they are untouched. */
  guardNewcomers(forMs: number): void;
  /** Netns cookies that pinned maps hold from an earlier process. */
  captured(): bigint[];
  /** Per-reason counters of the BPF programs, by label. */
  counters(): Record<string, number>;
  /**
   * What BPF may decide by itself. A command that cannot be carried out (a full map) leaves its subject to the agent;
   * the returned texts say so, one per failure.
   */
  direct(commands: readonly DirectCommand[]): string[];
  /** Routes that the maps hold, an earlier process's included. */
  routes(): { readonly pod: NetnsCookie; readonly destination: SocketAddress }[];
  /** Connections that BPF alone handles and that are open now: `struct weft_event`s one after the other. */
  directConnections(): Uint8Array;
  /** Ends these with a reset to both ends. Returns how many there still were. */
  endDirect(connections: readonly DirectConnection[]): number;
  /**
   * Undefined: BPF may decide by itself. Else what this kernel lacks: `direct` then refuses endpoints of path `direct`
   * and pods that are open, because nothing may be allowed that could not be ended later on.
   */
  directOff(): string | undefined;
  /**
   * Renews the permission to let plaintext pass without the agent, to destinations outside the mesh and into open pods;
   * it ends by itself after this time.
   */
  permitPlain(forMs: number): void;
  /** Peer redirect, pod by pod. */
  redirects(): Shortcut[];
  /** Looks again whether other programs have come to the pods' devices or left them. */
  checkRedirects(): void;
  /** Undefined: express connections are offered. Else the guard that this kernel does not keep, in words. */
  expressOff(): string | undefined;
  close(): void;
}

/** Netns cookie of a namespace path, for telling whether a pinned pod is still the same one. */
export interface Addon {
  readonly createEngine: (options: EngineOptions, bpf: BpfPlane | null) => Engine;
  /** Throws an Error naming the kernel feature and the oldest kernel that has it when something is missing. */
  readonly loadBpf: (options: BpfOptions) => BpfPlane;
  /** Removes every link, map and program under `pinDir`; true when there was something. */
  readonly cleanupBpf: (pinDir: string) => boolean;
  readonly netnsCookie: (netnsPath: string) => bigint;
  /** Which features of the kernel are there, tried. Throws an Error that names the privileges that are missing. */
  readonly probeKernel: () => Readonly<Record<string, boolean>>;
}

/** Throws with the build command in its message when the addon is missing. */
export function loadAddon(): Addon {
  return loadAddonFile() as Addon;
}
