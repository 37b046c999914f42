/** Pairs of pods, each in a namespace of its own: outside the mesh, and in it in every way that is compared. */
import { eventually } from "#lib/eventually.ts";
import type { Stage, StagePod } from "../../demo/src/stage.ts";
import { PORTS, type RunInClient } from "./loads.ts";
import type { Side } from "./rounds.ts";

/** A client on the first node, a server beside it and one on the second node. */
export interface BenchPods {
  readonly clientPod: StagePod;
  readonly nearPod: StagePod;
  /** Runs the loads; `weft-bench-peer` is the load peer, wherever it is. */
  readonly client: RunInClient;
  readonly near: Side;
  readonly far: Side;
}

export interface PodsOptions {
  readonly enrolled: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
}

const READY_MS = 60_000;

/** `peer`: path of the load peer. Returns when the pods are ready, and enrolled if they are to be. */
export async function deployPods(
  stage: Stage,
  namespace: string,
  peer: string,
  { enrolled, annotations = {} }: PodsOptions,
): Promise<BenchPods> {
  const [first, second] = stage.nodes;
  if (first === undefined || second === undefined) throw new Error("two nodes are needed");
  const labels = enrolled ? { "istio.io/dataplane-mode": "ambient" } : {};
  const serve = ["sh", "-c", serverCommand(peer)];
  const documents = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels } },
    pod(namespace, "client", first.name, ["sleep", "infinity"], annotations),
    pod(namespace, "near", first.name, serve, annotations),
    pod(namespace, "far", second.name, serve, annotations),
  ];
  // JSON is YAML.
  await stage.apply(documents.map((document) => JSON.stringify(document)).join("\n---\n"));
  const state = enrolled ? "enrolled" : "ready";
  return eventually(`the pods of ${namespace} are ${state}`, () => podsOf(stage, namespace, peer, enrolled), READY_MS);
}

function serverCommand(peer: string): string {
  return `iperf3 -s -p ${PORTS.iperf} >/dev/null & exec ${peer} serve ${PORTS.http} ${PORTS.echo} ${PORTS.stop}`;
}

function pod(
  namespace: string,
  name: string,
  nodeName: string,
  command: readonly string[],
  annotations: Readonly<Record<string, string>>,
): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: { app: name }, annotations },
    spec: { nodeName, terminationGracePeriodSeconds: 0, containers: [{ name, image: "host", command }] },
  };
}

async function podsOf(stage: Stage, namespace: string, peer: string, enrolled: boolean): Promise<BenchPods | false> {
  const pods = await stage.pods(namespace);
  const [clientPod, nearPod, farPod] = ["client", "near", "far"].map((name) => pods.find((each) => each.name === name));
  if (clientPod === undefined || nearPod === undefined || farPod === undefined) return false;
  if (pods.some((each) => !each.ready || each.enrolled !== enrolled)) return false;
  const client: RunInClient = async (argv, timeoutMs) => {
    const [program = "", ...rest] = argv;
    const result = await stage.exec(clientPod, [program === "weft-bench-peer" ? peer : program, ...rest], timeoutMs);
    if (result.code === 0) return result.stdout;
    throw new Error(`${argv.join(" ")}: exit code ${result.code}: ${result.stderr || result.stdout}`);
  };
  return {
    clientPod,
    nearPod,
    client,
    near: { client, serverIp: nearPod.ip },
    far: { client, serverIp: farPod.ip },
  };
}
