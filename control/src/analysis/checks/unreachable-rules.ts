/** Rules of a VirtualService that earlier ones leave nothing to. */
import type { HttpMatchFacts, HttpRuleFacts } from "../../l7/istio/http-rule.ts";
import type { StreamMatchFacts, StreamRuleFacts } from "../../l7/istio/virtual-service.ts";
import type { Say } from "./check.ts";

export function unreachableHttp(rules: readonly HttpRuleFacts[], say: Say): void {
  tellUnreachable(rules, "spec.http", coversHttp, say);
}

export function unreachableStreams(rules: readonly StreamRuleFacts[], part: string, say: Say): void {
  tellUnreachable(rules, part, coversStream, say);
}

interface Rule<M> {
  readonly name?: string;
  /** ORed; none: everything. */
  readonly matches: readonly M[];
}

function tellUnreachable<M>(rules: readonly Rule<M>[], part: string, covers: (a: M, b: M) => boolean, say: Say): void {
  for (const [index, rule] of rules.entries()) {
    const field = `${part}[${index}]`;
    const name = rule.name ? `"${rule.name}"` : `#${index}`;
    const takesAll = rules.slice(0, index).findIndex(({ matches }) => matches.length === 0);
    if (takesAll >= 0) {
      say(
        "IST0130",
        `Rule ${name} is never used: rule #${takesAll} before it has no match and takes everything`,
        field,
      );
      continue;
    }
    const takers = rule.matches.map((match) => takerOf(match, rules.slice(0, index), covers));
    const lost = takers.filter((taker) => taker >= 0);
    if (lost.length === 0) continue;
    if (lost.length === takers.length) {
      say("IST0130", `Rule ${name} is never used: rule #${lost[0]} before it takes all that it matches`, field);
      continue;
    }
    for (const [at, taker] of takers.entries()) {
      if (taker < 0) continue;
      say(
        "IST0131",
        `Match #${at} of rule ${name} is never used: rule #${taker} before it takes all of it`,
        `${field}.match[${at}]`,
      );
    }
  }
}

/** The index of the first earlier rule that one match leaves nothing to; -1: none. */
function takerOf<M>(match: M, earlier: readonly Rule<M>[], covers: (a: M, b: M) => boolean): number {
  return earlier.findIndex(({ matches }) => matches.some((other) => covers(other, match)));
}

/** Whether whatever `b` matches is matched by `a` too, as far as that can be told without looking into expressions. */
function coversHttp(a: HttpMatchFacts, b: HttpMatchFacts): boolean {
  const { path: pathA, name: _a, ...restA } = a;
  const { path: pathB, name: _b, ...restB } = b;
  if (!coversPath(pathA, pathB)) return false;
  return isNothing(restA) || same(restA, restB);
}

function coversPath(a: HttpMatchFacts["path"], b: HttpMatchFacts["path"]): boolean {
  if (a === undefined) return true;
  if (a.kind.case === "prefix" && a.kind.value === "/") return true;
  if (b === undefined) return false;
  if (a.ignoreCase !== b.ignoreCase) return false;
  if (a.kind.case !== "prefix" || b.kind.case === "regex") return same(a, b);
  return typeof b.kind.value === "string" && b.kind.value.startsWith(a.kind.value);
}

function coversStream(a: StreamMatchFacts, b: StreamMatchFacts): boolean {
  const { sni: sniA, ...restA } = a;
  const { sni: sniB, ...restB } = b;
  if (sniA.length > 0 && (sniB.length === 0 || !sniB.every((host) => sniA.includes(host)))) return false;
  return isNothing(restA) || same(restA, restB);
}

/** No condition at all. */
function isNothing(rest: object): boolean {
  return Object.values(rest).every(
    (value) => value === undefined || (typeof value === "object" && Object.keys(value as object).length === 0),
  );
}

/** Facts are plain data; the order of their keys is the reader's. */
function same(a: object, b: object): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
