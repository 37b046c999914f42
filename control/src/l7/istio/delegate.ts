/** A delegate's rules under the rule that hands over to it. */
import type { StringMatch } from "#proto/l7_pb.ts";
import type { HttpMatchFacts, HttpRuleFacts, Matches } from "./http-rule.ts";

/** The rules that stand in place of `root`. One that fits none of the root's matches is left out. */
export function delegated(root: HttpRuleFacts, delegate: readonly HttpRuleFacts[]): HttpRuleFacts[] {
  const result: HttpRuleFacts[] = [];
  for (const rule of delegate) {
    const matches = mergeMatches(root.matches, rule.matches);
    if (matches === undefined) continue;
    result.push({
      name: [root.name, rule.name].filter((name) => name !== "").join("-"),
      matches,
      action: rule.action,
      traits: { ...root.traits, ...rule.traits },
    });
  }
  return result;
}

/** Every pair that does not conflict; undefined when all do. */
function mergeMatches(
  root: readonly HttpMatchFacts[],
  delegate: readonly HttpMatchFacts[],
): readonly HttpMatchFacts[] | undefined {
  if (root.length === 0) return delegate;
  if (delegate.length === 0) return root;
  const merged: HttpMatchFacts[] = [];
  for (const inner of delegate) {
    for (const outer of root) if (!conflicts(outer, inner)) merged.push(merge(outer, inner));
  }
  return merged.length === 0 ? undefined : merged;
}

function merge(root: HttpMatchFacts, delegate: HttpMatchFacts): HttpMatchFacts {
  return {
    ...root,
    ...delegate,
    name: [root.name, delegate.name].filter((name) => name !== "").join("-"),
    headers: { ...root.headers, ...delegate.headers },
    withoutHeaders: { ...root.withoutHeaders, ...delegate.withoutHeaders },
    query: { ...root.query, ...delegate.query },
    claims: [...root.claims, ...delegate.claims],
    sourceLabels: { ...root.sourceLabels, ...delegate.sourceLabels },
    gateways: delegate.gateways.length > 0 ? delegate.gateways : root.gateways,
  };
}

export function conflicts(root: HttpMatchFacts, delegate: HttpMatchFacts): boolean {
  if (root.path !== undefined && delegate.path !== undefined) {
    if (root.path.ignoreCase !== delegate.path.ignoreCase) return true;
    if (valuesConflict(root.path.kind, delegate.path.kind)) return true;
  }
  for (const field of ["scheme", "method", "authority"] as const) {
    if (stringsConflict(root[field], delegate[field])) return true;
  }
  for (const field of ["headers", "withoutHeaders", "query"] as const) {
    if (mapsConflict(root[field], delegate[field])) return true;
  }
  if (root.port !== undefined && delegate.port !== undefined && root.port !== delegate.port) return true;
  const { sourceNamespace } = delegate;
  if (root.sourceNamespace !== undefined && sourceNamespace !== undefined && root.sourceNamespace !== sourceNamespace)
    return true;
  for (const [key, value] of Object.entries(delegate.sourceLabels)) {
    if ((root.sourceLabels[key] ?? value) !== value) return true;
  }
  return root.gateways.length > 0 && delegate.gateways.some((gateway) => !root.gateways.includes(gateway));
}

function mapsConflict(root: Matches, delegate: Matches): boolean {
  return Object.keys(delegate).some((key) => stringsConflict(root[key], delegate[key]));
}

function stringsConflict(root: StringMatch | undefined, delegate: StringMatch | undefined): boolean {
  return root !== undefined && delegate !== undefined && valuesConflict(root.kind, delegate.kind);
}

interface Value {
  readonly case: string | undefined;
  readonly value?: unknown;
}

/** The delegate must only narrow what the root lets through; of expressions nobody can tell. */
function valuesConflict(root: Value, delegate: Value): boolean {
  if (typeof root.value !== "string" || typeof delegate.value !== "string") return true;
  if (root.case === "exact") return delegate.case !== "exact" || delegate.value !== root.value;
  if (root.case !== "prefix" || delegate.case === "regex") return true;
  return !delegate.value.startsWith(root.value);
}
