const PAUSE_MS = 200;

/**
 * Asks `probe` until it gives something other than undefined or false; a probe that throws is asked again. Rejects with
 * `what`, and what the last probe threw, after `withinMs`.
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  withinMs: number,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    let why = "";
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      why = `: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (performance.now() > deadline) throw new Error(`not within ${withinMs / 1000} s: ${what}${why}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
