/** What `weft playground status` prints: addresses, nodes, pods. */
import { accessFromKubeconfig } from "#lib/kube/access.ts";
import { KubeClient } from "#lib/kube/client.ts";
import { NODES, PODS } from "#lib/kube/types.ts";
import type { PlaygroundState } from "../../playground/src/state.ts";

export async function playgroundStatus(state: PlaygroundState): Promise<string> {
  const client = new KubeClient(accessFromKubeconfig(state.kubeconfig));
  try {
    const nodes = (await client.list(NODES)).items;
    const pods = (await client.list(PODS)).items;
    const lines = [
      `playground ${state.name} (process ${state.pid})`,
      `kubeconfig  ${state.kubeconfig}`,
      ...Object.entries(state.addresses).map(([label, address]) => `${label.padEnd(11)} ${address}`),
      "",
      ...columns([
        ["NODE", "ADDRESSES", "PODS"],
        ...nodes.map((node) => {
          const count = pods.filter((pod) => pod.spec?.nodeName === node.metadata.name).length;
          return [node.metadata.name, addressesOf(node), String(count)];
        }),
      ]),
      "",
      ...columns([
        ["NAMESPACE", "POD", "PHASE", "READY", "NODE", "ADDRESSES"],
        ...pods.map((pod) => [
          pod.metadata.namespace ?? "",
          pod.metadata.name,
          pod.status?.phase ?? "",
          pod.status?.conditions?.find((each) => each.type === "Ready")?.status === "True" ? "yes" : "no",
          pod.spec?.nodeName ?? "",
          (pod.status?.podIPs ?? []).map((each) => each.ip).join(" "),
        ]),
      ]),
    ];
    return `${lines.join("\n")}\n`;
  } finally {
    client.close();
  }
}

function addressesOf(node: object): string {
  const { status } = node as { status?: { addresses?: { type: string; address: string }[] } };
  const internal = (status?.addresses ?? []).filter((each) => each.type === "InternalIP");
  return internal.map((each) => each.address).join(" ");
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
