/**
 * Addresses of host names that endpoints are known by (ExternalName-like ServiceEntries), looked up in the agent's own
 * network. Answers come from memory; a look-up in the background tells of changes.
 */
import { Resolver } from "node:dns/promises";

export interface HostCacheOptions {
  /** Told when the answer for a host has arrived or changed. */
  readonly onChange: (hostname: string) => void;
  readonly resolve?: (hostname: string) => Promise<{ ips: string[]; ttlSeconds: number }>;
  readonly now?: () => number;
}

const MAX_HOSTS = 4096;
const MIN_TTL_MS = 5000;
const MAX_TTL_MS = 300_000;
const FAILED_TTL_MS = 10_000;

interface Entry {
  ips: readonly string[] | undefined;
  expiresAt: number;
  pending: boolean;
}

export class HostCache {
  readonly #options: HostCacheOptions;
  readonly #resolve: (hostname: string) => Promise<{ ips: string[]; ttlSeconds: number }>;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();

  constructor(options: HostCacheOptions) {
    this.#options = options;
    this.#resolve = options.resolve ?? resolveHost(new Resolver({ timeout: 2000, tries: 2 }));
    this.#now = options.now ?? Date.now;
  }

  /** Undefined while the first look-up runs; an old answer serves while a new one is fetched. */
  readonly lookUp = (hostname: string): readonly string[] | undefined => {
    let entry = this.#entries.get(hostname);
    if (entry === undefined) {
      for (const oldest of this.#entries.keys()) {
        if (this.#entries.size < MAX_HOSTS) break;
        this.#entries.delete(oldest);
      }
      entry = { ips: undefined, expiresAt: 0, pending: false };
      this.#entries.set(hostname, entry);
    }
    if (!entry.pending && entry.expiresAt <= this.#now()) void this.#refresh(hostname, entry);
    return entry.ips;
  };

  /** To be called now and then: what is in use follows the name server, the rest is forgotten. */
  refresh(inUse: (hostname: string) => boolean): void {
    for (const hostname of this.#entries.keys()) {
      if (inUse(hostname)) this.lookUp(hostname);
      else this.#entries.delete(hostname);
    }
  }

  async #refresh(hostname: string, entry: Entry): Promise<void> {
    entry.pending = true;
    let ips: readonly string[];
    let ttlMs = FAILED_TTL_MS;
    try {
      const answer = await this.#resolve(hostname);
      ips = answer.ips.sort();
      ttlMs = Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, answer.ttlSeconds * 1000));
    } catch {
      // The last good answer is better than none.
      ips = entry.ips ?? [];
    }
    entry.pending = false;
    entry.expiresAt = this.#now() + ttlMs;
    const same = entry.ips?.join() === ips.join() && entry.ips !== undefined;
    entry.ips = ips;
    if (!same && this.#entries.get(hostname) === entry) this.#options.onChange(hostname);
  }
}

function resolveHost(resolver: Resolver): (hostname: string) => Promise<{ ips: string[]; ttlSeconds: number }> {
  return async (hostname) => {
    const [v4, v6] = await Promise.allSettled([
      resolver.resolve4(hostname, { ttl: true }),
      resolver.resolve6(hostname, { ttl: true }),
    ]);
    const records = [v4, v6].flatMap((result) => (result.status === "fulfilled" ? result.value : []));
    if (records.length === 0 && v4.status === "rejected") throw v4.reason;
    return {
      ips: records.map(({ address }) => address),
      ttlSeconds: records.reduce((least, { ttl }) => Math.min(least, ttl), 300),
    };
  };
}
