/** The enrolled pods of this node, and which workload of the mesh each of them is. */
import { isIpv4 } from "#lib/address.ts";
import type { NetnsCookie, PodId } from "../native.ts";
import type { MeshState } from "../state/mesh-state.ts";
import type { Workload } from "../state/model.ts";

export interface LocalPod {
  readonly id: PodId;
  /** Of its network namespace: how the kernel's maps name it. */
  readonly cookie: NetnsCookie;
  /** Kubernetes pod UID. */
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly addresses: readonly string[];
  readonly identity: string;
  readonly dns: boolean;
  /** It has asked for express connections. */
  readonly express: boolean;
}

/** What route compilation asks of this node's pods. */
export interface LocalPodView {
  /** The captured pod that this workload is. */
  captured(workload: Workload): LocalPod | undefined;
  /** Whether a captured pod has this address, known to the mesh or not. */
  owns(ip: string): boolean;
}

export class LocalPods implements LocalPodView {
  readonly #state: MeshState;
  readonly #byId = new Map<PodId, LocalPod>();
  readonly #byName = new Map<string, LocalPod>();
  /** Those that the kernel captures on behalf of this process, by cookie and by address. */
  readonly #captured = new Map<NetnsCookie, LocalPod>();
  readonly #byAddress = new Map<string, LocalPod>();

  constructor(state: MeshState) {
    this.#state = state;
  }

  /** Also takes the place of a pod of the same id. */
  add(pod: LocalPod): void {
    this.#byId.set(pod.id, pod);
    this.#byName.set(nameOf(pod), pod);
    if (this.#captured.get(pod.cookie)?.id === pod.id) this.capture(pod);
  }

  delete(id: PodId): void {
    const pod = this.#byId.get(id);
    if (pod === undefined) return;
    this.letGo(pod);
    this.#byId.delete(id);
    forget(this.#byName, nameOf(pod), pod);
  }

  /** From now on the kernel captures it, and may choose it for connections of others. */
  capture(pod: LocalPod): void {
    this.#captured.set(pod.cookie, pod);
    for (const ip of pod.addresses) this.#byAddress.set(ip, pod);
  }

  /** No longer a choice of the kernel, though still known. */
  letGo(pod: LocalPod): void {
    forget(this.#captured, pod.cookie, pod);
    for (const ip of pod.addresses) forget(this.#byAddress, ip, pod);
  }

  get(id: PodId): LocalPod | undefined {
    return this.#byId.get(id);
  }

  /** A captured pod. */
  byCookie(cookie: NetnsCookie): LocalPod | undefined {
    return this.#captured.get(cookie);
  }

  values(): IterableIterator<LocalPod> {
    return this.#byId.values();
  }

  captured(workload: Workload): LocalPod | undefined {
    const pod = this.#byName.get(nameOf(workload));
    if (pod === undefined || this.#captured.get(pod.cookie) !== pod) return undefined;
    return this.find(pod) === workload ? pod : undefined;
  }

  owns(ip: string): boolean {
    return this.#byAddress.has(ip);
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
    return pod === undefined ? "" : localKey(pod);
  };
}

interface Named {
  readonly namespace: string;
  readonly name: string;
}

function nameOf({ namespace, name }: Named): string {
  return `${namespace}/${name}`;
}

/** Key of `MeshChange` for a workload or pod of this node. */
export function localKey(pod: Named): string {
  return `local:${nameOf(pod)}`;
}

/** Key under which a pod with this address comes to this node or leaves it. */
export function podAddressKey(ip: string): string {
  return `pod:${ip}`;
}

/** Keys of what rests on this pod's being captured. */
export function keysOfPod(pod: LocalPod): readonly string[] {
  return [localKey(pod), ...pod.addresses.map(podAddressKey)];
}

/** The address of a pod that the kernel's connections of a family have: its first. */
export function firstAddress(pod: LocalPod, family: 4 | 6): string | undefined {
  return pod.addresses.find((ip) => isIpv4(ip) === (family === 4));
}

function forget<K>(index: Map<K, LocalPod>, key: K, pod: LocalPod): void {
  if (index.get(key)?.id === pod.id) index.delete(key);
}
