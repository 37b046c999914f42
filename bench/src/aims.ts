/** What is measured, in which unit, and what we aim for (ratios are mesh to no mesh in the same run). */

export interface Aim {
  readonly unit: string;
  /** A value at this bound still meets the aim. */
  readonly bound: "at least" | "at most";
  readonly aim: number;
  /** For people: one line that says what the number is. */
  readonly title: string;
}

const RATIO = "ratio to no mesh";

export const AIMS = {
  "tunnel.throughput": { unit: RATIO, bound: "at least", aim: 0.4, title: "one stream, iperf3" },
  "tunnel.requests": { unit: RATIO, bound: "at least", aim: 0.35, title: "requests/s, 16 keep-alive connections" },
  "tunnel.requests_64k": { unit: RATIO, bound: "at least", aim: 0.4, title: "64 KB responses/s, 16 connections" },
  "tunnel.connections": { unit: RATIO, bound: "at least", aim: 0.4, title: "new connections/s" },
  "tunnel.pingpong": { unit: RATIO, bound: "at most", aim: 2.2, title: "64-byte round trip" },
  "tunnel.cpu_per_gb": { unit: RATIO, bound: "at most", aim: 3.3, title: "CPU seconds per GB" },
  "tunnel.cpu_per_request": { unit: RATIO, bound: "at most", aim: 3.8, title: "CPU seconds per 100,000 requests" },
  "agent.idle_mb": { unit: "MB", bound: "at most", aim: 110, title: "resident memory, idle" },
  "agent.kb_per_idle_connection": { unit: "KB", bound: "at most", aim: 8, title: "per idle captured connection" },
  "agent.mb_at_2000_workloads": { unit: "MB", bound: "at most", aim: 110, title: "resident with 2,000 workloads" },
  "agent.mb_at_100000_workloads": { unit: "MB", bound: "at most", aim: 250, title: "resident with 100,000 workloads" },
} as const satisfies Readonly<Record<string, Aim>>;

export type FigureName = keyof typeof AIMS;

export interface Figure {
  readonly value: number;
  readonly unit: string;
  readonly aim: number;
  readonly met: boolean;
}

/** `value` beside its aim, rounded to what is worth reading. */
export function figure(name: FigureName, value: number): Figure {
  const { unit, bound, aim } = AIMS[name];
  const rounded = Number(value.toPrecision(3));
  return { value: rounded, unit, aim, met: bound === "at least" ? rounded >= aim : rounded <= aim };
}
