/** What is measured, in which unit, and what we aim for (ratios are a path to no mesh, or a waypoint to Envoy, in the same run). */

export interface Aim {
  readonly unit: string;
  /** A value at this bound still meets the aim. */
  readonly bound: "at least" | "at most";
  readonly aim: number;
  /** For people: one line that says what the number is. */
  readonly title: string;
}

const RATIO = "ratio to no mesh";
const TO_ENVOY = "ratio to Envoy";

function atLeast(aim: number, title: string, unit = RATIO): Aim {
  return { unit, bound: "at least", aim, title };
}

function atMost(aim: number, title: string, unit = RATIO): Aim {
  return { unit, bound: "at most", aim, title };
}

const TITLES = {
  throughput: "one stream, iperf3",
  requests: "requests/s, 16 keep-alive connections",
  requests_64k: "64 KB responses/s, 16 connections",
  connections: "new connections/s",
  pingpong: "64-byte round trip",
  cpu_per_gb: "CPU seconds per GB",
  cpu_per_request: "CPU seconds per 100,000 requests",
} as const;

export const AIMS = {
  "tunnel.throughput": atLeast(0.5, TITLES.throughput),
  "tunnel.requests": atLeast(0.45, TITLES.requests),
  "tunnel.requests_64k": atLeast(0.45, TITLES.requests_64k),
  "tunnel.connections": atLeast(0.5, TITLES.connections),
  "tunnel.pingpong": atMost(2, TITLES.pingpong),
  "tunnel.cpu_per_gb": atMost(3.3, TITLES.cpu_per_gb),
  "tunnel.cpu_per_request": atMost(3.8, TITLES.cpu_per_request),
  "direct.throughput": atLeast(1, TITLES.throughput),
  "direct.requests": atLeast(1, TITLES.requests),
  "direct.requests_64k": atLeast(1, TITLES.requests_64k),
  "direct.connections": atLeast(1, TITLES.connections),
  "direct.pingpong": atMost(1, TITLES.pingpong),
  "direct.cpu_per_gb": atMost(1, TITLES.cpu_per_gb),
  "direct.cpu_per_request": atMost(1, TITLES.cpu_per_request),
  "redirect.throughput": atLeast(1.05, TITLES.throughput),
  "redirect.requests": atLeast(1.15, TITLES.requests),
  "redirect.requests_64k": atLeast(1.05, TITLES.requests_64k),
  "redirect.connections": atLeast(1.1, TITLES.connections),
  "redirect.pingpong": atMost(1, TITLES.pingpong),
  "redirect.cpu_per_gb": atMost(1, TITLES.cpu_per_gb),
  "redirect.cpu_per_request": atMost(1, TITLES.cpu_per_request),
  "express.throughput": atLeast(2, TITLES.throughput),
  "express.requests": atLeast(1.8, TITLES.requests),
  "express.requests_64k": atLeast(1, TITLES.requests_64k),
  "express.connections": atLeast(1, TITLES.connections),
  "express.pingpong": atMost(1, TITLES.pingpong),
  "express.cpu_per_gb": atMost(0.5, TITLES.cpu_per_gb),
  "express.cpu_per_request": atMost(0.5, TITLES.cpu_per_request),
  "express.stopped_reader_mb": atMost(4, "taken from a writer whose reader has stopped", "MB"),
  "direct.verdict_lookup_us": atMost(2, "BPF's time per connect()", "us"),
  "direct.update_us_at_100_workloads": atMost(100, "one change of a service, 10 services", "us"),
  "direct.update_us_at_100000_workloads": atMost(100, "one change of a service, 10,000 services", "us"),
  "direct.map_mb_at_100000_workloads": atMost(64, "kernel memory of the maps", "MB"),
  "agent.idle_mb": atMost(110, "resident memory, idle", "MB"),
  "agent.kb_per_idle_connection": atMost(8, "per idle captured connection", "KB"),
  "agent.mb_at_2000_workloads": atMost(110, "resident with 2,000 workloads", "MB"),
  "agent.mb_at_100000_workloads": atMost(250, "resident with 100,000 workloads", "MB"),
  "control.cold_start_s": atMost(10, "start until 500 agents have 1,000 services and 10,000 pods", "s"),
  "control.change_p99_ms": atMost(1_000, "one pod's change at the last of 500 agents", "ms"),
  "control.cpu_s_per_1000_changes": atMost(20, "CPU for 1,000 changes of pods, told to 500 agents", "s"),
  "control.mb_at_10000_pods": atMost(400, "resident with 10,000 pods and 500 agents", "MB"),
  "control.rollout_lag_ms": atMost(1_000, "the last agent's delay after 1,000 pods were replaced", "ms"),
  "waypoint.http1_vs_envoy": atLeast(2.8, "HTTP/1.1 requests per core", TO_ENVOY),
  "waypoint.http2_vs_envoy": atLeast(2, "HTTP/2 requests per core", TO_ENVOY),
  "waypoint.grpc_vs_envoy": atLeast(2, "gRPC unary calls per core", TO_ENVOY),
  "waypoint.tls_vs_envoy": atLeast(2, "HTTP/1.1 in TLS, requests per core", TO_ENVOY),
  "waypoint.p99_vs_envoy": atMost(1, "99th percentile at half of Envoy's rate", TO_ENVOY),
  "waypoint.memory_vs_envoy": atMost(1, "resident memory after all loads", TO_ENVOY),
  "waypoint.edit_p99_ratio": atMost(
    1.2,
    "99th percentile at 20,000 requests/s with 10 edits/s of one of 5,000 routes",
    "ratio to no edits",
  ),
  "waypoint.routes_1000_vs_1": atLeast(0.95, "requests per core with 1,000 routes to 1 route", "ratio to 1 route"),
} as const satisfies Readonly<Record<string, Aim>>;

export type FigureName = keyof typeof AIMS;

export interface Figure {
  readonly value: number;
  readonly unit: string;
  readonly aim: number;
  readonly met: boolean;
}

/** Two equal pairs of pods without a mesh differ by this and more (README.md). */
const NOISE = 0.03;

/** `value` beside its aim, rounded to what is worth reading. A ratio that misses "as without a mesh" by noise meets it. */
export function figure(name: FigureName, value: number): Figure {
  const { unit, bound, aim } = AIMS[name];
  const rounded = Number(value.toPrecision(3));
  const noise = unit === RATIO && aim === 1 ? NOISE : 0;
  const met = bound === "at least" ? rounded >= aim - noise : rounded <= aim + noise;
  return { value: rounded, unit, aim, met };
}

/** Whether there is such a figure: not every load says something about every path. */
export function isFigure(name: string): name is FigureName {
  return Object.hasOwn(AIMS, name);
}
