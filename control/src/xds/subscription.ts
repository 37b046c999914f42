/** What one stream wants of one type, and what of it is still to be sent. */
import type { Resource, ResourceTable, TableChange } from "../model/resource-table.ts";
import { encodeResource } from "../model/resource-table.ts";
import type { AddressIndex } from "./address-index.ts";
import { type Body, bodies, EMPTY_BODY } from "./responses.ts";
import type { WholeTable } from "./whole-table.ts";

/** What a subscription still has to send. */
export interface Subscription {
  /** True when nothing is left to send: a change may then go out as it is shared by all. */
  readonly idle: boolean;
  /** The same for additions and changes alone. */
  readonly hasChanges: boolean;
  /** Notes a change that was not sent. */
  add(change: { readonly changed: Iterable<string>; readonly removed: Iterable<string> }): void;
  /** The next part with changed resources, when there is one. */
  takeChanged(maxBytes: number): Body | undefined;
  /** Everything that is gone, when there is something. */
  takeRemoved(): Body | undefined;
}

/** Every resource of the type. */
export class WildcardSubscription implements Subscription {
  readonly #table: ResourceTable;
  /** The first answer goes out even when there is nothing in it. */
  #answered = false;
  /** Names to be sent; values are read when their turn comes, so they are never out of date. */
  #queue: Iterator<string> | undefined;
  readonly #retained: ReadonlyMap<string, string>;
  readonly #changed = new Set<string>();
  readonly #removed = new Set<string>();
  #peeked: Resource | undefined;
  readonly #whole: WholeTable | undefined;
  /** What is left to be sent of the whole table as it was when the first part went out; changes since then are noted. */
  #parts: readonly Body[] = [];

  /**
   * `retained` maps names to versions that the client has from an earlier stream. `whole` is for those that have none:
   * the same bytes for all of them.
   */
  constructor(table: ResourceTable, retained: ReadonlyMap<string, string>, whole?: WholeTable) {
    this.#table = table;
    this.#retained = retained;
    this.#whole = retained.size === 0 ? whole : undefined;
    if (this.#whole === undefined) this.#queue = [...table.names()].values();
    for (const name of retained.keys()) if (table.get(name) === undefined) this.#removed.add(name);
  }

  /** The client has not been sent everything once yet. */
  get loading(): boolean {
    return !this.#answered || this.#queue !== undefined || this.#peeked !== undefined || this.#parts.length > 0;
  }

  get idle(): boolean {
    return !this.hasChanges && this.#removed.size === 0;
  }

  get hasChanges(): boolean {
    return this.loading || this.#changed.size > 0;
  }

  add({ changed, removed }: { readonly changed: Iterable<string>; readonly removed: Iterable<string> }): void {
    for (const name of changed) {
      this.#removed.delete(name);
      this.#changed.add(name);
    }
    for (const name of removed) {
      this.#changed.delete(name);
      this.#removed.add(name);
    }
  }

  takeChanged(maxBytes: number): Body | undefined {
    if (!this.hasChanges) return undefined;
    const first = !this.#answered;
    this.#answered = true;
    const part = this.#takePart(first);
    if (part !== undefined) return part;
    const [body] = bodies(this.#next(maxBytes), [], Number.POSITIVE_INFINITY);
    return body ?? (first ? EMPTY_BODY : undefined);
  }

  takeRemoved(): Body | undefined {
    const [body] = bodies([], this.#removed, Number.POSITIVE_INFINITY);
    this.#removed.clear();
    return body;
  }

  #takePart(first: boolean): Body | undefined {
    if (first && this.#whole !== undefined) {
      // What changed before is in it.
      this.#changed.clear();
      this.#removed.clear();
      this.#parts = this.#whole.bodies();
    }
    const [part, ...rest] = this.#parts;
    this.#parts = rest;
    return part;
  }

  *#next(maxBytes: number): Generator<Resource> {
    let size = 0;
    for (;;) {
      const resource = this.#peeked ?? this.#read();
      this.#peeked = undefined;
      if (resource === undefined) return;
      if (size > 0 && size + resource.encoded.length > maxBytes) {
        this.#peeked = resource;
        return;
      }
      size += resource.encoded.length;
      yield resource;
    }
  }

  #read(): Resource | undefined {
    for (let next = this.#queue?.next(); next !== undefined && next.done !== true; next = this.#queue?.next()) {
      const resource = this.#table.get(next.value);
      if (resource === undefined) continue;
      // An empty version says nothing of the content.
      if (resource.version !== "" && this.#retained.get(resource.name) === resource.version) continue;
      this.#changed.delete(resource.name);
      return resource;
    }
    this.#queue = undefined;
    for (const name of this.#changed) {
      this.#changed.delete(name);
      const resource = this.#table.get(name);
      if (resource !== undefined) return resource;
    }
    return undefined;
  }
}

/** Resources that the client named, and the workloads on its node. */
export class OnDemandSubscription implements Subscription {
  readonly #table: ResourceTable;
  readonly #index: AddressIndex;
  readonly #node: string;
  #answered = false;
  readonly #keys = new Set<string>();
  /** Names that the client knows, with the aliases under which they were sent too. */
  readonly #sent = new Map<string, readonly string[]>();
  readonly #changed = new Set<string>();
  readonly #removed = new Set<string>();
  readonly #retained: ReadonlyMap<string, string>;

  constructor(table: ResourceTable, index: AddressIndex, node: string, retained: ReadonlyMap<string, string>) {
    this.#table = table;
    this.#index = index;
    this.#node = node;
    this.#retained = retained;
    for (const name of index.onNode(node)) this.#changed.add(name);
    this.subscribe(retained.keys());
  }

  get idle(): boolean {
    return !this.hasChanges && this.#removed.size === 0;
  }

  get hasChanges(): boolean {
    return !this.#answered || this.#changed.size > 0;
  }

  subscribe(keys: Iterable<string>): void {
    for (const key of keys) {
      this.#keys.add(key);
      const names = this.#index.find(key);
      for (const name of names) this.#changed.add(name);
      // The client waits for an answer that has this very key.
      if (names.length === 0) this.#removed.add(key);
    }
  }

  unsubscribe(keys: Iterable<string>): void {
    for (const key of keys) this.#keys.delete(key);
  }

  add({ changed, removed }: { readonly changed: Iterable<string>; readonly removed: Iterable<string> }): void {
    for (const name of changed) if (this.#wants(name)) this.#changed.add(name);
    for (const name of removed) {
      this.#changed.delete(name);
      const aliases = this.#sent.get(name);
      if (aliases === undefined) continue;
      this.#sent.delete(name);
      for (const gone of [name, ...aliases]) this.#removed.add(gone);
    }
  }

  takeChanged(maxBytes: number): Body | undefined {
    if (!this.hasChanges) return undefined;
    const first = !this.#answered;
    this.#answered = true;
    const [body] = bodies(this.#next(maxBytes), [], Number.POSITIVE_INFINITY);
    return body ?? (first && this.#removed.size === 0 ? EMPTY_BODY : undefined);
  }

  takeRemoved(): Body | undefined {
    const [body] = bodies([], this.#removed, Number.POSITIVE_INFINITY);
    this.#removed.clear();
    return body;
  }

  #wants(name: string): boolean {
    if (this.#keys.has(name) || this.#sent.has(name)) return true;
    const { aliases, services, node } = this.#index.traits(name);
    return (
      (node !== "" && node === this.#node) ||
      aliases.some((alias) => this.#keys.has(alias)) ||
      services.some((service) => this.#keys.has(service))
    );
  }

  *#next(maxBytes: number): Generator<Resource> {
    let size = 0;
    for (const name of this.#changed) {
      if (size > 0 && size >= maxBytes) return;
      this.#changed.delete(name);
      const resource = this.#table.get(name);
      if (resource === undefined) continue;
      if (!this.#sent.has(name) && this.#retained.get(name) === resource.version) {
        this.#sent.set(name, []);
        continue;
      }
      const { aliases } = this.#index.traits(name);
      const asked = aliases.filter((alias) => this.#keys.has(alias));
      this.#sent.set(name, asked);
      // Clients wait for the key that they asked by, and look at names only, so the resource goes under both.
      for (const each of [name, ...asked]) {
        const { typeUrl } = this.#table;
        const encoded = encodeResource(typeUrl, each, resource.version, each === name ? aliases : [], resource.message);
        size += encoded.length;
        yield { ...resource, name: each, encoded };
      }
    }
  }
}

/** Splits a change into bodies that every idle subscriber can be sent as they are. */
export function sharedBodies(
  table: ResourceTable,
  change: TableChange,
  maxBytes: number,
): { changed: Body[]; removed: Body[] } {
  const resources = [...change.changed].map((name) => table.get(name)).filter((resource) => resource !== undefined);
  return { changed: [...bodies(resources, [], maxBytes)], removed: [...bodies([], change.removed, maxBytes)] };
}
