/** The loads: each runs in the client pod against the server pod and says how much work was done how fast. */

/** Runs a program in the client pod; resolves with its stdout, rejects when it fails. */
export type RunInClient = (argv: readonly string[], timeoutMs: number) => Promise<string>;

export interface Sample {
  /** In the load's unit per second, or microseconds for the ping-pong. */
  readonly value: number;
  /** Work done in the round: bytes, requests, connections or round trips. */
  readonly work: number;
}

export interface Load {
  readonly name: "throughput" | "requests" | "requests_64k" | "connections" | "pingpong";
  readonly unit: string;
  readonly run: (client: RunInClient, serverIp: string, seconds: number) => Promise<Sample>;
}

/** Ports that the server pod listens on. */
export const PORTS = { http: 8080, echo: 8081, stop: 8082, iperf: 5201 } as const;

/** Connecting and finishing may take this long beside the round itself. */
const SLACK_MS = 20_000;
const WRK_CONNECTIONS = 16;

export const LOADS: readonly Load[] = [
  { name: "throughput", unit: "Gbit/s", run: runIperf },
  { name: "requests", unit: "requests/s", run: (client, ip, s) => runWrk(client, ip, s, "/", []) },
  { name: "requests_64k", unit: "responses/s", run: (client, ip, s) => runWrk(client, ip, s, "/64k", []) },
  {
    name: "connections",
    unit: "connections/s",
    run: (client, ip, s) => runWrk(client, ip, s, "/", ["-H", "Connection: close"]),
  },
  { name: "pingpong", unit: "us", run: runPingPong },
];

export function loadNamed(name: Load["name"]): Load {
  const found = LOADS.find((load) => load.name === name);
  if (found === undefined) throw new RangeError(`no load ${name}`);
  return found;
}

async function runIperf(client: RunInClient, serverIp: string, seconds: number): Promise<Sample> {
  const argv = ["iperf3", "-J", "-c", serverIp, "-p", String(PORTS.iperf), "-t", String(seconds)];
  return parseIperf(await client(argv, seconds * 1000 + SLACK_MS));
}

async function runWrk(
  client: RunInClient,
  serverIp: string,
  seconds: number,
  path: string,
  options: readonly string[],
): Promise<Sample> {
  const url = `http://${serverIp}:${PORTS.http}${path}`;
  const argv = ["wrk", "-t1", `-c${WRK_CONNECTIONS}`, `-d${seconds}s`, ...options, url];
  return parseWrk(await client(argv, seconds * 1000 + SLACK_MS));
}

async function runPingPong(client: RunInClient, serverIp: string, seconds: number): Promise<Sample> {
  const argv = ["weft-bench-peer", "ping-pong", serverIp, String(PORTS.echo), String(seconds)];
  const result = JSON.parse(await client(argv, seconds * 1000 + SLACK_MS)) as { rounds: number; medianUs: number };
  return { value: result.medianUs, work: result.rounds };
}

/** iperf3 -J: what the receiver got. */
export function parseIperf(output: string): Sample {
  const result = JSON.parse(output) as {
    error?: string;
    end?: { sum_received?: { bytes?: number; bits_per_second?: number } };
  };
  const { bytes, bits_per_second: bits } = result.end?.sum_received ?? {};
  if (bytes === undefined || bits === undefined) throw new Error(`iperf3: ${result.error ?? "no result"}`);
  return { value: bits / 1e9, work: bytes };
}

/** wrk's text. A run with socket errors or answers other than 200 would compare something else: refused. */
export function parseWrk(output: string): Sample {
  const trouble = /Socket errors: .*|Non-2xx.*/.exec(output)?.[0];
  if (trouble !== undefined) throw new Error(`wrk: ${trouble}`);
  const requests = /(\d+) requests in/.exec(output)?.[1];
  const rate = /Requests\/sec:\s+([\d.]+)/.exec(output)?.[1];
  if (requests === undefined || rate === undefined) throw new Error(`wrk: no result in: ${output}`);
  return { value: Number(rate), work: Number(requests) };
}
