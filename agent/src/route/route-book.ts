/**
 * The routes that the engine holds. A miss compiles one; a change of the mesh compiles again only those that rest on
 * what changed, and pushes only those that came out different. Bounded: the least recently compiled leave first, and
 * the engine asks again for one that is still needed.
 */
import { hash } from "node:crypto";
import type { Command, PodId, Route, SocketAddress } from "../native.ts";
import { type MeshView, SYNCED_KEY } from "../state/mesh-state.ts";
import type { Workload } from "../state/model.ts";
import { compileRoute, type HostLookup } from "./compile.ts";

export const MAX_ROUTES = 65_536;

interface Entry {
  readonly id: string;
  readonly pod: PodId;
  readonly destination: SocketAddress;
  dependencies: ReadonlySet<string>;
  /** Fingerprint of what the engine has; undefined while it still waits for its first. */
  pushed: string | undefined;
}

export interface RouteBookOptions {
  readonly view: MeshView;
  /** The workload of an enrolled pod, once the control plane has told of it. */
  readonly workloadOf: (pod: PodId) => Workload | undefined;
  /** Key of `MeshChange` under which `workloadOf` changes. */
  readonly keyOf: (pod: PodId) => string;
  readonly lookUpHost: HostLookup;
  readonly maxRoutes?: number;
}

export class RouteBook {
  readonly #options: RouteBookOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #dependents = new Map<string, Set<Entry>>();

  constructor(options: RouteBookOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Whether some route rests on this key. */
  uses(key: string): boolean {
    return this.#dependents.has(key);
  }

  /** Answers a `route-miss`. No command yet when the source or a host name is still unknown. */
  miss(pod: PodId, destination: SocketAddress): Command[] {
    const id = entryId(pod, destination);
    const known = this.#entries.get(id);
    const commands: Command[] = [];
    const entry = known ?? { id, pod, destination, dependencies: new Set(), pushed: undefined };
    // Asked again: whatever we believe, the engine does not have it.
    entry.pushed = undefined;
    this.#entries.delete(id);
    this.#entries.set(id, entry);
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
    for (const entry of this.#entries.values()) if (entry.pod === pod) this.#forget(entry);
  }

  #compile(entry: Entry, commands: Command[]): void {
    const source = this.#options.workloadOf(entry.pod);
    const own = this.#options.keyOf(entry.pod);
    if (source === undefined) {
      this.#link(entry, new Set([own, SYNCED_KEY]));
      // A source that is gone leaves the pushed route in force until the pod itself goes.
      return;
    }
    const { route, dependencies } = compileRoute(
      source,
      entry.destination,
      this.#options.view,
      this.#options.lookUpHost,
    );
    this.#link(entry, new Set([own, ...dependencies]));
    if (route === undefined) return;
    const print = fingerprint(route);
    if (print === entry.pushed) return;
    entry.pushed = print;
    commands.push(setRoute(entry, route));
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
    for (const entry of this.#entries.values()) {
      if (this.#entries.size <= limit) return;
      this.#forget(entry);
      commands.push({ op: "remove-route", pod: entry.pod, destination: entry.destination });
    }
  }

  #forget(entry: Entry): void {
    for (const key of entry.dependencies) this.#unlink(key, entry);
    this.#entries.delete(entry.id);
  }
}

/** A route to a large service is long; what we keep of it must not be. */
function fingerprint(route: Route): string {
  const text = JSON.stringify(route);
  return text.length <= 64 ? text : hash("sha256", text, "base64");
}

function setRoute(entry: Entry, route: Route): Command {
  return { op: "set-route", pod: entry.pod, destination: entry.destination, route };
}

function entryId(pod: PodId, destination: SocketAddress): string {
  return `${pod}|${destination.ip}|${destination.port}`;
}
