/** All workloads of the mesh, found by uid, address, host name and membership. */
import { addressKeys, hostKey, type Workload } from "./model.ts";

/** Removed workloads that connections may still refer to by key. */
const MAX_REMEMBERED = 8192;

export class WorkloadStore {
  readonly #byUid = new Map<string, Workload>();
  /** One workload, or several when an address is shared. */
  readonly #byAddress = new Map<string, Workload | Workload[]>();
  readonly #byHost = new Map<string, Set<Workload>>();
  readonly #byService = new Map<string, Set<Workload>>();
  readonly #byKey = new Map<number, Workload>();
  /** Those of one node, by `namespace/name`. */
  readonly #local = new Map<string, Workload>();
  readonly #removed: number[] = [];
  readonly #isLocal: (workload: Workload) => boolean;
  #lastKey = 0;

  /** `isLocal` says whether a workload runs on this agent's node. */
  constructor(isLocal: (workload: Workload) => boolean = () => false) {
    this.#isLocal = isLocal;
  }

  get size(): number {
    return this.#byUid.size;
  }

  values(): IterableIterator<Workload> {
    return this.#byUid.values();
  }

  get(uid: string): Workload | undefined {
    return this.#byUid.get(uid);
  }

  /** By `RouteEndpoint.key`; also a workload that was removed not long ago. */
  byKey(key: number): Workload | undefined {
    return this.#byKey.get(key);
  }

  /** By `network/ip`. Of several, a pod comes first, then one that speaks HBONE. */
  byAddress(key: string): Workload | undefined {
    const found = this.#byAddress.get(key);
    return Array.isArray(found) ? found.reduce((best, next) => (rank(next) > rank(best) ? next : best)) : found;
  }

  /** By `namespace/hostname` of the workload itself. */
  byHost(key: string): Workload | undefined {
    return first(this.#byHost.get(key));
  }

  /** The workload of a pod on this node. */
  local(namespace: string, name: string): Workload | undefined {
    return this.#local.get(`${namespace}/${name}`);
  }

  /** Workloads that name the service (`namespace/hostname`), whether or not it is known. */
  members(service: string): ReadonlySet<Workload> {
    return this.#byService.get(service) ?? NONE;
  }

  /** Takes the record over, giving it its key; returns the one that it replaces. */
  upsert(workload: Workload): Workload | undefined {
    const previous = this.#byUid.get(workload.uid);
    workload.key = previous?.key ?? ++this.#lastKey;
    if (previous !== undefined) this.#unlink(previous);
    this.#byUid.set(workload.uid, workload);
    this.#byKey.set(workload.key, workload);
    for (const key of addressKeys(workload)) this.#linkAddress(key, workload);
    if (workload.hostname !== "") link(this.#byHost, hostKey(workload.namespace, workload.hostname), workload);
    for (const { service } of workload.services) link(this.#byService, service, workload);
    if (this.#isLocal(workload)) this.#local.set(`${workload.namespace}/${workload.name}`, workload);
    return previous;
  }

  remove(uid: string): Workload | undefined {
    const workload = this.#byUid.get(uid);
    if (workload === undefined) return undefined;
    this.#unlink(workload);
    this.#byUid.delete(uid);
    this.#removed.push(workload.key);
    if (this.#removed.length > MAX_REMEMBERED) {
      for (const key of this.#removed.splice(0, MAX_REMEMBERED / 2)) this.#byKey.delete(key);
    }
    return workload;
  }

  #unlink(workload: Workload): void {
    for (const key of addressKeys(workload)) this.#unlinkAddress(key, workload);
    if (workload.hostname !== "") unlink(this.#byHost, hostKey(workload.namespace, workload.hostname), workload);
    for (const { service } of workload.services) unlink(this.#byService, service, workload);
    const localKey = `${workload.namespace}/${workload.name}`;
    if (this.#local.get(localKey) === workload) this.#local.delete(localKey);
  }

  #linkAddress(key: string, workload: Workload): void {
    const found = this.#byAddress.get(key);
    if (found === undefined) this.#byAddress.set(key, workload);
    else if (Array.isArray(found)) found.push(workload);
    else this.#byAddress.set(key, [found, workload]);
  }

  #unlinkAddress(key: string, workload: Workload): void {
    const found = this.#byAddress.get(key);
    if (found === workload) {
      this.#byAddress.delete(key);
    } else if (Array.isArray(found)) {
      const rest = found.filter((other) => other !== workload);
      if (rest.length === 1 && rest[0] !== undefined) this.#byAddress.set(key, rest[0]);
      else this.#byAddress.set(key, rest);
    }
  }
}

const NONE: ReadonlySet<Workload> = new Set();

function rank(workload: Workload): number {
  return (workload.uid.includes("//Pod/") ? 2 : 0) + (workload.protocol === "HBONE" ? 1 : 0);
}

function first<T>(set: ReadonlySet<T> | undefined): T | undefined {
  for (const value of set ?? []) return value;
  return undefined;
}

function link(index: Map<string, Set<Workload>>, key: string, workload: Workload): void {
  const set = index.get(key);
  if (set === undefined) index.set(key, new Set([workload]));
  else set.add(workload);
}

function unlink(index: Map<string, Set<Workload>>, key: string, workload: Workload): void {
  const set = index.get(key);
  if (set?.delete(workload) && set.size === 0) index.delete(key);
}
