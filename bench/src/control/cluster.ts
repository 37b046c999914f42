/** A cluster that does not exist, as a Kubernetes API that can be listed and watched. */
import { NAMESPACES, NODES, PODS, type Pod, SERVICE_ACCOUNTS, SERVICES } from "#lib/kube/types.ts";
import type { FakeKube } from "../../../test/helpers/fake-kube.ts";

export interface ClusterSize {
  readonly services: number;
  readonly pods: number;
  /** One agent on each. */
  readonly nodes: number;
}

const SERVICES_PER_NAMESPACE = 50;
const ROOT = "istio-system";
const PORT = 8080;
/** What a pod carries that a mesh does not need, so that reading it costs what it costs in a cluster. */
const BALLAST = "x".repeat(2_000);

export class BenchCluster {
  readonly #kube: FakeKube;
  readonly #size: ClusterSize;
  /** Of each pod, how often it was replaced. */
  readonly #lives: number[];
  readonly #unready = new Set<number>();

  constructor(kube: FakeKube, size: ClusterSize) {
    this.#kube = kube;
    this.#size = size;
    this.#lives = new Array<number>(size.pods).fill(0);
  }

  fill(): void {
    const { services, pods, nodes } = this.#size;
    this.#kube.put(NAMESPACES, { metadata: { name: ROOT } });
    for (let node = 0; node < nodes; node++) this.#addNode(node);
    for (let service = 0; service < services; service++) this.#addService(service);
    for (let pod = 0; pod < pods; pod++) this.#kube.put(PODS, this.#pod(pod, true));
  }

  /** What is in every resource that tells of this pod, and in no other. */
  nameOf(pod: number): string {
    return String(this.#pod(pod, true).metadata.name);
  }

  /** One pod is ready no more, or again. */
  flip(pod: number): void {
    this.#unready.has(pod) ? this.#unready.delete(pod) : this.#unready.add(pod);
    this.#kube.put(PODS, this.#pod(pod, !this.#unready.has(pod)));
  }

  /** As a Deployment's roll-out does: the next pod comes, gets its address, is ready; the old one goes. */
  replace(pod: number): void {
    const old = this.#pod(pod, true);
    this.#lives[pod] = (this.#lives[pod] ?? 0) + 1;
    const next = this.#pod(pod, false);
    this.#kube.put(PODS, { ...next, status: { phase: "Pending" } });
    this.#kube.put(PODS, next);
    this.#kube.put(PODS, this.#pod(pod, true));
    this.#kube.remove(PODS, old.metadata.namespace, String(old.metadata.name));
  }

  /** The token of the agent on a node. */
  static token(node: number): string {
    return `agent-token-${node}`;
  }

  #addNode(node: number): void {
    const labels = { "topology.kubernetes.io/region": "region", "topology.kubernetes.io/zone": `zone-${node % 3}` };
    this.#kube.put(NODES, { metadata: { name: `node-${node}`, labels } });
    const name = `weft-agent-${node}`;
    this.#kube.put(PODS, {
      metadata: { namespace: ROOT, name, uid: `uid-${node}` },
      spec: { nodeName: `node-${node}`, serviceAccountName: "weft-agent", hostNetwork: true },
      status: { phase: "Running", podIP: `192.168.${node >> 8}.${node & 255}` },
    });
    this.#kube.tokens.set(BenchCluster.token(node), {
      authenticated: true,
      username: `system:serviceaccount:${ROOT}:weft-agent`,
      audiences: ["istio-ca"],
      extra: {
        "authentication.kubernetes.io/pod-name": [name],
        "authentication.kubernetes.io/pod-uid": [`uid-${node}`],
      },
    });
  }

  #addService(index: number): void {
    const { namespace, name } = namesOf(index);
    if (index % SERVICES_PER_NAMESPACE === 0) this.#kube.put(NAMESPACES, { metadata: { name: namespace } });
    this.#kube.put(SERVICE_ACCOUNTS, { metadata: { namespace, name } });
    this.#kube.put(SERVICES, {
      metadata: { namespace, name },
      spec: { clusterIPs: [ipOf(172, index)], selector: { app: name }, ports: [{ port: 80, targetPort: PORT }] },
    });
  }

  #pod(index: number, ready: boolean): Pod {
    const { namespace, name } = namesOf(index % this.#size.services);
    const life = this.#lives[index] ?? 0;
    return {
      metadata: {
        namespace,
        name: `${name}-6d4cf56db6-${index.toString(36)}-${life}`,
        labels: { app: name, version: "v1" },
        annotations: { "ambient.istio.io/redirection": "enabled", ballast: BALLAST },
      },
      spec: { nodeName: `node-${index % this.#size.nodes}`, serviceAccountName: name, containers: [] },
      status: {
        phase: "Running",
        podIP: ipOf(100 + (life % 8), index),
        conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
      },
    };
  }
}

function namesOf(service: number): { readonly namespace: string; readonly name: string } {
  return { namespace: `team-${Math.floor(service / SERVICES_PER_NAMESPACE)}`, name: `service-${service}` };
}

function ipOf(first: number, index: number): string {
  return [first, (index >> 16) & 255, (index >> 8) & 255, index & 255].join(".");
}
