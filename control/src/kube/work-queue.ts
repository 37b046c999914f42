import { Backoff, pause } from "#lib/backoff.ts";

export interface WorkQueueOptions {
  /** Does what is due for `key`; a rejection means: again, later. */
  readonly work: (key: string, signal: AbortSignal) => Promise<void>;
  readonly concurrency: number;
  readonly onError: (key: string, error: unknown) => void;
  /** Milliseconds: first and longest wait before trying a key again. */
  readonly backoffMs?: readonly [number, number];
}

const BACKOFF_MS = [500, 60_000] as const;

/** Keys to be worked off, each once however often it was added meanwhile, a few at a time. */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #waiting = new Set<string>();
  readonly #busy = new Set<string>();
  readonly #backoffs = new Map<string, Backoff>();
  readonly #running = new Set<Promise<void>>();
  #signal: AbortSignal | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  add(key: string): void {
    this.#waiting.add(key);
    this.#start();
  }

  /** Works until the signal aborts, then resolves when the last piece is done. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    this.#start();
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.allSettled(this.#running);
  }

  #start(): void {
    const signal = this.#signal;
    if (signal === undefined || signal.aborted) return;
    for (const key of this.#waiting) {
      if (this.#busy.size >= this.#options.concurrency) return;
      // Not twice at a time: it stays in line until the first is done.
      if (this.#busy.has(key)) continue;
      this.#waiting.delete(key);
      this.#busy.add(key);
      const running = this.#work(key, signal).finally(() => {
        this.#busy.delete(key);
        this.#running.delete(running);
        this.#start();
      });
      this.#running.add(running);
    }
  }

  async #work(key: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.work(key, signal);
      this.#backoffs.delete(key);
    } catch (error) {
      if (signal.aborted) return;
      this.#options.onError(key, error);
      const backoff = this.#backoffs.get(key) ?? new Backoff(...(this.#options.backoffMs ?? BACKOFF_MS));
      this.#backoffs.set(key, backoff);
      // Not awaited: other keys go on.
      void pause(backoff.next(), signal).then(() => this.add(key));
    }
  }
}
