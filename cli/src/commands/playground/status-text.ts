/** What `weft playground status` prints: addresses, nodes, pods. */
import { accessFromKubeconfig } from "#lib/kube/access.ts";
import { KubeClient } from "#lib/kube/client.ts";
import { NODES, type Node, PODS, type Pod } from "#lib/kube/types.ts";
import type { PlaygroundState } from "../../../../playground/src/state.ts";
import { type Column, tableText } from "../../output/table.ts";

export async function playgroundStatus(state: PlaygroundState): Promise<string> {
  const client = new KubeClient(accessFromKubeconfig(state.kubeconfig));
  try {
    const nodes = (await client.list(NODES)).items;
    const pods = (await client.list(PODS)).items;
    const head = [
      `playground ${state.name} (process ${state.pid})`,
      `kubeconfig  ${state.kubeconfig}`,
      ...Object.entries(state.addresses).map(([label, address]) => `${label.padEnd(11)} ${address}`),
    ];
    const nodeColumns: Column<Node>[] = [
      { title: "NODE", of: ({ metadata }) => metadata.name },
      { title: "ADDRESSES", of: addressesOf },
      { title: "PODS", of: ({ metadata }) => pods.filter(({ spec }) => spec?.nodeName === metadata.name).length },
    ];
    return [
      head.map((line) => `${line}\n`).join(""),
      tableText(nodes, nodeColumns, false),
      tableText(pods, POD_COLUMNS, false),
    ].join("\n");
  } finally {
    client.close();
  }
}

const POD_COLUMNS: readonly Column<Pod>[] = [
  { title: "NAMESPACE", of: ({ metadata }) => metadata.namespace },
  { title: "POD", of: ({ metadata }) => metadata.name },
  { title: "PHASE", of: ({ status }) => status?.phase },
  {
    title: "READY",
    of: ({ status }) => (status?.conditions?.find(({ type }) => type === "Ready")?.status === "True" ? "yes" : "no"),
  },
  { title: "NODE", of: ({ spec }) => spec?.nodeName },
  { title: "ADDRESSES", of: ({ status }) => (status?.podIPs ?? []).map(({ ip }) => ip).join(" ") },
];

function addressesOf(node: object): string {
  const { status } = node as { status?: { addresses?: { type: string; address: string }[] } };
  const internal = (status?.addresses ?? []).filter((each) => each.type === "InternalIP");
  return internal.map((each) => each.address).join(" ");
}
