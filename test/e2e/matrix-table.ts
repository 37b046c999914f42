/**
 * The table of the design's section 3 as one pure function: what a connection must do, given who opens it to whom,
 * where, and under which rules. Written from the design, not from the code.
 */

export const AXES = {
  source: ["enrolled", "outside"],
  destination: ["enrolled", "outside"],
  place: ["same node", "other node"],
  mtls: ["PERMISSIVE", "STRICT"],
  /** What an AuthorizationPolicy at the destination says of this very source. */
  policy: ["allow", "deny", "none"],
  family: ["IPv4", "IPv6", "mapped"],
  /** `bound VIP`: of a service that is bound to a waypoint inside the mesh. */
  target: ["VIP", "pod IP", "headless", "bound VIP"],
} as const;

type Axes = typeof AXES;
export type Case = { readonly [Axis in keyof Axes]: Axes[Axis][number] };

/** How often the same pod has asked for the same destination: the agent learns at the first time. */
export type Turn = "first" | "later";

/** A line of an agent's access log. */
export interface ExpectedLine {
  readonly node: "source" | "destination";
  readonly direction: "direct" | "outbound" | "inbound";
  /** The end that is not the client or the server but the waypoint between them. */
  readonly waypoint?: "source" | "destination";
  readonly sourceIdentity: boolean;
  readonly destinationIdentity: boolean;
  readonly tunnel: boolean;
  /** The line names one of these policies as the reason for the end. */
  readonly denied: readonly ("strict" | "deny")[];
}

/** A step of istio_tcp_connections_opened_total. */
export interface ExpectedCount {
  readonly node: "source" | "destination";
  readonly reporter: "source" | "destination";
  /** The destination is the waypoint. */
  readonly toWaypoint?: true;
  readonly identities: boolean;
  readonly security: "mutual_tls" | "kernel_direct" | "unknown";
}

export interface Expected {
  /** Of the design's table. P4 and P5 have two ways: past the agent, or through it. */
  readonly path: "P0" | "P1" | "P2" | "P3" | "P4 kernel" | "P4 agent" | "P5 kernel" | "P5 agent";
  /** `refused`: by connect(); `closed`: after it, before any answer. */
  readonly outcome: "reached" | "refused" | "closed";
  /** An agent is at this end of the connection. */
  readonly agentAtSource: boolean;
  readonly agentAtDestination: boolean;
  readonly lines: readonly ExpectedLine[];
  readonly counts: readonly ExpectedCount[];
}

/** All 576. */
export function allCases(): Case[] {
  let cases: Record<string, string>[] = [{}];
  for (const [axis, values] of Object.entries(AXES)) {
    cases = cases.flatMap((one) => values.map((value) => ({ ...one, [axis]: value })));
  }
  return cases as unknown as Case[];
}

export function expected(one: Case, turn: Turn): Expected {
  if (one.source === "outside") return one.destination === "outside" ? untouched() : plainIn(one);
  if (one.target === "bound VIP") return viaWaypoint(one);
  if (one.destination === "outside") return plainOut(turn);
  const allowed = one.policy !== "deny";
  return one.place === "same node" && turn === "later" ? direct(allowed) : tunnel(allowed);
}

/** P0: nobody steers, nobody tells, and policies mean nothing. */
function untouched(): Expected {
  return {
    path: "P0",
    outcome: "reached",
    agentAtSource: false,
    agentAtDestination: false,
    lines: [],
    counts: [],
  };
}

/** P1: one TCP connection, both identities; a denial is connect()'s own answer. */
function direct(allowed: boolean): Expected {
  const common = { node: "source", sourceIdentity: true, destinationIdentity: true } as const;
  return {
    path: "P1",
    outcome: allowed ? "reached" : "refused",
    agentAtSource: false,
    agentAtDestination: false,
    lines: [{ ...common, direction: "direct", tunnel: false, denied: allowed ? [] : ["deny"] }],
    counts: (["source", "destination"] as const).map((reporter) => ({
      node: "source" as const,
      reporter,
      identities: true,
      security: "kernel_direct" as const,
    })),
  };
}

/** P2: mutual TLS satisfies STRICT. The caller's connection is taken before the other end is asked. */
function tunnel(allowed: boolean): Expected {
  return {
    path: "P2",
    outcome: allowed ? "reached" : "closed",
    agentAtSource: true,
    agentAtDestination: true,
    lines: [
      { ...BOTH, node: "source", direction: "outbound", tunnel: true, denied: [] },
      { ...BOTH, node: "destination", direction: "inbound", tunnel: true, denied: allowed ? [] : ["deny"] },
    ],
    counts: [
      { node: "source", reporter: "source", identities: true, security: "mutual_tls" },
      { node: "destination", reporter: "destination", identities: true, security: "mutual_tls" },
    ],
  };
}

/**
 * P3: wherever the pods are, and also for a service outside the mesh. The destination's policies meet the waypoint, not the
 * client: who allows the client alone shuts the waypoint out, and who denies the client lets it in.
 */
function viaWaypoint(one: Case): Expected {
  const inside = one.destination === "enrolled";
  const allowed = !inside || one.policy !== "allow";
  return {
    path: "P3",
    outcome: allowed ? "reached" : "closed",
    agentAtSource: true,
    agentAtDestination: inside,
    lines: [
      { ...BOTH, node: "source", direction: "outbound", waypoint: "destination", tunnel: true, denied: [] },
      ...(inside
        ? [
            {
              ...BOTH,
              node: "destination",
              direction: "inbound",
              waypoint: "source",
              tunnel: true,
              denied: [],
            } as const,
          ]
        : []),
    ],
    counts: [{ node: "source", reporter: "source", toWaypoint: true, identities: true, security: "mutual_tls" }],
  };
}

const BOTH = { sourceIdentity: true, destinationIdentity: true } as const;
const NEITHER = { sourceIdentity: false, destinationIdentity: false } as const;

/** P4: policies and PeerAuthentication of a namespace outside the mesh bind nobody. */
function plainOut(turn: Turn): Expected {
  return {
    path: turn === "first" ? "P4 agent" : "P4 kernel",
    outcome: "reached",
    agentAtSource: turn === "first",
    agentAtDestination: false,
    lines: [{ ...NEITHER, node: "source", direction: "outbound", tunnel: false, denied: [] }],
    counts: [{ node: "source", reporter: "source", identities: false, security: "unknown" }],
  };
}

/** P5: STRICT and any policy need the agent; without either the kernel lets plaintext in by itself. */
function plainIn(one: Case): Expected {
  const denied = [
    ...(one.mtls === "STRICT" ? (["strict"] as const) : []),
    ...(one.policy === "deny" ? (["deny"] as const) : []),
  ];
  const byKernel = one.mtls === "PERMISSIVE" && one.policy === "none";
  return {
    path: byKernel ? "P5 kernel" : "P5 agent",
    outcome: denied.length === 0 ? "reached" : "closed",
    agentAtSource: false,
    agentAtDestination: !byKernel,
    lines: [{ ...NEITHER, node: "destination", direction: "inbound", tunnel: false, denied }],
    counts: [{ node: "destination", reporter: "destination", identities: false, security: "unknown" }],
  };
}
