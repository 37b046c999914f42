/** One client's connection: whether it is still alive, and when it has been open long enough. */
import { constants, type ServerHttp2Session } from "node:http2";

export interface ConnectionLimits {
  /** Clients come back to another replica now and then, so that load spreads after one was added. */
  readonly maxAgeMs: number;
  /** What is under way at that age may end by itself. */
  readonly graceMs: number;
  /** Between two questions whether the client is still there. */
  readonly keepaliveMs: number;
  /** For its answer. */
  readonly keepaliveTimeoutMs: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = {
  maxAgeMs: 30 * 60_000,
  graceMs: 10_000,
  keepaliveMs: 30_000,
  keepaliveTimeoutMs: 10_000,
};

/** Connections that came at once do not leave at once. */
const MAX_AGE_SPREAD = 0.1;

export class ServedConnection {
  readonly #session: ServerHttp2Session;
  readonly #limits: ConnectionLimits;
  readonly #keepalive: NodeJS.Timeout;
  readonly #age: NodeJS.Timeout;
  #unanswered: NodeJS.Timeout | undefined;
  #end: NodeJS.Timeout | undefined;

  constructor(session: ServerHttp2Session, limits: ConnectionLimits) {
    this.#session = session;
    this.#limits = limits;
    this.#keepalive = setInterval(() => this.#ping(), limits.keepaliveMs);
    const spread = 1 + (2 * Math.random() - 1) * MAX_AGE_SPREAD;
    this.#age = setTimeout(() => this.retire(limits.graceMs), limits.maxAgeMs * spread);
    for (const timer of [this.#keepalive, this.#age]) timer.unref();
    session.once("close", () => this.#stop());
  }

  /** Tells the client to go elsewhere with new calls; those that are open have `graceMs` left. */
  retire(graceMs: number): void {
    if (this.#session.destroyed || this.#end !== undefined) return;
    this.#session.close();
    this.#end = setTimeout(() => this.#session.destroy(undefined, constants.NGHTTP2_NO_ERROR), graceMs);
  }

  #ping(): void {
    if (this.#session.destroyed || this.#unanswered !== undefined) return;
    // When we were busy all the time, the answer may be there and not read yet: it is before an immediate runs.
    const late = () => setImmediate(() => this.#unanswered !== undefined && this.#session.destroy());
    this.#unanswered = setTimeout(late, this.#limits.keepaliveTimeoutMs);
    this.#unanswered.unref();
    this.#session.ping(() => {
      clearTimeout(this.#unanswered);
      this.#unanswered = undefined;
    });
  }

  #stop(): void {
    clearInterval(this.#keepalive);
    for (const timer of [this.#age, this.#unanswered, this.#end]) clearTimeout(timer);
  }
}
