/**
 * Certificates of the identities that a process proves: fetched when their first user comes (an agent: a pod is
 * enrolled), renewed at half life, forgotten with their last user. A valid certificate stays in use while a new one cannot be had.
 */
import { Backoff } from "#lib/backoff.ts";
import { errorText, type Logger } from "#lib/log.ts";
import type { CertificateAuthority } from "./ca-client.ts";
import { renewAtMs, type Svid } from "./svid.ts";

/** Requests under way at the same time. */
const MAX_PARALLEL = 8;
const BACKOFF_MS = [1000, 150_000] as const;
/**
 * Part of what is left of a new certificate that passes before the next is asked for, though half of its life be over: by
 * a clock that is ahead it is at once.
 */
const LEAST_WAIT_PART = 0.05;
/** Clocks jump and machines sleep, so that due dates are looked at no less often than this. */
const MAX_SLEEP_MS = 10_000;

/** A connection waits > a pod was enrolled > a certificate is to be renewed. */
const PRIORITIES = { realtime: 0, warmup: 1, background: 2 } as const;
type Priority = keyof typeof PRIORITIES;

export type IdentityState = "Initializing" | "Available" | "Unavailable";

interface Entry {
  readonly identity: string;
  users: number;
  svid: Svid | undefined;
  priority: Priority;
  /** Unix ms of the next request; Infinity while one is under way. */
  dueAt: number;
  readonly backoff: Backoff;
  error: string | undefined;
}

/**
 * What the engine is told, in PEM texts. `chain`: leaf first, no root. `roots`: the anchors that this identity's peers are
 * checked against.
 */
export type IdentityChange =
  | {
      readonly op: "set-identity";
      readonly identity: string;
      readonly chain: string;
      readonly key: string;
      readonly roots: string;
    }
  | { readonly op: "remove-identity"; readonly identity: string };

export interface IdentityManagerOptions {
  readonly authority: CertificateAuthority;
  readonly push: (changes: readonly IdentityChange[]) => void;
  readonly log: Logger;
  readonly now?: () => number;
}

export interface IdentityStatus {
  readonly identity: string;
  readonly state: IdentityState;
  readonly svid: Svid | undefined;
  readonly error: string | undefined;
}

export class IdentityManager {
  readonly #options: IdentityManagerOptions;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  #running = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: IdentityManagerOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** One more user of this identity. */
  acquire(identity: string): void {
    const known = this.#entries.get(identity);
    if (known !== undefined) {
      known.users++;
      return;
    }
    this.#entries.set(identity, {
      identity,
      users: 1,
      svid: undefined,
      priority: "warmup",
      dueAt: this.#now(),
      backoff: new Backoff(...BACKOFF_MS),
      error: undefined,
    });
    this.#schedule();
  }

  /** One user less; with the last one the key is forgotten. */
  release(identity: string): void {
    const entry = this.#entries.get(identity);
    if (entry === undefined || --entry.users > 0) return;
    this.#entries.delete(identity);
    this.#options.push([{ op: "remove-identity", identity }]);
  }

  /** A connection waits for this identity: it goes first. Its pause after a failure stays. */
  urgent(identity: string): void {
    const entry = this.#entries.get(identity);
    // With a certificate, this word crossed with it: given twice, it would drain the tunnels that it has made.
    if (entry === undefined || entry.svid !== undefined) return;
    entry.priority = "realtime";
    this.#schedule();
  }

  status(): IdentityStatus[] {
    const now = this.#now();
    return [...this.#entries.values()].map(({ identity, svid, error }) => ({
      identity,
      svid,
      error,
      state:
        svid !== undefined && svid.notAfterMs > now
          ? "Available"
          : error === undefined && svid === undefined
            ? "Initializing"
            : "Unavailable",
    }));
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    const now = this.#now();
    const due = [...this.#entries.values()]
      .filter((entry) => entry.dueAt <= now)
      .sort((a, b) => PRIORITIES[a.priority] - PRIORITIES[b.priority] || a.dueAt - b.dueAt);
    for (const entry of due.slice(0, MAX_PARALLEL - this.#running)) void this.#fetch(entry);
    if (this.#running >= MAX_PARALLEL) return;
    let next = now + MAX_SLEEP_MS;
    for (const entry of this.#entries.values()) next = Math.min(next, entry.dueAt);
    this.#timer = setTimeout(() => this.#schedule(), Math.max(1, next - now));
    this.#timer.unref();
  }

  async #fetch(entry: Entry): Promise<void> {
    this.#running++;
    entry.dueAt = Number.POSITIVE_INFINITY;
    try {
      const svid = await this.#options.authority.issue(entry.identity);
      entry.svid = svid;
      if (this.#entries.get(entry.identity) === entry) this.#options.push([setIdentity(svid)]);
      const now = this.#now();
      if (svid.notAfterMs <= now) throw new Error("a new certificate has expired by this machine's clock");
      entry.error = undefined;
      entry.backoff.reset();
      entry.dueAt = Math.max(renewAtMs(svid), now + BACKOFF_MS[0], now + (svid.notAfterMs - now) * LEAST_WAIT_PART);
      this.#options.log.debug("got certificate", { identity: entry.identity });
      if (svid.notBeforeMs > now) {
        const seconds = Math.ceil((svid.notBeforeMs - now) / 1000);
        this.#options.log.warn("clock is behind: a new certificate is not valid yet", { seconds });
      }
    } catch (error) {
      entry.error = errorText(error);
      entry.dueAt = this.#now() + entry.backoff.next();
      this.#options.log.warn("cannot get certificate", { identity: entry.identity, error: entry.error });
    }
    entry.priority = "background";
    this.#running--;
    this.#schedule();
  }
}

function setIdentity({ identity, chain, key, roots }: Svid): IdentityChange {
  return { op: "set-identity", identity, chain, key, roots };
}
