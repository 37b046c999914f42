/** The known word that somebody most likely meant. */

/** More wrong letters than this are another word. */
const MAX_DISTANCE = 2;

export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = MAX_DISTANCE + 1;
  for (const candidate of known) {
    const away = distance(word, candidate);
    // Of very short words, everything is near.
    if (away < least && away < candidate.length - 1) {
      best = candidate;
      least = away;
    }
  }
  return best;
}

/** Letters to insert, delete or replace (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
