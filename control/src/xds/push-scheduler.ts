/** Gathers changes for a moment, so that a burst is one push and a single change still goes out at once. */
export interface PushTiming {
  /** Milliseconds without a further change after which a push begins. */
  readonly quietMs: number;
  /** Milliseconds after the first change at which it begins whatever happens. */
  readonly maxMs: number;
}

export class PushScheduler {
  readonly #timing: PushTiming;
  readonly #push: (sinceChangeMs: number) => void;
  #first = 0;
  #last = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /** `push` is told how long ago the first change came, in milliseconds. */
  constructor(timing: PushTiming, push: (sinceChangeMs: number) => void) {
    this.#timing = timing;
    this.#push = push;
  }

  /** Something changed. Called for each change, so it does next to nothing. */
  changed(): void {
    this.#last = performance.now();
    if (this.#timer !== undefined || this.#stopped) return;
    this.#first = this.#last;
    this.#timer = setTimeout(() => this.#due(), this.#timing.quietMs);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #due(): void {
    const now = performance.now();
    const at = Math.min(this.#last + this.#timing.quietMs, this.#first + this.#timing.maxMs);
    if (at > now + 1) {
      this.#timer = setTimeout(() => this.#due(), at - now);
      return;
    }
    this.#timer = undefined;
    this.#push(now - this.#first);
  }
}
