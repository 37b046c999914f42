/** Values that several of Istio's networking kinds share. A value that makes no sense is noted as a problem of its field. */
import { create } from "@bufbuild/protobuf";
import { parseIp } from "#lib/address.ts";
import { type StringMatch, StringMatchSchema } from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { regexProblem } from "../regex.ts";

const MAX_REGEX_BYTES = 1_024;
const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
  ["us", 1e-3],
  ["µs", 1e-3],
  ["ns", 1e-6],
]);
const DURATION = /^(\d+(\.\d*)?(h|ms|m|s|us|µs|ns))+$/;
const TOKEN = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}$/;
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const HOST = /^(\*|(\*\.)?[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*)$/;
const MAX_HOST_LENGTH = 255;

/** Every namespace, in an `exportTo`. */
export const EVERYWHERE = "*";

/** Milliseconds of a duration as Go writes them; undefined when it is none. */
export function durationMs(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined;
  let total = 0;
  for (const [, number, , unit] of text.matchAll(/(\d+(\.\d*)?)(h|ms|m|s|us|µs|ns)/g)) {
    total += Number(number) * (UNITS_MS.get(unit ?? "") ?? 0);
  }
  return total;
}

/** Whole milliseconds, at least `least`. */
export function readDuration(fields: Fields, name: string, least = 1): number | undefined {
  const text = fields.string(name);
  if (text === undefined) return undefined;
  const value = durationMs(text);
  if (value === undefined) fields.problem(name, `"${text}" is no duration such as 1.5s`);
  else if (value < least) fields.problem(name, `must be at least ${least}ms`);
  else return Math.round(value);
  return undefined;
}

/** `{ value: 0..100 }` in parts per million; absent: undefined. */
export function readPercent(fields: Fields, name: string): number | undefined {
  const percent = fields.object(name);
  if (percent === undefined) return undefined;
  const value = percent.number("value", 0, 100) ?? 0;
  percent.refuseUnknown();
  if (value > 0 && value < 0.0001) percent.problem("value", "must be 0 or at least 0.0001");
  return Math.round(value * 10_000);
}

/** Undefined when it is none. `{}` and the regular expression `*` ask for presence where that has a meaning. */
export function readStringMatch(
  fields: Fields | undefined,
  options: { readonly presence?: boolean; readonly emptyPrefix?: boolean } = {},
): StringMatch | undefined {
  if (fields === undefined) return undefined;
  const exact = fields.string("exact");
  const prefix = fields.string("prefix");
  const regex = fields.string("regex");
  fields.refuseUnknown();
  if ([exact, prefix, regex].filter((value) => value !== undefined).length > 1) {
    fields.problem("", "must have one of exact, prefix and regex");
    return undefined;
  }
  if (exact !== undefined) return create(StringMatchSchema, { kind: { case: "exact", value: exact } });
  if (prefix !== undefined) {
    if (prefix === "" && options.emptyPrefix !== true) fields.problem("prefix", "must not be empty");
    return create(StringMatchSchema, { kind: { case: "prefix", value: prefix } });
  }
  if (regex !== undefined && !(regex === "*" && options.presence === true)) {
    return checkRegex(fields, "regex", regex)
      ? create(StringMatchSchema, { kind: { case: "regex", value: regex } })
      : undefined;
  }
  if (options.presence === true) return create(StringMatchSchema, { kind: { case: "present", value: true } });
  fields.problem("", "must have one of exact, prefix and regex");
  return undefined;
}

export function checkRegex(fields: Fields, name: string, pattern: string): boolean {
  const problem =
    Buffer.byteLength(pattern) > MAX_REGEX_BYTES ? `is longer than ${MAX_REGEX_BYTES} bytes` : regexProblem(pattern);
  if (problem !== undefined) fields.problem(name, problem);
  return problem === undefined;
}

export function isHeaderName(name: string): boolean {
  return TOKEN.test(name);
}

export function isLabel(text: string): boolean {
  return LABEL.test(text);
}

/** A host name, with `*` or `*.` at its front or not. */
export function isHost(text: string): boolean {
  return text.length <= MAX_HOST_LENGTH && HOST.test(text.toLowerCase());
}

/** A name without a dot is that of a Service in the object's own namespace. */
export function fullHost(host: string, namespace: string, clusterDomain: string): string {
  const lower = host.toLowerCase();
  if (lower.includes(".") || lower === "*" || parseIp(lower) !== undefined) return lower;
  return `${lower}.${namespace}.svc.${clusterDomain}`;
}

/** Namespaces, `*` for all of them; `.` is the object's own. Undefined when nothing is said. */
export function readExportTo(fields: Fields, namespace: string): readonly string[] | undefined {
  const texts = fields.strings("exportTo");
  if (texts.length === 0) return undefined;
  const result = new Set<string>();
  for (const [index, text] of texts.entries()) {
    const field = `exportTo[${index}]`;
    const name = text === "." ? namespace : text;
    if (text === "~") fields.problem(field, "only a ServiceEntry or a Service can be hidden from everybody");
    else if (text !== EVERYWHERE && text !== "." && !isLabel(text)) fields.problem(field, `"${text}" is no namespace`);
    else if (result.has(name)) fields.problem(field, `"${text}" is there twice`);
    else result.add(name);
  }
  if (result.has(EVERYWHERE) && result.size > 1) fields.problem("exportTo", "* must stand alone");
  return [...result];
}

/** Whether what is exported so is seen in `namespace`; its own namespace always sees it. */
export function isVisible(
  object: { readonly namespace: string; readonly exportTo: readonly string[] | undefined },
  namespace: string,
  otherwise: readonly string[],
): boolean {
  if (object.namespace === namespace) return true;
  return (object.exportTo ?? otherwise).some((to) => to === EVERYWHERE || to === namespace);
}

/** `*.b.c`, `*.c`, `*`: what could stand for `a.b.c`, most specific first. */
export function* wildcardsOf(host: string): Generator<string> {
  for (let dot = host.indexOf("."); dot >= 0; dot = host.indexOf(".", dot + 1)) yield `*${host.slice(dot)}`;
  yield "*";
}

export function hostCovers(pattern: string, host: string): boolean {
  if (pattern === "*") return true;
  return pattern.startsWith("*.") ? host.endsWith(pattern.slice(1)) && host.length >= pattern.length : pattern === host;
}
