/** Waypoint and peers in alternating rounds of one run, and the figures that come of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Figure, type FigureName, figure } from "../aims.ts";
import { settledBytes } from "../memory.ts";
import { columns } from "../report.ts";
import type { Rounds } from "../rounds.ts";
import { median } from "../stats.ts";
import { type Program, type Running, start } from "./bed.ts";
import { type Credentials, makeCredentials } from "./credentials.ts";
import { envoy } from "./envoy.ts";
import { pacedP99, type Rate, saturate, type Target } from "./load.ts";
import { type ProxyName, portOf, SCENARIOS, type Scenario, type ScenarioName } from "./scenarios.ts";
import { haproxy, nginx, nodeProxy, upstreams } from "./servers.ts";
import { weft } from "./weft.ts";

/** Medians over rounds. */
export type Rates = Readonly<Record<ScenarioName, Readonly<Partial<Record<ProxyName, Rate>>>>>;

export interface WaypointResults {
  readonly rates: Rates;
  /** Milliseconds at half of Envoy's rate. */
  readonly p99: Readonly<Record<"weft" | "envoy", number>>;
  readonly bytes: Readonly<Record<"weft" | "envoy", number>>;
}

const WARM_UP_SECONDS = 1;
const BYTES_PER_MB = 1024 * 1024;

export async function measureWaypoint(rounds: Rounds, progress: (text: string) => void): Promise<WaypointResults> {
  const folder = mkdtempSync(join(tmpdir(), "weft-bench-"));
  const running: Running[] = [];
  const begin = async (program: Program): Promise<Running> => {
    const one = await start(program);
    running.push(one);
    return one;
  };
  try {
    const credentials = makeCredentials(folder);
    for (const server of upstreams(folder)) await begin(server);
    const proxies = {} as Record<ProxyName, Running>;
    for (const [name, program] of Object.entries(programs(folder, credentials))) {
      proxies[name as ProxyName] = await begin(program);
    }
    const target = (proxy: ProxyName, scenario: Scenario): Target => ({
      scenario,
      port: portOf(proxy, scenario),
      pid: proxies[proxy].pid,
      folder,
      token: credentials.token,
    });
    for (const proxy of ["weft", "envoy"] as const) await provePolicies((scenario) => target(proxy, scenario));
    const rates = await allRates(target, rounds, progress);
    const [simple] = SCENARIOS as [Scenario];
    const pace = (rates.http1.envoy?.perSecond ?? 0) / 2;
    progress(`waypoint, 99th percentile at ${Math.round(pace)} requests/s`);
    const pair = ["weft", "envoy"] as const;
    const latencies = await inTurns(pair, rounds, (proxy) => pacedP99(target(proxy, simple), pace, rounds.seconds));
    return {
      rates,
      p99: { weft: median(latencies.get("weft") ?? []), envoy: median(latencies.get("envoy") ?? []) },
      bytes: { weft: await settledBytes(proxies.weft.pid), envoy: await settledBytes(proxies.envoy.pid) },
    };
  } finally {
    await Promise.all(running.map((one) => one.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
}

function programs(folder: string, credentials: Credentials): Readonly<Record<ProxyName, Program>> {
  return {
    weft: weft(folder, credentials),
    envoy: envoy(credentials),
    nginx: nginx(folder, credentials),
    haproxy: haproxy(folder, credentials),
    node: nodeProxy(),
  };
}

/** A proxy that checks nothing is fast: what must be refused is refused before anything is measured. */
async function provePolicies(targetOf: (scenario: Scenario) => Target): Promise<void> {
  const status = async (name: ScenarioName, headers: Readonly<Record<string, string>>): Promise<number> => {
    const scenario = SCENARIOS.find((one) => one.name === name) as Scenario;
    const answer = await fetch(`http://127.0.0.1:${targetOf(scenario).port}/nobody`, { headers });
    await answer.arrayBuffer();
    return answer.status;
  };
  const forged = await status("jwt", { authorization: "Bearer a.b.c" });
  const denied = await status("policies_10", {});
  if (forged !== 401 || denied !== 403) throw new Error(`policies are not in force: ${forged}, ${denied}`);
}

/** Scenarios take turns too, not only proxies: 1,000 routes are compared with one. */
async function allRates(
  target: (proxy: ProxyName, scenario: Scenario) => Target,
  rounds: Rounds,
  progress: (text: string) => void,
): Promise<Rates> {
  const turns = SCENARIOS.flatMap((scenario) => scenario.proxies.map((proxy) => ({ scenario, proxy })));
  progress(`waypoint, ${turns.length} pairs of load and proxy: ${rounds.count} rounds of ${rounds.seconds} s each`);
  for (const { proxy, scenario } of turns) await saturate(target(proxy, scenario), WARM_UP_SECONDS);
  const samples = await inTurns(turns, rounds, ({ proxy, scenario }) =>
    saturate(target(proxy, scenario), rounds.seconds),
  );
  const rates = {} as Record<ScenarioName, Partial<Record<ProxyName, Rate>>>;
  for (const [{ scenario, proxy }, list] of samples) {
    rates[scenario.name] = {
      ...rates[scenario.name],
      [proxy]: {
        perSecond: median(list.map((rate) => rate.perSecond)),
        perCore: median(list.map((rate) => rate.perCore)),
      },
    };
  }
  return rates;
}

/** The order turns over with each round: nobody is always the one after another. */
async function inTurns<K, T>(
  turns: readonly K[],
  { count }: Rounds,
  round: (turn: K) => Promise<T>,
): Promise<ReadonlyMap<K, readonly T[]>> {
  const samples = new Map(turns.map((turn) => [turn, [] as T[]]));
  for (let i = 0; i < count; i++) {
    for (const [turn, list] of i % 2 === 0 ? samples : [...samples].toReversed()) list.push(await round(turn));
  }
  return samples;
}

export function waypointFigures({ rates, p99, bytes }: WaypointResults): Partial<Record<FigureName, Figure>> {
  const perCore = (scenario: ScenarioName, proxy: ProxyName): number => {
    const rate = rates[scenario][proxy];
    if (rate === undefined) throw new RangeError(`${scenario} was not measured with ${proxy}`);
    return rate.perCore;
  };
  const versus = (name: FigureName, scenario: ScenarioName) =>
    [name, figure(name, perCore(scenario, "weft") / perCore(scenario, "envoy"))] as const;
  const other = (name: FigureName, value: number) => [name, figure(name, value)] as const;
  return Object.fromEntries([
    versus("waypoint.http1_vs_envoy", "http1"),
    versus("waypoint.http2_vs_envoy", "http2"),
    versus("waypoint.grpc_vs_envoy", "grpc"),
    versus("waypoint.tls_vs_envoy", "tls"),
    other("waypoint.p99_vs_envoy", p99.weft / p99.envoy),
    other("waypoint.memory_vs_envoy", bytes.weft / bytes.envoy),
    other("waypoint.routes_1000_vs_1", perCore("routes_1000", "weft") / perCore("http1", "weft")),
  ]);
}

/** What the ratios were made of: values without an aim, for the JSON. */
export function waypointRates({ rates, p99, bytes }: WaypointResults): Readonly<Record<string, Absolute>> {
  const all = Object.entries(rates).flatMap(([scenario, proxies]) =>
    Object.entries(proxies).map(([proxy, { perCore }]) => {
      return [`waypoint.${scenario}.${proxy}`, { value: Math.round(perCore), unit: "requests/s per core" }] as const;
    }),
  );
  const pairs = (["weft", "envoy"] as const).flatMap((proxy) => [
    [`waypoint.p99_ms.${proxy}`, { value: Number(p99[proxy].toPrecision(3)), unit: "ms" }] as const,
    [
      `waypoint.memory_mb.${proxy}`,
      { value: Number((bytes[proxy] / BYTES_PER_MB).toPrecision(3)), unit: "MB" },
    ] as const,
  ]);
  return Object.fromEntries([...all, ...pairs]);
}

/** Requests per second of the proxy's core: a row per scenario, a column per proxy. */
export function ratesTable({ rates, p99, bytes }: WaypointResults): string {
  const proxies: readonly ProxyName[] = ["weft", "envoy", "nginx", "haproxy", "node"];
  const rows = SCENARIOS.map(({ name, title }) => [
    title,
    ...proxies.map((proxy) => {
      const rate = rates[name][proxy];
      return rate === undefined ? "" : Math.round(rate.perCore).toLocaleString("en");
    }),
  ]);
  const pair = (title: string, weftOne: number, envoyOne: number) => [
    title,
    weftOne.toPrecision(3),
    envoyOne.toPrecision(3),
  ];
  const memory = pair("resident MB", bytes.weft / BYTES_PER_MB, bytes.envoy / BYTES_PER_MB);
  const latency = pair("99th percentile, ms", p99.weft, p99.envoy);
  return `${columns([["requests/s per core", ...proxies], ...rows, latency, memory])}\n`;
}

export interface Absolute {
  readonly value: number;
  readonly unit: string;
}
