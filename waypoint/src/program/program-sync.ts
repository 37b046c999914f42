/**
 * The way of the L7 program into the engine: all changes of one response in one step, nothing before every type has had
 * its first response (a destination must not come before its clusters), and word of what the engine refused.
 */
import { errorText, type Logger } from "#lib/log.ts";
import type { Rejection, ResourceHandler } from "#lib/xds/ads-client.ts";
import type { L7Engine, L7Name, L7Rejection, L7Resource, L7Type } from "../native.ts";
import type { NamedHosts } from "./named-hosts.ts";
import { L7_TYPES, typeUrlOf } from "./types.ts";

export interface ProgramSyncOptions {
  readonly engine: Pick<L7Engine, "apply">;
  readonly hosts: NamedHosts;
  readonly log: Logger;
  /** Sees what the engine was given, and took. */
  readonly onApplied?: (updated: readonly L7Resource[], removed: readonly L7Name[]) => void;
}

export class ProgramSync {
  readonly #options: ProgramSyncOptions;
  #updated: L7Resource[] = [];
  #removed: L7Name[] = [];
  readonly #waiting: { readonly type: L7Type; readonly settle: (rejections: readonly Rejection[]) => void }[] = [];
  readonly #missing = new Set<L7Type>(L7_TYPES);
  readonly #loaded = Promise.withResolvers<void>();
  /** Names in force by type, and why the newest of a name was refused. */
  readonly #names = new Map<L7Type, Set<string>>(L7_TYPES.map((type) => [type, new Set()]));
  readonly #refused = new Map<string, string>();

  constructor(options: ProgramSyncOptions) {
    this.#options = options;
  }

  /** The first whole program is in force. */
  get loaded(): Promise<void> {
    return this.#loaded.promise;
  }

  put(type: L7Type, name: string, bytes: Uint8Array): void {
    const given = type === "Endpoints" ? this.#options.hosts.put(name, bytes) : bytes;
    this.#updated.push({ type, name, bytes: given });
  }

  remove(type: L7Type, name: string): void {
    if (type === "Endpoints") this.#options.hosts.remove(name);
    this.#removed.push({ type, name });
  }

  /** This type has had its first response: with the last of them the engine is told. */
  markSynced(type: L7Type): void {
    if (this.#missing.delete(type) && this.#missing.size === 0) this.flush();
  }

  /** One step of the engine. */
  flush(): readonly L7Rejection[] {
    const updated = this.#updated;
    const removed = this.#removed;
    this.#updated = [];
    this.#removed = [];
    const rejections = this.#apply(updated, removed);
    for (const { type, settle } of this.#waiting.splice(0)) settle(rejections.filter((one) => one.type === type));
    if (this.#missing.size === 0) this.#loaded.resolve();
    return rejections;
  }

  /** Handlers of the subscription, by type URL. */
  handlers(): ReadonlyMap<string, ResourceHandler> {
    return new Map(
      L7_TYPES.map((type) => [
        typeUrlOf(type),
        {
          apply: (name: string, bytes: Uint8Array) =>
            this.put(type, name, this.#missing.size > 0 ? bytes.slice() : bytes),
          remove: (name: string) => this.remove(type, name),
          commit: () => this.#commit(type),
        },
      ]),
    );
  }

  /** Addresses of named endpoints have changed. */
  readonly rehost = (clusters: readonly string[]): void => {
    for (const name of clusters) {
      const bytes = this.#options.hosts.resolved(name);
      if (bytes !== undefined) this.#updated.push({ type: "Endpoints", name, bytes });
    }
    if (this.#missing.size === 0) this.flush();
  };

  /** For the admin page. */
  status(): Record<string, unknown> {
    return {
      missing: [...this.#missing],
      resources: Object.fromEntries([...this.#names].map(([type, names]) => [type, [...names].sort()])),
      refused: Object.fromEntries(this.#refused),
    };
  }

  #commit(type: L7Type): readonly Rejection[] | Promise<readonly Rejection[]> {
    if (this.#missing.size === 0) return this.flush().filter((one) => one.type === type);
    // The acknowledgement waits for the whole: only then is it known what is bad.
    return new Promise((settle) => this.#waiting.push({ type, settle }));
  }

  #apply(updated: readonly L7Resource[], removed: readonly L7Name[]): readonly L7Rejection[] {
    if (updated.length === 0 && removed.length === 0) return [];
    const started = performance.now();
    let rejections: readonly L7Rejection[];
    try {
      rejections = this.#options.engine.apply(updated, removed);
    } catch (error) {
      const reason = errorText(error);
      rejections = updated.map(({ type, name }) => ({ type, name, reason }));
    }
    const refused = new Set(rejections.map(({ type, name }) => `${type} ${name}`));
    for (const { type, name, reason } of rejections) {
      this.#refused.set(`${type} ${name}`, reason);
      this.#options.log.warn("refused a resource", { type, name, error: reason });
    }
    for (const { type, name } of removed) {
      this.#names.get(type)?.delete(name);
      this.#refused.delete(`${type} ${name}`);
    }
    const taken = updated.filter(({ type, name }) => !refused.has(`${type} ${name}`));
    for (const { type, name } of taken) {
      this.#names.get(type)?.add(name);
      this.#refused.delete(`${type} ${name}`);
    }
    this.#options.onApplied?.(taken, removed);
    this.#options.log.debug("applied", {
      updated: taken.length,
      removed: removed.length,
      refused: rejections.length,
      ms: Math.round((performance.now() - started) * 10) / 10,
    });
    return rejections;
  }
}
