/** Gives ServiceEntries without an address one of their own, so that their hosts can be told apart. */
import { hash } from "node:crypto";
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import { SERVICE_ENTRIES } from "#lib/kube/types.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import type { Collection } from "../model/collection.ts";
import type { ServiceEntryFacts } from "../model/service-entry.ts";

/** 240.240.0.0/16 and the same number in 2001:2::/48, without network and broadcast address. */
const LAST = 65_534;

/** The pair of addresses with number `index` (1 to 65534). */
export function addressPair(index: number): [v4: string, v6: string] {
  return [`240.240.${index >> 8}.${index & 0xff}`, `2001:2::${index.toString(16)}`];
}

/**
 * Addresses for hosts of one entry that have none, beginning at a number that only depends on the names, so that
 * a mesh that is built anew gets the same. Undefined when all are taken.
 */
export function allocate(
  owner: string,
  hosts: readonly string[],
  taken: ReadonlySet<string>,
): { value: string; host: string }[] | undefined {
  const used = new Set(taken);
  const result: { value: string; host: string }[] = [];
  for (const host of hosts) {
    const start = Number.parseInt(hash("sha1", `${owner}/${host}`, "hex").slice(0, 8), 16) % LAST;
    let pair: [string, string] | undefined;
    for (let step = 0; step < LAST && pair === undefined; step++) {
      const candidate = addressPair(((start + step) % LAST) + 1);
      if (!candidate.some((ip) => used.has(ip))) pair = candidate;
    }
    if (pair === undefined) return undefined;
    for (const value of pair) {
      used.add(value);
      result.push({ value, host });
    }
  }
  return result;
}

export interface IpAllocatorOptions {
  readonly client: KubeClient;
  readonly entries: Collection<ServiceEntryFacts>;
  readonly leads: () => boolean;
  readonly log: Logger;
}

export class IpAllocator {
  readonly #options: IpAllocatorOptions;
  readonly #queue: WorkQueue;
  /** Addresses that we gave and may not have heard of yet, with the entry that has them. */
  readonly #given = new Map<string, string>();

  constructor(options: IpAllocatorOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#allocate(key, signal),
      // One at a time: each must see what the one before took.
      concurrency: 1,
      onError: (entry, error) => options.log.warn({ entry, err: error }, "cannot give a ServiceEntry an address"),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#queue.run(signal);
  }

  /** An entry changed. */
  check(key: string): void {
    if (this.#options.leads()) this.#queue.add(key);
  }

  /** This replica leads now. */
  refresh(): void {
    for (const key of this.#options.entries.keys()) this.#queue.add(key);
  }

  async #allocate(key: string, signal: AbortSignal): Promise<void> {
    const { client, entries, leads, log } = this.#options;
    const entry = entries.get(key);
    if (entry === undefined || !leads()) return;
    const missing = entry.hostsToAllocate.filter((host) => !entry.allocated.some(([, owner]) => owner === host));
    if (missing.length === 0) return;
    const taken = new Set<string>();
    for (const other of entries.values()) for (const [ip] of other.allocated) taken.add(ip);
    for (const [ip, owner] of this.#given) {
      if (entries.get(owner) === undefined) this.#given.delete(ip);
      else if (owner !== key) taken.add(ip);
    }
    const added = allocate(key, missing, taken);
    if (added === undefined) {
      log.error({ entry: key }, "no address is left for ServiceEntries");
      return;
    }
    for (const { value } of added) this.#given.set(value, key);
    const kept = entry.allocated
      .filter(([, host]) => entry.hostsToAllocate.includes(host))
      .map(([value, host]) => ({ value, host }));
    const status = { addresses: [...kept, ...added] };
    try {
      await client.patch(SERVICE_ENTRIES, entry, "merge", { status }, { signal, subresource: "status" });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
