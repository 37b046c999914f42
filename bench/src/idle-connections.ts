/** What an idle captured connection costs the agents at either end. */
import { eventually } from "#lib/eventually.ts";
import { sumOf } from "../../demo/src/metrics-text.ts";
import type { Stage, StageNode } from "../../demo/src/stage.ts";
import type { BenchPods } from "./bench-pods.ts";
import { PORTS } from "./loads.ts";
import { settledBytes } from "./memory.ts";

const CONNECTIONS = 4_000;
const HOLD_SECONDS = 25;
const OPEN_MS = 30_000;
const SETTLE_MS = 10_000;

/** Resident bytes per connection, of the agent that needs more. */
export async function bytesPerIdleConnection(stage: Stage, mesh: BenchPods, peer: string): Promise<number> {
  const pids = await Promise.all(stage.nodes.map((node) => node.agentPid()));
  const before = await Promise.all(pids.map((pid) => settledBytes(pid, SETTLE_MS)));
  const openBefore = await openConnections(stage.nodes);
  const argv = [peer, "hold-idle", mesh.far.serverIp, String(PORTS.echo), String(CONNECTIONS), String(HOLD_SECONDS)];
  const holding = mesh.client(argv, (HOLD_SECONDS + 60) * 1000);
  // A failure shows when `holding` is awaited; until then it must not count as unhandled.
  holding.catch(() => undefined);
  const allOpen = async (): Promise<boolean> => (await openConnections(stage.nodes)) >= openBefore + 2 * CONNECTIONS;
  await eventually(`${CONNECTIONS} connections are open at both ends`, allOpen, OPEN_MS);
  const during = await Promise.all(pids.map((pid) => settledBytes(pid, SETTLE_MS)));
  await holding;
  return Math.max(...during.map((bytes, i) => bytes - (before[i] ?? 0))) / CONNECTIONS;
}

async function openConnections(nodes: readonly StageNode[]): Promise<number> {
  const samples = (await Promise.all(nodes.map((node) => node.metrics()))).flat();
  return sumOf(samples, "istio_tcp_sockets_open", {});
}
