/**
 * `make bench`: two pods on two playground nodes, outside the mesh and in it, in alternating rounds of one run; then the
 * agent's memory. A table for people; one JSON object with JSON=1. ROUNDS: rounds per load and side.
 */
import { fileURLToPath } from "node:url";
import { startStage } from "../demo/src/playground-stage.ts";
import type { Stage } from "../demo/src/stage.ts";
import { cgroupMount } from "../playground/src/system/cgroup.ts";
import { type Figure, type FigureName, figure } from "./src/aims.ts";
import { deployPairs } from "./src/bench-pods.ts";
import { bytesPerIdleConnection } from "./src/idle-connections.ts";
import { LOADS } from "./src/loads.ts";
import { settledBytes } from "./src/memory.ts";
import { table, tunnelFigures } from "./src/report.ts";
import { type Comparison, compare } from "./src/rounds.ts";
import { residentWithWorkloads } from "./src/scratch-agent.ts";

const PEER = fileURLToPath(new URL("../build/tools/weft-bench-peer", import.meta.url));
const DEFAULT_ROUNDS = 5;
const ROUND_SECONDS = 3;
const BYTES_PER_MB = 1024 * 1024;
const BYTES_PER_KB = 1024;

const asJson = process.env.JSON === "1";
const rounds = Number(process.env.ROUNDS || DEFAULT_ROUNDS);

/** Progress is for people who wait; results go to standard output. */
function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function main(): Promise<void> {
  if (process.geteuid?.() !== 0) throw new Error("the bench makes network namespaces and loads BPF: run it as root");
  const comparisons: Comparison[] = [];
  const figures: Partial<Record<FigureName, Figure>> = {};
  const add = (name: FigureName, value: number): void => {
    figures[name] = figure(name, value);
  };
  progress("starting two nodes");
  const stage = await startStage("bench");
  try {
    await measureStage(stage, comparisons, add);
  } finally {
    await stage.down();
  }
  for (const [workloads, name] of [
    [2_000, "agent.mb_at_2000_workloads"],
    [100_000, "agent.mb_at_100000_workloads"],
  ] as const) {
    progress(`an agent with ${workloads} workloads`);
    add(name, (await residentWithWorkloads(workloads, cgroupMount())) / BYTES_PER_MB);
  }
  const all = { ...tunnelFigures(comparisons), ...figures };
  process.stdout.write(asJson ? `${JSON.stringify(all)}\n` : `\n${table(comparisons, all)}`);
}

async function measureStage(
  stage: Stage,
  comparisons: Comparison[],
  add: (name: FigureName, value: number) => void,
): Promise<void> {
  const { plain, mesh } = await deployPairs(stage, PEER);
  const pids = await Promise.all(stage.nodes.map((node) => node.agentPid()));
  const idle = await Promise.all(pids.map((pid) => settledBytes(pid)));
  add("agent.idle_mb", Math.max(...idle) / BYTES_PER_MB);
  for (const load of LOADS) {
    progress(`${load.name}: ${rounds} rounds of ${ROUND_SECONDS} s each way`);
    comparisons.push(await compare(load, plain, mesh, rounds, ROUND_SECONDS));
  }
  progress("idle connections");
  add("agent.kb_per_idle_connection", (await bytesPerIdleConnection(stage, mesh, PEER)) / BYTES_PER_KB);
}

try {
  await main();
} catch (error) {
  progress(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
