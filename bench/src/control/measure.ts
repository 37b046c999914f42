/**
 * The control plane's own process in front of a Kubernetes API in memory, with many agents connected: how long a start
 * takes, how long one change, what changes cost, and whether a large roll-out piles up.
 */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { eventually } from "#lib/eventually.ts";
import { SECRETS } from "#lib/kube/types.ts";
import { FakeKube } from "../../../test/helpers/fake-kube.ts";
import { type Figure, type FigureName, figure } from "../aims.ts";
import { residentBytes, settledBytes } from "../memory.ts";
import { columns } from "../report.ts";
import { cpuSecondsOf } from "../waypoint/cpu.ts";
import { percentile } from "../waypoint/load.ts";
import type { CrowdEvent, CrowdOrder } from "./agent-crowd.ts";
import { BenchCluster, type ClusterSize } from "./cluster.ts";

const CONTROL = fileURLToPath(new URL("../../../control/bin/weft-control", import.meta.url));
const CROWD = fileURLToPath(new URL("./agent-crowd.ts", import.meta.url));
/** What the aims are for. */
export const CONTROL_SIZE: ClusterSize = { services: 1_000, pods: 10_000, nodes: 500 };
const SINGLE_CHANGES = 100;
const ROLLED_PODS = 1_000;
/** 1,000 pods in 20 seconds is a roll-out of everything at once in a cluster of this size. */
const ROLLED_PER_SECOND = 50;
const LIMIT_MS = 300_000;
const BYTES_PER_MB = 1024 * 1024;

export interface ControlResults {
  /** From the process's start until the last agent has everything. */
  readonly coldStartSeconds: number;
  /** Until the last of all agents has one pod's change, of each change. */
  readonly changeMs: readonly number[];
  readonly cpuSecondsPer1000Changes: number;
  readonly bytes: number;
  readonly peakBytes: number;
  /** How far behind the last agent is during the roll-out: at its first quarter and at its end. */
  readonly rolloutLagMs: { readonly early: number; readonly late: number };
}

export async function measureControl(size: ClusterSize, progress: (text: string) => void): Promise<ControlResults> {
  const folder = mkdtempSync(join(tmpdir(), "weft-bench-"));
  const kube = await FakeKube.start();
  const children: ChildProcess[] = [];
  try {
    const cluster = new BenchCluster(kube, size);
    cluster.fill();
    progress(`control plane, ${size.services} services, ${size.pods} pods, ${size.nodes} agents: start`);
    const begun = clock();
    const control = await startControl(folder, kube, children);
    const crowd = new CrowdProcess(children, {
      port: control.port,
      roots: rootOf(kube),
      agents: size.nodes,
      resources: size.services + size.pods + size.nodes,
    });
    const coldStartSeconds = ((await crowd.next("loaded")) - begun) / 1000;
    progress(`control plane: ${SINGLE_CHANGES} single changes`);
    const bytes = await settledBytes(control.pid);
    const changeMs = await singleChanges(cluster, crowd, size);
    progress(`control plane: ${ROLLED_PODS} pods replaced`);
    const rollout = await rollOut(cluster, crowd, control.pid, size);
    return { coldStartSeconds, changeMs, bytes, ...rollout };
  } finally {
    for (const child of children) child.kill("SIGTERM");
    await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit")));
    await kube.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

export function controlFigures(results: ControlResults): Partial<Record<FigureName, Figure>> {
  const { coldStartSeconds, changeMs, cpuSecondsPer1000Changes, bytes, rolloutLagMs } = results;
  const values = {
    "control.cold_start_s": coldStartSeconds,
    "control.change_p99_ms": percentile(changeMs, 0.99),
    "control.cpu_s_per_1000_changes": cpuSecondsPer1000Changes,
    "control.mb_at_10000_pods": bytes / BYTES_PER_MB,
    "control.rollout_lag_ms": rolloutLagMs.late,
  } as const satisfies Partial<Record<FigureName, number>>;
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, figure(name as FigureName, value)] as const),
  );
}

async function singleChanges(cluster: BenchCluster, crowd: CrowdProcess, size: ClusterSize): Promise<number[]> {
  const lags: number[] = [];
  for (let i = 0; i < SINGLE_CHANGES; i++) lags.push(await lagOf(cluster, crowd, (i * 97) % size.pods));
  return lags;
}

/** Milliseconds from one pod's change until the last agent has it. */
async function lagOf(cluster: BenchCluster, crowd: CrowdProcess, pod: number): Promise<number> {
  await crowd.await(cluster.nameOf(pod));
  const begun = clock();
  cluster.flip(pod);
  return (await crowd.next("heard")) - begun;
}

/** Replaces pods at a fixed rate, and looks now and then how long another pod's change takes to be everywhere. */
async function rollOut(cluster: BenchCluster, crowd: CrowdProcess, pid: number, size: ClusterSize) {
  const cpuBefore = cpuSecondsOf(pid);
  const begun = clock();
  const total = Math.min(ROLLED_PODS, Math.floor(size.pods / 2));
  let peakBytes = 0;
  const replacing = (async () => {
    for (let i = 0; i < total; i++) {
      await sleep(Math.max(0, begun + (i * 1000) / ROLLED_PER_SECOND - clock()));
      cluster.replace(i);
      peakBytes = Math.max(peakBytes, residentBytes(pid));
    }
  })();
  const lags: number[] = [];
  let over = false;
  void replacing.finally(() => {
    over = true;
  });
  for (let i = 0; !over; i++) lags.push(await lagOf(cluster, crowd, size.pods - 1 - (i % total)));
  await replacing;
  // A queue that has grown would still be there.
  const late = await lagOf(cluster, crowd, size.pods - 1);
  const cpuSeconds = cpuSecondsOf(pid) - cpuBefore;
  const early = percentile(lags.slice(0, Math.ceil(lags.length / 4)), 0.5);
  return {
    peakBytes,
    // Each replaced pod is four changes of the API: it comes, has an address, is ready, and the old one goes.
    cpuSecondsPer1000Changes: (cpuSeconds / (4 * total + lags.length + 1)) * 1000,
    rolloutLagMs: { early, late },
  };
}

class CrowdProcess {
  readonly #child: ChildProcess;

  constructor(children: ChildProcess[], order: CrowdOrder) {
    this.#child = fork(CROWD, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    children.push(this.#child);
    this.#child.send(order);
  }

  async await(marker: string): Promise<void> {
    this.#child.send({ kind: "await", marker });
    await this.next("awaiting");
  }

  /** The time of the next event, which must be of this kind. */
  async next(kind: CrowdEvent["kind"]): Promise<number> {
    const signal = AbortSignal.timeout(LIMIT_MS);
    const [event] = (await once(this.#child, "message", { signal })) as [CrowdEvent];
    if (event.kind !== kind) throw new Error(`${event.kind} instead of ${kind}`);
    return event.at;
  }
}

/** Serving; with what it listens on. */
async function startControl(folder: string, kube: FakeKube, children: ChildProcess[]) {
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      "current-context": "bench",
      contexts: [{ name: "bench", context: { cluster: "bench", user: "bench" } }],
      clusters: [{ name: "bench", cluster: { server: kube.url } }],
      users: [{ name: "bench", user: {} }],
    }),
  );
  const anywhere = "127.0.0.1:0";
  const child = spawn(CONTROL, {
    env: {
      PATH: process.env.PATH,
      KUBECONFIG: kubeconfig,
      SECURE_GRPC_ADDR: anywhere,
      HTTP_ADDR: anywhere,
      MONITORING_ADDR: anywhere,
      HTTPS_ADDR: anywhere,
      ADMIN_ADDR: anywhere,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  let output = "";
  child.stdout.on("data", (bytes: Buffer) => {
    if (output.length < 100_000) output += bytes;
  });
  const port = await eventually("serving", () => /"grpcPort":(\d+)/.exec(output)?.[1], LIMIT_MS);
  return { port: Number(port), pid: child.pid ?? 0 };
}

function rootOf(kube: FakeKube): string {
  const data = kube.read(SECRETS, "istio-system", "istio-ca-secret")?.data ?? {};
  return Buffer.from(data["root-cert.pem"] ?? "", "base64").toString();
}

/** The machine's clock, which the crowd's process reads too. */
function clock(): number {
  return performance.timeOrigin + performance.now();
}

/** What the figures leave out. */
export function controlTable({ changeMs, peakBytes, rolloutLagMs }: ControlResults): string {
  const ms = (value: number) => `${value.toPrecision(3)} ms`;
  const rows = [
    ["one change, median", ms(percentile(changeMs, 0.5))],
    ["during the roll-out, early", ms(rolloutLagMs.early)],
    ["after it", ms(rolloutLagMs.late)],
    ["largest resident memory in it", `${Math.round(peakBytes / BYTES_PER_MB)} MB`],
  ];
  return `${columns(rows)}\n`;
}
