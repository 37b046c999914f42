/** Two pairs of pods over the same two nodes: one pair outside the mesh, one in it. */
import { eventually } from "#lib/eventually.ts";
import type { Stage, StagePod } from "../../demo/src/stage.ts";
import { PORTS, type RunInClient } from "./loads.ts";
import type { Side } from "./rounds.ts";

export interface Pair extends Side {
  readonly client: RunInClient;
  readonly serverIp: string;
  readonly clientPod: StagePod;
}

const READY_MS = 60_000;

/** `peer`: path of the load peer. Returns when both pairs are ready, and the second is enrolled. */
export async function deployPairs(stage: Stage, peer: string): Promise<{ plain: Pair; mesh: Pair }> {
  const [first, second] = stage.nodes;
  if (first === undefined || second === undefined) throw new Error("two nodes are needed");
  const namespaces = [
    { name: "bench-plain", labels: "" },
    { name: "bench-mesh", labels: "  labels: {istio.io/dataplane-mode: ambient}\n" },
  ];
  const documents = namespaces.flatMap(({ name, labels }) => [
    `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ${name}\n${labels}`,
    podManifest(name, "client", first.name, ["sleep", "infinity"]),
    podManifest(name, "server", second.name, ["sh", "-c", serverCommand(peer)]),
  ]);
  await stage.apply(documents.join("---\n"));
  const plain = await eventually(
    "the pods outside the mesh are ready",
    () => pairOf(stage, "bench-plain", peer, false),
    READY_MS,
  );
  const mesh = await eventually(
    "the pods in the mesh are enrolled",
    () => pairOf(stage, "bench-mesh", peer, true),
    READY_MS,
  );
  return { plain, mesh };
}

function serverCommand(peer: string): string {
  return `iperf3 -s -p ${PORTS.iperf} >/dev/null & exec ${peer} serve ${PORTS.http} ${PORTS.echo}`;
}

function podManifest(namespace: string, name: string, node: string, command: readonly string[]): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${namespace}, labels: {app: ${name}}}
spec:
  nodeName: ${node}
  terminationGracePeriodSeconds: 0
  containers:
    - name: ${name}
      image: host
      command: ${JSON.stringify(command)}
`;
}

async function pairOf(stage: Stage, namespace: string, peer: string, enrolled: boolean): Promise<Pair | undefined> {
  const pods = await stage.pods(namespace);
  const [clientPod, serverPod] = ["client", "server"].map((name) => pods.find((pod) => pod.name === name));
  if (clientPod === undefined || serverPod === undefined) return undefined;
  if (pods.some((pod) => !pod.ready || pod.enrolled !== enrolled)) return undefined;
  const client: RunInClient = async (argv, timeoutMs) => {
    const [program = "", ...rest] = argv;
    const result = await stage.exec(clientPod, [program === "weft-bench-peer" ? peer : program, ...rest], timeoutMs);
    if (result.code === 0) return result.stdout;
    throw new Error(`${argv.join(" ")}: exit code ${result.code}: ${result.stderr || result.stdout}`);
  };
  return { client, serverIp: serverPod.ip, clientPod };
}
