/** The enrolled pods of this node, and which workload of the mesh each of them is. */
import type { PodId } from "../native.ts";
import type { MeshState } from "../state/mesh-state.ts";
import type { Workload } from "../state/model.ts";

export interface LocalPod {
  readonly id: PodId;
  /** Kubernetes pod UID. */
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly addresses: readonly string[];
  readonly identity: string;
  readonly dns: boolean;
}

export class LocalPods {
  readonly #state: MeshState;
  readonly #byId = new Map<PodId, LocalPod>();

  constructor(state: MeshState) {
    this.#state = state;
  }

  add(pod: LocalPod): void {
    this.#byId.set(pod.id, pod);
  }

  delete(id: PodId): void {
    this.#byId.delete(id);
  }

  get(id: PodId): LocalPod | undefined {
    return this.#byId.get(id);
  }

  values(): IterableIterator<LocalPod> {
    return this.#byId.values();
  }

  /**
   * Undefined until the control plane has told of everything once, and of this pod: same name, namespace, account and
   * address. A record of an earlier pod of that name is not this pod's.
   */
  readonly workloadOf = (id: PodId): Workload | undefined => {
    const pod = this.#byId.get(id);
    return pod === undefined || !this.#state.synced ? undefined : this.find(pod);
  };

  find(pod: {
    readonly namespace: string;
    readonly name: string;
    readonly serviceAccount: string;
    readonly addresses: readonly string[];
  }): Workload | undefined {
    const workload = this.#state.workloads.local(pod.namespace, pod.name);
    if (workload === undefined || workload.serviceAccount !== pod.serviceAccount) return undefined;
    return workload.ips.some((ip) => pod.addresses.includes(ip)) ? workload : undefined;
  }

  readonly keyOf = (id: PodId): string => {
    const pod = this.#byId.get(id);
    return pod === undefined ? "" : `local:${pod.namespace}/${pod.name}`;
  };
}
