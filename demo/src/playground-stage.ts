/** A stage made of a playground of two nodes with the mesh's own manifests applied. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { accessFromKubeconfig, type KubeAccess } from "#lib/kube/access.ts";
import { KubeClient } from "#lib/kube/client.ts";
import { PODS, type Pod } from "#lib/kube/types.ts";
import { playgroundCgroup } from "../../playground/src/down.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { type HostAddress, type Playground, startPlayground } from "../../playground/src/playground.ts";
import { stateDir } from "../../playground/src/state.ts";
import { parseAccessLog } from "./access-log.ts";
import { applyManifest, removeManifest } from "./kube-apply.ts";
import { podLog } from "./kube-log.ts";
import { parseMetrics } from "./metrics-text.ts";
import { type ExecTarget, execIn, spawnIn } from "./pod-exec.ts";
import type { Stage, StageNode, StagePod } from "./stage.ts";
import { tap } from "./wiretap.ts";

const SYSTEM_NAMESPACE = "istio-system";
const REDIRECTION = "ambient.istio.io/redirection";
/** Control plane and agents come up in a few seconds; a loaded machine takes longer. */
const MESH_MS = 90_000;
/** Enough of a log to see why something does not come up. */
const LOG_LINES = 25;
const EXEC_MS = 20_000;
/** The first node's port of the fabric's bridge: with two nodes, every packet between them passes it. */
const PORT_OF_FIRST_NODE = "n1";

/** Starts playground `name` and the mesh in it; resolves when control plane and both agents are ready. */
export async function startStage(name: string): Promise<Stage> {
  const playground = await startPlayground({
    name,
    nodes: 2,
    report: (message) => process.stderr.write(`${message}\n`),
  });
  const access = accessFromKubeconfig(playground.kubeconfig);
  const client = new KubeClient(access);
  const down = async (): Promise<void> => {
    client.close();
    await playground.stop();
  };
  try {
    const { agents } = await deployMesh(playground, MESH_MS);
    const place = async ({ namespace, name: podName }: StagePod): Promise<ExecTarget> => {
      const { items } = await client.list(PODS, { namespace });
      const found = items.find(({ metadata }) => metadata.name === podName);
      return target(playground, found, podName);
    };
    const nodes = [...agents].map(([node, { metrics }]) => stageNode(node, metrics, playground, client));
    return {
      kubeconfig: playground.kubeconfig,
      nodes,
      apply: (manifest) => applyManifest(client, manifest),
      remove: (manifest) => removeManifest(client, manifest),
      pods: async (namespace) => (await client.list(PODS, { namespace })).items.map(stagePod),
      exec: async (pod, argv, timeoutMs = EXEC_MS) => execIn(await place(pod), argv, timeoutMs),
      start: async (pod, argv) => spawnIn(await place(pod), argv),
      systemLog: () => systemLog(access, client),
      listenOnWire: (marker, body) => tap(playground.netns("fabric"), PORT_OF_FIRST_NODE, marker, body),
      down,
    };
  } catch (error) {
    process.stderr.write(`${await systemLog(access, client).catch(String)}\n`);
    await down();
    throw error;
  }
}

/** The last lines of everything that runs in the mesh's own namespace. */
async function systemLog(access: KubeAccess, client: KubeClient): Promise<string> {
  const { items } = await client.list(PODS, { namespace: SYSTEM_NAMESPACE });
  const logs = items.map(async ({ metadata }) => {
    const log = await podLog(access, SYSTEM_NAMESPACE, metadata.name).catch((error: unknown) => String(error));
    return `--- ${metadata.name}\n${log.trimEnd().split("\n").slice(-LOG_LINES).join("\n")}`;
  });
  return (await Promise.all(logs)).join("\n");
}

/** What a playground of this name has left on the machine; empty when it is gone. */
export function leftovers(name: string): string[] {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const folders = [playgroundCgroup(name), stateDir(name)].filter((path) => existsSync(path));
  return [...folders, ...mounts.filter((line) => line.includes(`${stateDir(name)}/`)), ...processesOf(name)];
}

/** Processes in the playground's cgroup. One that has ended and waits for its parent to notice is not there any more. */
function processesOf(name: string): string[] {
  const isPid = (entry: string): boolean => /^\d+$/.test(entry) && Number(entry) !== process.pid;
  return readdirSync("/proc")
    .filter(isPid)
    .filter((pid) => readOrEmpty(`/proc/${pid}/cgroup`).includes(`/weft-${name}/`))
    .filter((pid) => !/^State:\tZ/m.test(readOrEmpty(`/proc/${pid}/status`)))
    .map((pid) => `process ${pid}: ${readOrEmpty(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim()}`);
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It has just ended.
  }
}

function stageNode(name: string, metrics: HostAddress, playground: Playground, client: KubeClient): StageNode {
  const agent = async (): Promise<Pod> => {
    const { items } = await client.list(PODS, { namespace: SYSTEM_NAMESPACE });
    const found = items.find((pod) => pod.metadata.labels?.app === "weft-agent" && pod.spec?.nodeName === name);
    if (found === undefined) throw new Error(`node ${name} has no agent`);
    return found;
  };
  const metricsUrl = `http://${metrics.host}:${metrics.port}/metrics`;
  const access = accessFromKubeconfig(playground.kubeconfig);
  return {
    name,
    metricsUrl,
    agentPid: async () => agentPid(target(playground, await agent(), `the agent of ${name}`).pid),
    accessLog: async () => parseAccessLog(await podLog(access, SYSTEM_NAMESPACE, (await agent()).metadata.name)),
    metrics: async () => parseMetrics(await fetchText(metricsUrl)),
  };
}

/** The container's process is a shell that became the agent, or started it. */
function agentPid(pid: number): number {
  const children = readOrEmpty(`/proc/${pid}/task/${pid}/children`).trim().split(" ")[0];
  return children === undefined || children === "" ? pid : agentPid(Number(children));
}

function stagePod(pod: Pod): StagePod {
  const { metadata, spec, status } = pod;
  const ips = (status?.podIPs ?? []).map(({ ip }) => ip);
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    node: spec?.nodeName ?? "",
    ip: ips.find((ip) => !ip.includes(":")) ?? "",
    ip6: ips.find((ip) => ip.includes(":")),
    labels: metadata.labels ?? {},
    ready: status?.conditions?.some(({ type, status: holds }) => type === "Ready" && holds === "True") === true,
    enrolled: metadata.annotations?.[REDIRECTION] === "enabled",
  };
}

/** The first container of a pod. `name` is for the error. */
function target(playground: Playground, pod: Pod | undefined, name: string): ExecTarget {
  const container = pod?.spec?.containers?.[0]?.name;
  const status = pod?.status as { containerStatuses?: { containerID?: string }[] } | undefined;
  const pid = Number(/^weft:\/\/(\d+)$/.exec(status?.containerStatuses?.[0]?.containerID ?? "")?.[1]);
  const node = pod?.spec?.nodeName;
  if (container === undefined || node === undefined || !(pid > 0)) throw new Error(`${name} does not run`);
  return { cgroup: join(playground.cgroup, node, "kubepods", `pod${pod?.metadata.uid}`, container), pid };
}

function fetchText(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (response) => resolve(text(response))).once("error", reject);
  });
}
