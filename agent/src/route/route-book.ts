/**
 * The routes that the engine holds, and what BPF may choose from by itself. A miss compiles one; a change of the mesh
 * compiles again only those that rest on what changed, and pushes only those that came out different. Bounded: the pod
 * with most routes loses its least recently compiled one, so that one that scans addresses cannot take those of others,
 * and the engine asks again for one that is still needed.
 */
import { hash } from "node:crypto";
import { joinHostPort } from "#lib/address.ts";
import type { Command, DirectEndpoint, PodId, Route, SocketAddress } from "../native.ts";
import { type MeshView, SYNCED_KEY } from "../state/mesh-state.ts";
import type { Workload } from "../state/model.ts";
import { compileRoute, type HostLookup, type LocalSource } from "./compile.ts";

export const MAX_ROUTES = 65_536;

interface Entry {
  /** The destination as text. */
  readonly id: string;
  readonly pod: PodId;
  readonly destination: SocketAddress;
  dependencies: ReadonlySet<string>;
  /** Fingerprint of what the engine has; undefined while it still waits for its first. */
  pushed: string | undefined;
  /** Fingerprint of what BPF was told; undefined before the first time, empty: to ask the agent. */
  offered: string | undefined;
}

/** A route that somebody needs. */
export interface RouteRequest {
  readonly pod: PodId;
  readonly destination: SocketAddress;
}

/** Told of what BPF may choose from, when it is another than before; nothing: it asks the agent. */
export type DirectSink = (pod: PodId, destination: SocketAddress, endpoints: readonly DirectEndpoint[]) => void;

export interface RouteBookOptions {
  readonly view: MeshView;
  /** The workload of an enrolled pod, once the control plane has told of it. */
  readonly workloadOf: (pod: PodId) => Workload | undefined;
  /** Key of `MeshChange` under which `workloadOf` changes. */
  readonly keyOf: (pod: PodId) => string;
  readonly lookUpHost: HostLookup;
  /** The pod itself, once it is captured. Absent, as is `onDirect`: everything goes through the engine. */
  readonly localSource?: (pod: PodId) => LocalSource | undefined;
  readonly onDirect?: DirectSink;
  readonly maxRoutes?: number;
}

export class RouteBook {
  readonly #options: RouteBookOptions;
  /** By pod, the least recently compiled first. */
  readonly #entries = new Map<PodId, Map<string, Entry>>();
  readonly #dependents = new Map<string, Set<Entry>>();
  #size = 0;

  constructor(options: RouteBookOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#size;
  }

  /** Whether some route rests on this key. */
  uses(key: string): boolean {
    return this.#dependents.has(key);
  }

  /** Answers a `route-miss`. No command yet when the source or a host name is still unknown. */
  miss(pod: PodId, destination: SocketAddress): Command[] {
    const id = joinHostPort(destination.ip, destination.port);
    const own = this.#entries.get(pod) ?? new Map<string, Entry>();
    this.#entries.set(pod, own);
    const known = own.get(id);
    const commands: Command[] = [];
    const entry = known ?? { id, pod, destination, dependencies: new Set(), pushed: undefined, offered: undefined };
    // Asked again: whatever we believe, the engine does not have it.
    entry.pushed = undefined;
    if (!own.delete(id)) this.#size++;
    own.set(id, entry);
    this.#compile(entry, commands);
    this.#evict(commands);
    return commands;
  }

  /** Routes that these changed keys make different. */
  change(keys: Iterable<string>): Command[] {
    const affected = new Set<Entry>();
    for (const key of keys) for (const entry of this.#dependents.get(key) ?? []) affected.add(entry);
    const commands: Command[] = [];
    for (const entry of affected) this.#compile(entry, commands);
    return commands;
  }

  /** The engine drops a removed pod's routes by itself. */
  forgetPod(pod: PodId): void {
    for (const entry of this.#entries.get(pod)?.values() ?? []) this.#forget(entry);
  }

  #compile(entry: Entry, commands: Command[]): void {
    const source = this.#options.workloadOf(entry.pod);
    const own = this.#options.keyOf(entry.pod);
    if (source === undefined) {
      this.#link(entry, new Set([own, SYNCED_KEY]));
      // A source that is gone leaves the pushed route in force until the pod itself goes. BPF must not go on with it,
      // as nobody could say which verdicts it needs; before the first time it is what an earlier process left.
      if (entry.offered !== undefined) this.#offer(entry, []);
      return;
    }
    const { view, lookUpHost, localSource } = this.#options;
    const local = localSource?.(entry.pod);
    const { route, direct, dependencies } = compileRoute(source, entry.destination, view, lookUpHost, local);
    this.#link(entry, new Set([own, ...dependencies]));
    this.#offer(entry, direct);
    if (route === undefined) return;
    const print = fingerprint(route);
    if (print === entry.pushed) return;
    entry.pushed = print;
    commands.push(setRoute(entry, route));
  }

  #offer(entry: Entry, endpoints: readonly DirectEndpoint[]): void {
    const print = shortened(endpoints.map(endpointText).join(";"));
    if (print === entry.offered) return;
    entry.offered = print;
    this.#options.onDirect?.(entry.pod, entry.destination, endpoints);
  }

  #link(entry: Entry, dependencies: ReadonlySet<string>): void {
    for (const key of entry.dependencies) if (!dependencies.has(key)) this.#unlink(key, entry);
    for (const key of dependencies) {
      const set = this.#dependents.get(key);
      if (set === undefined) this.#dependents.set(key, new Set([entry]));
      else set.add(entry);
    }
    entry.dependencies = dependencies;
  }

  #unlink(key: string, entry: Entry): void {
    const set = this.#dependents.get(key);
    if (set?.delete(entry) && set.size === 0) this.#dependents.delete(key);
  }

  #evict(commands: Command[]): void {
    const limit = this.#options.maxRoutes ?? MAX_ROUTES;
    while (this.#size > limit) {
      let most: ReadonlyMap<string, Entry> = NO_ENTRIES;
      for (const own of this.#entries.values()) if (own.size > most.size) most = own;
      const [oldest] = most.values();
      if (oldest === undefined) return;
      this.#offer(oldest, []);
      this.#forget(oldest);
      commands.push({ op: "remove-route", pod: oldest.pod, destination: oldest.destination });
    }
  }

  #forget(entry: Entry): void {
    for (const key of entry.dependencies) this.#unlink(key, entry);
    const own = this.#entries.get(entry.pod);
    if (own?.delete(entry.id)) this.#size--;
    if (own?.size === 0) this.#entries.delete(entry.pod);
  }
}

const NO_ENTRIES: ReadonlyMap<string, Entry> = new Map();

/** A route to a large service is long; what we keep of it must not be. */
function fingerprint(route: Route): string {
  return shortened(JSON.stringify(route));
}

function endpointText({ key, weight, address, path, pod }: DirectEndpoint): string {
  return `${key},${weight},${address.ip},${address.port},${path},${pod ?? ""}`;
}

function shortened(text: string): string {
  return text.length <= 64 ? text : hash("sha256", text, "base64");
}

function setRoute(entry: Entry, route: Route): Command {
  return { op: "set-route", pod: entry.pod, destination: entry.destination, route };
}
