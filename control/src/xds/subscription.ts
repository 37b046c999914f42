/** What one stream wants of one type, and what of it is still to be sent. */
import type { Resource, ResourceTable, TableChange } from "../model/resource-table.ts";
import { encodeResource } from "../model/resource-table.ts";
import type { AddressIndex } from "./address-index.ts";
import { bodies, EMPTY_BODY, type ListedBody, sharedBody } from "./responses.ts";

/** Share of a table beyond which a client that lacks so much is sent all of it. */
const WHOLE_SHARE = 0.5;

/** What a subscription still has to send. */
export interface Subscription {
  /** True when nothing is left to send: a change may then go out as it is shared by all. */
  readonly idle: boolean;
  /** The same for additions and changes alone. */
  readonly hasChanges: boolean;
  /** Notes a change that was not sent. */
  add(change: { readonly changed: Iterable<string>; readonly removed: Iterable<string> }): void;
  /** The next part with changed resources, when there is one. */
  takeChanged(maxBytes: number): ListedBody | undefined;
  /** Everything that is gone, when there is something. */
  takeRemoved(): ListedBody | undefined;
}

/** Every resource of the type. */
export class WildcardSubscription implements Subscription {
  readonly #table: ResourceTable;
  /** The first answer goes out even when there is nothing in it. */
  #answered = false;
  /** Names to be sent; values are read when their turn comes, so they are never out of date. */
  readonly #changed = new Set<string>();
  readonly #removed = new Set<string>();
  /** The client has nothing: what it lacks need not be listed. */
  readonly #beginsEmpty: boolean;
  readonly #lacksMost: boolean;

  /** `retained` maps names to versions that the client has from an earlier stream. */
  constructor(table: ResourceTable, retained: Readonly<Record<string, string>> = {}) {
    this.#table = table;
    const known = Object.keys(retained);
    this.#beginsEmpty = known.length === 0;
    if (!this.#beginsEmpty) {
      for (const { name, version } of table.values()) {
        // An empty version says nothing of the content.
        if (version === "" || retained[name] !== version) this.#changed.add(name);
      }
      for (const name of known) if (table.get(name) === undefined) this.#removed.add(name);
    }
    this.#lacksMost = this.#beginsEmpty || this.#changed.size > table.size * WHOLE_SHARE;
  }

  /** Most of the table is to be sent: what all such clients share costs less than an answer of its own. */
  get wantsWhole(): boolean {
    return !this.#answered && this.#lacksMost;
  }

  get idle(): boolean {
    return !this.hasChanges && this.#removed.size === 0;
  }

  get hasChanges(): boolean {
    return !this.#answered || this.#changed.size > 0;
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

  /** The whole table goes out as it is now: what changed before is in it. */
  tookWhole(): void {
    this.#answered = true;
    this.#changed.clear();
  }

  takeChanged(maxBytes: number): ListedBody | undefined {
    if (!this.hasChanges) return undefined;
    const first = !this.#answered;
    this.#answered = true;
    if (first && this.#beginsEmpty) for (const name of this.#table.names()) this.#changed.add(name);
    const resources = takeResources(this.#changed, this.#table, first ? Number.POSITIVE_INFINITY : maxBytes);
    const [body] = bodies(resources, [], Number.POSITIVE_INFINITY);
    return body ?? (first ? EMPTY_BODY : undefined);
  }

  takeRemoved(): ListedBody | undefined {
    const [body] = bodies([], this.#removed, Number.POSITIVE_INFINITY);
    this.#removed.clear();
    return body;
  }
}

/** Those of `names` that are there, up to `maxBytes` (one may be larger); what was looked at is taken out of the set. */
function* takeResources(names: Set<string>, table: ResourceTable, maxBytes: number): Generator<Resource> {
  let size = 0;
  for (const name of names) {
    const resource = table.get(name);
    if (resource !== undefined && size > 0 && size + resource.encoded.length > maxBytes) return;
    names.delete(name);
    if (resource === undefined) continue;
    size += resource.encoded.length;
    yield resource;
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
  readonly #retained: Readonly<Record<string, string>>;

  constructor(table: ResourceTable, index: AddressIndex, node: string, retained: Readonly<Record<string, string>>) {
    this.#table = table;
    this.#index = index;
    this.#node = node;
    this.#retained = retained;
    for (const name of index.onNode(node)) this.#changed.add(name);
    this.subscribe(Object.keys(retained));
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

  takeChanged(maxBytes: number): ListedBody | undefined {
    if (!this.hasChanges) return undefined;
    const first = !this.#answered;
    this.#answered = true;
    const [body] = bodies(this.#next(maxBytes), [], Number.POSITIVE_INFINITY);
    return body ?? (first && this.#removed.size === 0 ? EMPTY_BODY : undefined);
  }

  takeRemoved(): ListedBody | undefined {
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
      if (!this.#sent.has(name) && this.#retained[name] === resource.version) {
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
): { changed: ListedBody[]; removed: ListedBody[] } {
  const resources = [...change.changed].map((name) => table.get(name)).filter((resource) => resource !== undefined);
  const shared = (each: Iterable<ListedBody>) => [...each].map(sharedBody);
  return {
    changed: shared(bodies(resources, [], maxBytes)),
    removed: shared(bodies([], change.removed, maxBytes)),
  };
}
