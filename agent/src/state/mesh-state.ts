/**
 * What the control plane has told us, and who wants to know of changes.
 *
 * Mutated in one place, synchronously, in batches. A batch ends with one call to the listeners, which get the set of
 * keys whose answer may have changed:
 * `ip:<network>/<ip>` (look-up by address), `cidr` (any service with a CIDR), `h:<namespace>/<hostname>` (a service,
 * its endpoints, or a workload of that host name), `local:<namespace>/<name>` (a workload of this node).
 */
import { networkAddressKey } from "#lib/address.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import { Interner } from "./interner.ts";
import { hostKey, type Service, type Workload } from "./model.ts";
import { PolicyStore, type StoredPolicy } from "./policy-store.ts";
import { ServiceStore } from "./service-store.ts";
import { WorkloadStore } from "./workload-store.ts";

export interface MeshChange {
  readonly keys: ReadonlySet<string>;
  readonly policies: ReadonlySet<string>;
}

export type MeshListener = (change: MeshChange) => void;

/** The read side, which route compilation and DNS see. */
export interface MeshView {
  readonly workloads: WorkloadStore;
  readonly services: ServiceStore;
}

export const CIDR_KEY = "cidr";
/** Everything that waited for `synced`. */
export const SYNCED_KEY = "synced";

export class MeshState implements MeshView {
  readonly workloads: WorkloadStore;
  readonly services = new ServiceStore();
  readonly policies = new PolicyStore();
  readonly interner = new Interner();
  readonly #listeners: MeshListener[] = [];
  #keys = new Set<string>();
  #changedPolicies = new Set<string>();
  readonly #unsynced = new Set<string>([ADDRESS_TYPE, AUTHORIZATION_TYPE]);

  constructor(own: { readonly nodeName: string; readonly clusterId: string }) {
    this.workloads = new WorkloadStore(
      (workload) => workload.node === own.nodeName && workload.clusterId === own.clusterId,
    );
  }

  /**
   * False until the control plane has told us everything once. Before that a destination that we do not know is no
   * destination outside the mesh, and a policy that we do not see may exist: nothing may be decided.
   */
  get synced(): boolean {
    return this.#unsynced.size === 0;
  }

  /** A type's first response is applied; takes effect with the next `commit`. */
  markSynced(typeUrl: string): void {
    if (!this.#unsynced.delete(typeUrl) || this.#unsynced.size > 0) return;
    this.#keys.add(SYNCED_KEY);
  }

  onChange(listener: MeshListener): void {
    this.#listeners.push(listener);
  }

  setWorkload(workload: Workload): void {
    const previous = this.workloads.upsert(workload);
    if (previous !== undefined) this.#touchWorkload(previous);
    this.#touchWorkload(workload);
  }

  setService(service: Service): void {
    const previous = this.services.upsert(service);
    if (previous !== undefined) this.#touchService(previous);
    this.#touchService(service);
  }

  /** A removed resource name is a workload's uid, or else `namespace/hostname` of a service. */
  removeAddress(name: string): void {
    const workload = this.workloads.remove(name);
    if (workload !== undefined) {
      this.#touchWorkload(workload);
      return;
    }
    const slash = name.indexOf("/");
    if (slash < 0 || name.indexOf("/", slash + 1) >= 0) return;
    const service = this.services.remove(name);
    if (service !== undefined) this.#touchService(service);
  }

  setPolicy(policy: StoredPolicy): void {
    this.policies.upsert(policy);
    this.#changedPolicies.add(policy.key);
  }

  removePolicy(key: string): void {
    if (this.policies.remove(key)) this.#changedPolicies.add(key);
  }

  /** Ends a batch. */
  commit(): void {
    if (this.#keys.size === 0 && this.#changedPolicies.size === 0) return;
    const change: MeshChange = { keys: this.#keys, policies: this.#changedPolicies };
    this.#keys = new Set();
    this.#changedPolicies = new Set();
    for (const listener of this.#listeners) listener(change);
  }

  #touchWorkload(workload: Workload): void {
    for (const ip of workload.ips) this.#keys.add(`ip:${networkAddressKey(workload.network, ip)}`);
    for (const { service } of workload.services) this.#keys.add(`h:${service}`);
    if (workload.hostname !== "") this.#keys.add(`h:${hostKey(workload.namespace, workload.hostname)}`);
    this.#keys.add(`local:${workload.namespace}/${workload.name}`);
  }

  #touchService(service: Service): void {
    this.#keys.add(`h:${service.key}`);
    for (const vip of service.vips) {
      this.#keys.add(vip.length === undefined ? `ip:${networkAddressKey(vip.network, vip.ip)}` : CIDR_KEY);
    }
  }
}
