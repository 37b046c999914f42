/** Waiting for a condition instead of for a time: what tests, the demo and the bench do. */

const FIRST_PAUSE_MS = 5;
/** Probes that run a program in a pod cost something. */
const LONGEST_PAUSE_MS = 200;

/**
 * Asks `probe` until it gives something other than undefined or false, and returns that; a probe that throws is asked
 * again. Rejects with `what`, and what the last probe threw, after `withinMs`.
 */
export async function eventually<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  withinMs = 5_000,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    let cause: unknown;
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) {
      const why = cause === undefined ? "" : `: ${cause instanceof Error ? cause.message : String(cause)}`;
      throw new Error(`not within ${withinMs / 1000} s: ${what}${why}`, { cause });
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
