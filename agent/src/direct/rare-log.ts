/** Warnings that come in crowds: one line a minute for each kind, which says how many more there were. */
import type { Logger } from "#lib/log.ts";

const REPEAT_MS = 60_000;
const MAX_KINDS = 32;

export class RareLog {
  readonly #log: Logger;
  readonly #now: () => number;
  /** Those of a kind that were not said yet, and when one was last. */
  readonly #kinds = new Map<string, { saidAt: number; unsaid: number }>();

  constructor(log: Logger, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  warn(message: string, error: string): void {
    const kind = `${message} ${withoutSubject(error)}`;
    const now = this.#now();
    const known = this.#kinds.get(kind);
    if (known !== undefined && now - known.saidAt < REPEAT_MS) {
      known.unsaid++;
      return;
    }
    this.#log.warn(message, { error, more_like_it: known?.unsaid ?? 0 });
    if (known === undefined && this.#kinds.size >= MAX_KINDS) this.#kinds.clear();
    this.#kinds.set(kind, { saidAt: now, unsaid: 0 });
  }
}

/** Cookies, addresses, ports: what an error is about, not what it is. */
function withoutSubject(text: string): string {
  return text.replaceAll(/\[?[\da-f.:]*\d[\da-f.:]*\]?/gi, "#");
}
