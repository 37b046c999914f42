/** Who a caller is, by the service account token that it sends with each call. */
import { hash } from "node:crypto";
import type { TokenReview } from "#lib/kube/client.ts";
import { Budgets } from "./budgets.ts";
import { LimitError } from "./caller-limits.ts";

/** A service account, and the pod to which its token is bound. */
export interface CallerIdentity {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly pod?: { readonly name: string; readonly uid: string };
}

/** The caller is not who it should be. `message` is for our log; callers are told nothing. */
export class AuthenticationError extends Error {
  override readonly name = "AuthenticationError";
}

export interface TokenAuthenticatorOptions {
  /** Asks the Kubernetes API. */
  readonly review: (token: string, audiences: readonly string[]) => Promise<TokenReview>;
  /** A token must be meant for one of these. */
  readonly audiences: readonly string[];
  readonly clusterId: string;
  readonly now?: () => number;
}

interface Known {
  readonly identity: Promise<CallerIdentity>;
  readonly until: number;
}

/** A revoked token stays good this long at most; a node sends its own with every call. */
const CACHE_MS = 30_000;
/** So that a caller with a bad token cannot make us ask the API at every call. */
const REFUSAL_CACHE_MS = 5_000;
/** One entry is about 300 bytes; a mesh has one token per node and waypoint, plus the old ones that are rotated out. */
const MAX_CACHED = 20_000;
const MAX_TOKEN_BYTES = 16 * 1024;
/** Refused tokens of one address, after which its unknown tokens are refused unseen for a while. */
const REFUSALS = { burst: 30, perSecond: 1, maxKeys: 10_000 };
/** Questions to the API that wait for its answer: every node of a large cluster at once after a restart. */
const MAX_REVIEWS = 10_000;

export class TokenAuthenticator {
  readonly #options: TokenAuthenticatorOptions;
  readonly #now: () => number;
  /** By hash, so that a heap dump holds no tokens. */
  readonly #known = new Map<string, Known>();
  readonly #refusals: Budgets;
  #reviews = 0;

  constructor(options: TokenAuthenticatorOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#refusals = new Budgets({ ...REFUSALS, now: this.#now });
  }

  /**
   * `header` is the `authorization` header, `clusterId` the `clusterid` header, `address` the caller's. Rejects with
   * AuthenticationError, or with LimitError when that address has had too many tokens refused: one that was found good
   * before passes all the same.
   */
  async authenticate(
    header: string | undefined,
    clusterId: string | undefined,
    address: string,
  ): Promise<CallerIdentity> {
    const token = /^Bearer ([\x21-\x7e]+)$/i.exec(header ?? "")?.[1];
    if (token === undefined || token.length > MAX_TOKEN_BYTES) throw new AuthenticationError("no bearer token");
    if (clusterId && clusterId !== this.#options.clusterId) {
      throw new AuthenticationError(`caller of cluster "${clusterId}", this is "${this.#options.clusterId}"`);
    }
    const key = hash("sha256", token, "base64");
    const known = this.#known.get(key);
    if (known !== undefined && known.until > this.#now()) return known.identity;
    if (this.#refusals.exhausted(address)) throw new LimitError("too many tokens of this address were refused");
    if (this.#reviews >= MAX_REVIEWS) throw new LimitError("too many tokens wait for the API's answer");
    this.#reviews++;
    const identity = this.#review(token).finally(() => {
      this.#reviews--;
    });
    this.#remember(key, { identity, until: this.#now() + CACHE_MS });
    try {
      return await identity;
    } catch (error) {
      if (error instanceof AuthenticationError) {
        this.#refusals.take(address);
        this.#remember(key, { identity, until: this.#now() + REFUSAL_CACHE_MS });
      } else {
        // The API did not answer: that says nothing of the token.
        this.#known.delete(key);
      }
      throw error;
    }
  }

  async #review(token: string): Promise<CallerIdentity> {
    const { audiences, review } = this.#options;
    const answer = await review(token, audiences);
    if (!answer.authenticated) throw new AuthenticationError("token is not authenticated");
    // An API server that knows no audiences answers with none: such a token could be anybody's.
    if (!answer.audiences.some((audience) => audiences.includes(audience))) {
      throw new AuthenticationError(`token is not meant for ${audiences.join(", ")}`);
    }
    const [system, kind, namespace, serviceAccount, ...rest] = answer.username.split(":");
    if (system !== "system" || kind !== "serviceaccount" || !namespace || !serviceAccount || rest.length > 0) {
      throw new AuthenticationError(`"${answer.username}" is no service account`);
    }
    const name = answer.extra["authentication.kubernetes.io/pod-name"]?.[0];
    const uid = answer.extra["authentication.kubernetes.io/pod-uid"]?.[0];
    return { namespace, serviceAccount, ...(name && uid ? { pod: { name, uid } } : {}) };
  }

  #remember(key: string, known: Known): void {
    this.#known.delete(key);
    this.#known.set(key, known);
    if (this.#known.size <= MAX_CACHED) return;
    const [oldest] = this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
  }
}
