/** Objects that no controller or kubelet is there to make. */
import { PODS, type Pod } from "#lib/kube/types.ts";
import type { ApiServer } from "./api-server.ts";

export interface PodFixture {
  readonly namespace: string;
  readonly name: string;
  readonly account: string;
  readonly node: string;
  readonly ip: string;
}

/** Applies objects as their owner would. */
export async function apply(api: ApiServer, ...objects: readonly object[]): Promise<void> {
  const list = { apiVersion: "v1", kind: "List", items: objects };
  const { code, stderr } = await api.kubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(list));
  if (code !== 0) throw new Error(stderr);
}

export function namespace(name: string, mode?: "ambient"): object {
  const labels = mode === undefined ? {} : { "istio.io/dataplane-mode": mode };
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

export function account(namespace: string, name: string): object {
  return { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name } };
}

/** A running pod with an address, as its kubelet would report it; its namespace and account are there. */
export async function runPod(api: ApiServer, fixture: PodFixture): Promise<Pod> {
  const { namespace, name, node, ip } = fixture;
  await apply(api, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace, name, labels: { app: name } },
    spec: {
      nodeName: node,
      serviceAccountName: fixture.account,
      automountServiceAccountToken: false,
      containers: [{ name: "app", image: "none" }],
    },
  });
  const admin = api.client();
  try {
    const status = {
      phase: "Running",
      podIP: ip,
      podIPs: [{ ip }],
      conditions: [{ type: "Ready", status: "True", lastTransitionTime: new Date().toISOString() }],
    };
    return await admin.patch(PODS, { namespace, name }, "merge", { status }, { subresource: "status" });
  } finally {
    admin.close();
  }
}
