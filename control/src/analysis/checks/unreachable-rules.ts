/** Rules of a VirtualService that earlier ones leave nothing to. */
import type { HttpMatchFacts, HttpRuleFacts } from "../../l7/istio/http-rule.ts";
import type { StreamMatchFacts, StreamRuleFacts } from "../../l7/istio/virtual-service.ts";
import type { Say } from "./check.ts";

/** Every match is compared with every earlier one: what is behind so many is not looked at. */
const MAX_MATCHES = 2_000;

export function unreachableHttp(rules: readonly HttpRuleFacts[], say: Say): void {
  tellUnreachable(
    rules.map(({ name, matches }) => ({ name, matches: matches.map(httpShape) })),
    "spec.http",
    say,
  );
}

export function unreachableStreams(rules: readonly StreamRuleFacts[], part: string, say: Say): void {
  tellUnreachable(
    rules.map(({ matches }) => ({ name: "", matches: matches.map(streamShape) })),
    part,
    say,
  );
}

interface Rule {
  readonly name: string;
  /** ORed; none: everything. */
  readonly matches: readonly Shape[];
}

/** A match as far as it is compared: expressions are not looked into. */
interface Shape {
  /** Undefined: any path. */
  readonly path: HttpMatchFacts["path"];
  readonly pathText: string;
  /** Empty: any. */
  readonly sni: readonly string[];
  /** Everything else as a text; empty: no other condition. */
  readonly rest: string;
}

function httpShape({ path, name: _, ...rest }: HttpMatchFacts): Shape {
  return { path, pathText: JSON.stringify(path ?? null), sni: [], rest: textOf(rest) };
}

function streamShape({ sni, ...rest }: StreamMatchFacts): Shape {
  return { path: undefined, pathText: "null", sni, rest: textOf(rest) };
}

/** Facts are plain data in the reader's order. */
function textOf(rest: object): string {
  const isSaid = (value: unknown) => typeof value !== "object" || Object.keys(value as object).length > 0;
  const said = Object.entries(rest).filter(([, value]) => value !== undefined && isSaid(value));
  return said.length === 0 ? "" : JSON.stringify(said);
}

function tellUnreachable(rules: readonly Rule[], part: string, say: Say): void {
  const earlier: { readonly rule: number; readonly shape: Shape }[] = [];
  let takesAll = -1;
  for (const [index, rule] of rules.entries()) {
    if (earlier.length + rule.matches.length > MAX_MATCHES) return;
    const field = `${part}[${index}]`;
    const name = rule.name === "" ? `#${index}` : `"${rule.name}"`;
    const takers = rule.matches.map((shape) => earlier.find((each) => covers(each.shape, shape))?.rule ?? -1);
    const lost = takers.filter((taker) => taker >= 0);
    if (takesAll >= 0) {
      say(
        "IST0130",
        `Rule ${name} is never used: rule #${takesAll} before it has no match and takes everything`,
        field,
      );
    } else if (lost.length > 0 && lost.length === takers.length) {
      say("IST0130", `Rule ${name} is never used: rule #${lost[0]} before it takes all that it matches`, field);
    } else {
      for (const [at, taker] of takers.entries()) {
        if (taker < 0) continue;
        const text = `Match #${at} of rule ${name} is never used: rule #${taker} before it takes all of it`;
        say("IST0131", text, `${field}.match[${at}]`);
      }
    }
    if (rule.matches.length === 0 && takesAll < 0) takesAll = index;
    for (const shape of rule.matches) earlier.push({ rule: index, shape });
  }
}

/** Whether whatever `b` matches is matched by `a` too. */
function covers(a: Shape, b: Shape): boolean {
  if (a.rest !== "" && a.rest !== b.rest) return false;
  if (a.sni.length > 0 && (b.sni.length === 0 || !b.sni.every((host) => a.sni.includes(host)))) return false;
  return coversPath(a, b);
}

function coversPath({ path: a, pathText }: Shape, { path: b, pathText: other }: Shape): boolean {
  if (a === undefined || (a.kind.case === "prefix" && a.kind.value === "/")) return true;
  if (b === undefined || a.ignoreCase !== b.ignoreCase) return false;
  if (a.kind.case !== "prefix" || b.kind.case === "regex") return pathText === other;
  return typeof b.kind.value === "string" && b.kind.value.startsWith(a.kind.value);
}
