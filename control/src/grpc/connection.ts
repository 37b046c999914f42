/** One client's connection: whether it is still alive, and when it has been open long enough. */
import { constants, type ServerHttp2Session } from "node:http2";

/** Clients come back to another replica now and then, so that load spreads after one was added. */
const MAX_AGE_MS = 30 * 60_000;
/** Connections that came at once do not leave at once. */
const MAX_AGE_SPREAD = 0.1;
/** What is under way at that age may end by itself. */
const MAX_AGE_GRACE_MS = 10_000;
const KEEPALIVE_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;

export class ServedConnection {
  readonly #session: ServerHttp2Session;
  readonly #keepalive: NodeJS.Timeout;
  readonly #age: NodeJS.Timeout;
  #unanswered: NodeJS.Timeout | undefined;
  #end: NodeJS.Timeout | undefined;

  constructor(session: ServerHttp2Session) {
    this.#session = session;
    this.#keepalive = setInterval(() => this.#ping(), KEEPALIVE_MS);
    const spread = 1 + (2 * Math.random() - 1) * MAX_AGE_SPREAD;
    this.#age = setTimeout(() => this.retire(MAX_AGE_GRACE_MS), MAX_AGE_MS * spread);
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
    this.#unanswered = setTimeout(() => this.#session.destroy(), KEEPALIVE_TIMEOUT_MS);
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
