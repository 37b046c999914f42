/** Which of several rules sees a request first. */
import { byAge, compareText } from "../../model/meta.ts";
import type { HttpRouteFacts, HttpRule, StreamRouteFacts } from "./route-facts.ts";

/** One match of one rule. */
export interface Candidate {
  readonly route: HttpRouteFacts;
  readonly rule: HttpRule;
  readonly matchIndex: number;
}

/**
 * Every match of every rule of routes of one kind, in the order in which they are tried. `before` is an order of earlier:
 * what is left of it only has to be merged with what is new.
 */
export function inPrecedence(routes: readonly HttpRouteFacts[], before: readonly Candidate[] = []): Candidate[] {
  const missing = new Set(routes);
  const known = new Set(before.map(({ route }) => route).filter((route) => missing.delete(route)));
  const added = [...missing].flatMap((route) =>
    route.rules.flatMap((rule) => rule.matches.map((_, matchIndex): Candidate => ({ route, rule, matchIndex }))),
  );
  // Two sorted runs are merged by the sort in about as many steps as the shorter one asks for.
  return [...before.filter(({ route }) => known.has(route)), ...added.sort(compareCandidates)].sort(compareCandidates);
}

/** What asks for more comes first, then the older route, then its name, then its earlier rule. Never 0 for two. */
export function compareCandidates(a: Candidate, b: Candidate): number {
  return (
    compareRanks(rankOf(a), rankOf(b)) ||
    byAge(a.route, b.route) ||
    a.rule.index - b.rule.index ||
    a.matchIndex - b.matchIndex
  );
}

function rankOf({ rule, matchIndex }: Candidate): readonly number[] {
  return rule.matches[matchIndex]?.rank ?? [];
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = (b[index] ?? 0) - value;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** One name of one TLSRoute. */
export interface SniCandidate {
  readonly route: StreamRouteFacts;
  readonly sni: string;
}

/** Whole names first, then the longer wildcard, then the older route. */
export function inSniPrecedence(routes: readonly StreamRouteFacts[]): SniCandidate[] {
  const wildcard = ({ sni }: SniCandidate) => (sni.startsWith("*") ? 1 : 0);
  return routes
    .flatMap((route) => route.sni.map((sni): SniCandidate => ({ route, sni })))
    .sort(
      (a, b) =>
        wildcard(a) - wildcard(b) ||
        b.sni.length - a.sni.length ||
        byAge(a.route, b.route) ||
        compareText(a.sni, b.sni),
    );
}
