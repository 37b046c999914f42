/**
 * `make bench`: pairs of pods in a playground, outside the mesh and in it, on two nodes and on one, in alternating rounds
 * of one run; then the agent's memory and the kernel's maps; then the control plane with many agents and the waypoint beside other proxies. A table for people; one JSON object with JSON=1. ROUNDS:
 * rounds per load and side.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startStage } from "../demo/src/playground-stage.ts";
import type { Stage } from "../demo/src/stage.ts";
import { playgroundCgroup } from "../playground/src/down.ts";
import { cgroupMount } from "../playground/src/system/cgroup.ts";
import { type Figure, type FigureName, figure } from "./src/aims.ts";
import { type BenchPods, deployPods } from "./src/bench-pods.ts";
import { connectMicroseconds } from "./src/connect-cost.ts";
import { CONTROL_SIZE, controlFigures, measureControl } from "./src/control/measure.ts";
import { bytesPerIdleConnection } from "./src/idle-connections.ts";
import { measureMaps } from "./src/large-maps.ts";
import { LOADS, loadNamed } from "./src/loads.ts";
import { settledBytes } from "./src/memory.ts";
import { onPath } from "./src/path-check.ts";
import { ratios, tables } from "./src/report.ts";
import { type Comparison, compare, type Side } from "./src/rounds.ts";
import { deploySameNode } from "./src/same-node.ts";
import { residentWithWorkloads } from "./src/scratch-agent.ts";
import { stoppedReaderBytes } from "./src/stopped-reader.ts";
import { editFigures, measureEdits } from "./src/waypoint/edits.ts";
import { measureWaypoint, ratesTable, waypointFigures, waypointRates } from "./src/waypoint/measure.ts";

const PLAYGROUND = "bench";
const PEER = fileURLToPath(new URL("../build/tools/weft-bench-peer", import.meta.url));
const DEFAULT_ROUNDS = 5;
const ROUND_SECONDS = 3;
const BYTES_PER_MB = 1024 * 1024;
const BYTES_PER_KB = 1024;

const asJson = process.env.JSON === "1";
const rounds = { count: Number(process.env.ROUNDS || DEFAULT_ROUNDS), seconds: ROUND_SECONDS };
const figures: Partial<Record<FigureName, Figure>> = {};

/** Progress is for people who wait; results go to standard output. */
function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

function add(name: FigureName, value: number): void {
  figures[name] = figure(name, value);
}

async function main(): Promise<void> {
  if (process.geteuid?.() !== 0) throw new Error("the bench makes network namespaces and loads BPF: run it as root");
  progress("starting two nodes");
  const stage = await startStage(PLAYGROUND);
  let sets: Comparison[][];
  try {
    sets = await measureStage(stage);
  } finally {
    await stage.down();
  }
  await measureMemory();
  const control = controlFigures(await measureControl(CONTROL_SIZE, progress));
  const waypoint = await measureWaypoint(rounds, progress);
  const edits = editFigures(await measureEdits(rounds, progress));
  const all = { ...ratios(sets.flat()), ...figures, ...control, ...waypointFigures(waypoint), ...edits };
  const json = { ...all, ...waypointRates(waypoint) };
  process.stdout.write(asJson ? `${JSON.stringify(json)}\n` : `\n${tables(sets, all)}\n${ratesTable(waypoint)}`);
}

async function measureStage(stage: Stage): Promise<Comparison[][]> {
  const plain = await deployPods(stage, "bench-plain", PEER, { enrolled: false });
  const mesh = await deployPods(stage, "bench-mesh", PEER, { enrolled: true });
  const pids = await Promise.all(stage.nodes.map((node) => node.agentPid()));
  const idle = await Promise.all(pids.map((pid) => settledBytes(pid)));
  add("agent.idle_mb", Math.max(...idle) / BYTES_PER_MB);
  const [node] = stage.nodes;
  if (node === undefined) throw new Error("a node is needed");
  const tunnel: Side = { ...mesh.far, onPath: (round) => onPath("tunnel", node, round) };
  const two = await compareAll("two nodes", plain.far, { tunnel });
  progress("idle connections");
  add("agent.kb_per_idle_connection", (await bytesPerIdleConnection(stage, mesh, PEER)) / BYTES_PER_KB);
  return [two, await measureOneNode(stage, plain, mesh)];
}

async function measureOneNode(stage: Stage, plain: BenchPods, mesh: BenchPods): Promise<Comparison[]> {
  progress("one node: connections find their paths");
  const { sides, direct } = await deploySameNode(stage, PEER, mesh, progress);
  const one = await compareAll("one node", plain.near, sides);
  if (sides.express !== undefined) {
    add("express.stopped_reader_mb", (await stoppedReaderBytes(sides.express)) / BYTES_PER_MB);
  }
  const pods = join(playgroundCgroup(PLAYGROUND), stage.nodes[0]?.name ?? "", "kubepods");
  const load = loadNamed("connections");
  const connect = (): Promise<unknown> => load.run(direct.client, direct.near.serverIp, ROUND_SECONDS);
  add("direct.verdict_lookup_us", await connectMicroseconds(pods, connect));
  return one;
}

async function compareAll(title: string, plain: Side, paths: Readonly<Record<string, Side>>): Promise<Comparison[]> {
  const comparisons: Comparison[] = [];
  for (const load of LOADS) {
    progress(`${title}, ${load.name}: ${rounds.count} rounds of ${rounds.seconds} s each`);
    comparisons.push(await compare(load, plain, paths, rounds));
  }
  return comparisons;
}

async function measureMemory(): Promise<void> {
  progress("maps with 100 and 100,000 workloads");
  const small = await measureMaps(10, cgroupMount());
  const large = await measureMaps(10_000, cgroupMount());
  add("direct.update_us_at_100_workloads", small.microsecondsPerChange);
  add("direct.update_us_at_100000_workloads", large.microsecondsPerChange);
  add("direct.map_mb_at_100000_workloads", large.bytes / BYTES_PER_MB);
  for (const [workloads, name] of [
    [2_000, "agent.mb_at_2000_workloads"],
    [100_000, "agent.mb_at_100000_workloads"],
  ] as const) {
    progress(`an agent with ${workloads} workloads`);
    add(name, (await residentWithWorkloads(workloads, cgroupMount())) / BYTES_PER_MB);
  }
}

try {
  await main();
} catch (error) {
  progress(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
