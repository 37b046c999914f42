/** Whether counts are what weights would give, up to chance. */

/** 0.999 quantile of the chi-square distribution by degrees of freedom: one honest test in a thousand is above it. */
const CRITICAL: Readonly<Record<number, number>> = { 1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52 };

/** Undefined when the counts agree with the weights; else the figures, for people. */
export function disagreement(
  counts: ReadonlyMap<string, number>,
  weights: Readonly<Record<string, number>>,
): string | undefined {
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const whole = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  let statistic = 0;
  for (const [name, weight] of Object.entries(weights)) {
    const wanted = (total * weight) / whole;
    statistic += ((counts.get(name) ?? 0) - wanted) ** 2 / wanted;
  }
  const critical = CRITICAL[Object.keys(weights).length - 1];
  if (critical === undefined) throw new Error("no critical value for so many classes");
  const isStranger = [...counts.keys()].some((name) => weights[name] === undefined);
  if (statistic <= critical && !isStranger) return undefined;
  return `${JSON.stringify([...counts])} against ${JSON.stringify(weights)}: chi-square ${statistic.toFixed(1)} > ${critical}`;
}

export function countBy<T>(all: readonly T[], key: (one: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const one of all) counts.set(key(one), (counts.get(key(one)) ?? 0) + 1);
  return counts;
}
