/** Keeps the key sets of all issuers that somebody asks for: fetched, renewed, and held on to while a server is away. */
import type { BlockList } from "node:net";
import type { Logger } from "pino";
import { WorkQueue } from "../../kube/work-queue.ts";
import { boundedFetch, type FetchLimits } from "./bounded-fetch.ts";
import { type JwksSource, parseJwks, sourceKey } from "./jwks.ts";

export interface JwksTiming {
  /** After a success. */
  readonly refreshMs: number;
  /** After a failure. */
  readonly retryMs: number;
  /** How long keys are good that could not be renewed. */
  readonly keepMs: number;
}

/** Istio's. */
export const JWKS_TIMING: JwksTiming = { refreshMs: 20 * 60_000, retryMs: 60_000, keepMs: 7 * 24 * 3_600_000 };

export interface JwksKeeperOptions {
  readonly blocked: BlockList;
  readonly log: Logger;
  /** What `keysOf` gives for this source has changed. */
  readonly onChange: (key: string) => void;
  readonly timing?: JwksTiming;
  readonly ca?: readonly string[];
}

/** Key sets are some KB; a larger one would go to every waypoint. */
const MAX_BYTES = 256 * 1024;
const MAX_REDIRECTS = 3;
const CONCURRENCY = 8;

interface Entry {
  source: JwksSource;
  owners: Set<string>;
  document: string | undefined;
  fetchedAt: number;
  failure: string;
  timer: NodeJS.Timeout | undefined;
}

export class JwksKeeper {
  readonly #options: JwksKeeperOptions;
  readonly #timing: JwksTiming;
  readonly #entries = new Map<string, Entry>();
  readonly #keysOfOwner = new Map<string, ReadonlySet<string>>();
  readonly #queue: WorkQueue;

  constructor(options: JwksKeeperOptions) {
    this.#options = options;
    this.#timing = options.timing ?? JWKS_TIMING;
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#fetch(key, signal),
      concurrency: CONCURRENCY,
      onError: (source, error) => options.log.error({ source, err: error }, "cannot keep a key set"),
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#queue.run(signal);
    for (const { timer } of this.#entries.values()) clearTimeout(timer);
  }

  /** The document for proxies; undefined: none yet, or none any more. */
  keysOf(source: JwksSource): string | undefined {
    return this.#entries.get(sourceKey(source))?.document;
  }

  /** Why there is none, or the last renewal failed; empty when all is well. */
  failureOf(source: JwksSource): string {
    return this.#entries.get(sourceKey(source))?.failure ?? "";
  }

  /** These are all that `owner` wants; what nobody wants any more is forgotten. */
  want(owner: string, sources: readonly JwksSource[]): void {
    const before = this.#keysOfOwner.get(owner) ?? new Set<string>();
    const after = new Set(sources.map(sourceKey));
    if (after.size === 0) this.#keysOfOwner.delete(owner);
    else this.#keysOfOwner.set(owner, after);
    for (const key of before) if (!after.has(key)) this.#release(key, owner);
    for (const source of sources) this.#hold(source, owner);
  }

  #hold(source: JwksSource, owner: string): void {
    const key = sourceKey(source);
    const known = this.#entries.get(key);
    if (known !== undefined) {
      known.owners.add(owner);
      known.source = source;
      return;
    }
    this.#entries.set(key, {
      source,
      owners: new Set([owner]),
      document: undefined,
      fetchedAt: 0,
      failure: "not fetched yet",
      timer: undefined,
    });
    this.#queue.add(key);
  }

  #release(key: string, owner: string): void {
    const entry = this.#entries.get(key);
    entry?.owners.delete(owner);
    if (entry === undefined || entry.owners.size > 0) return;
    clearTimeout(entry.timer);
    this.#entries.delete(key);
  }

  async #fetch(key: string, signal: AbortSignal): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    const before = { document: entry.document, failure: entry.failure };
    try {
      entry.document = await this.#get(entry.source, signal);
      entry.fetchedAt = performance.now();
      entry.failure = "";
    } catch (error) {
      if (signal.aborted) return;
      entry.failure = error instanceof Error ? error.message : String(error);
      if (entry.failure !== before.failure) {
        this.#options.log.warn({ source: key, reason: entry.failure }, "cannot fetch the keys of a token issuer");
      }
      if (performance.now() - entry.fetchedAt > this.#timing.keepMs) entry.document = undefined;
    }
    // Nobody may want it any more by now.
    if (this.#entries.get(key) !== entry || signal.aborted) return;
    const wait = entry.failure === "" ? this.#timing.refreshMs : this.#timing.retryMs;
    entry.timer = setTimeout(() => this.#queue.add(key), wait).unref();
    if (entry.document !== before.document || entry.failure !== before.failure) this.#options.onChange(key);
  }

  async #get(source: JwksSource, signal: AbortSignal): Promise<string> {
    const { blocked, ca } = this.#options;
    const limits: FetchLimits = {
      timeoutMs: source.timeoutMs,
      maxBytes: MAX_BYTES,
      maxRedirects: MAX_REDIRECTS,
      blocked,
      ...(ca === undefined ? {} : { ca }),
    };
    const uri = "uri" in source ? source.uri : await discovered(source.issuer, limits, signal);
    const keys = parseJwks(await boundedFetch(uri, limits, signal));
    if ("problem" in keys) throw new Error(`the key set ${keys.problem}`);
    return keys.document;
  }
}

const DISCOVERY_PATH = "/.well-known/openid-configuration";

async function discovered(issuer: string, limits: FetchLimits, signal: AbortSignal): Promise<string> {
  const text = await boundedFetch(issuer.replace(/\/+$/, "") + DISCOVERY_PATH, limits, signal);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("the issuer's configuration is not JSON");
  }
  const uri = typeof value === "object" && value !== null && "jwks_uri" in value ? value.jwks_uri : undefined;
  if (typeof uri !== "string") throw new Error("the issuer's configuration has no jwks_uri");
  if (issuer.startsWith("https:") && !uri.startsWith("https:"))
    throw new Error("the issuer sends for its keys without TLS");
  return uri;
}
