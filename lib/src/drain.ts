/** The end of a process: no new work from `start` on, and a deadline for the work that is under way. */
export class Drain {
  readonly #controller = new AbortController();
  readonly #started = Promise.withResolvers<string>();

  /** Idempotent; the first reason stays. */
  start(reason: string): void {
    if (this.#controller.signal.aborted) return;
    this.#controller.abort(new Error(`draining: ${reason}`));
    this.#started.resolve(reason);
  }

  /** Aborted when draining starts. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Resolves with the reason when draining starts. */
  get started(): Promise<string> {
    return this.#started.promise;
  }
}

const DEFAULT_DEADLINE_MS = 5000;

/**
 * How long open connections may last after the start of a drain. An explicit deadline wins; else it follows from the
 * pod's termination grace period: N - 5 s when N is above 10, else N - 1, at least one second.
 */
export function terminationDeadlineMs(deadlineMs: number | undefined, graceSeconds: number | undefined): number {
  if (deadlineMs !== undefined) return deadlineMs;
  if (graceSeconds === undefined) return DEFAULT_DEADLINE_MS;
  return Math.max(1, graceSeconds > 10 ? graceSeconds - 5 : graceSeconds - 1) * 1000;
}
