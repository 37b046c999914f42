/** Lists of values in policies, as the L7 program has them. A value that makes no sense is noted and left out. */
import { create } from "@bufbuild/protobuf";
import { parseCidr } from "#lib/address.ts";
import { type Cidr, CidrSchema, type StringMatch, StringMatchSchema } from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { escapeRegex } from "../regex.ts";
import { isPathTemplate, templateRegex } from "./path-template.ts";

/** The texts of the list `name` of an object. */
export interface Values {
  readonly fields: Fields;
  readonly name: string;
  readonly texts: readonly string[];
}

export function valuesOf(fields: Fields, name: string): Values {
  return { fields, name, texts: fields.strings(name) };
}

type Kind = StringMatch["kind"];

/** `*` is any but nothing, `*x` ends with, `x*` begins with, else the whole. */
function kindOf(text: string): Kind {
  if (text === "*") return { case: "present", value: true };
  if (text.startsWith("*")) return { case: "suffix", value: text.slice(1) };
  if (text.endsWith("*")) return { case: "prefix", value: text.slice(0, -1) };
  return { case: "exact", value: text };
}

export function stringMatches(values: Values, ignoreCase = false): StringMatch[] {
  return converted(values, (text) =>
    text === "" ? "must not be empty" : [create(StringMatchSchema, { kind: kindOf(text), ignoreCase })],
  );
}

/** A star may be anywhere in the name of a namespace. */
export function namespaceMatches(values: Values): StringMatch[] {
  return converted(values, (text) => {
    if (text === "") return "must not be empty";
    if (!text.slice(1, -1).includes("*")) return [create(StringMatchSchema, { kind: kindOf(text) })];
    const value = text.split("*").map(escapeRegex).join(".*");
    return [create(StringMatchSchema, { kind: { case: "regex", value } })];
  });
}

export function pathMatches(values: Values): StringMatch[] {
  return converted(values, (text) => {
    if (text === "") return "must not be empty";
    if (!isPathTemplate(text)) return [create(StringMatchSchema, { kind: kindOf(text) })];
    const template = templateRegex(text);
    if ("problem" in template) return template.problem;
    return [create(StringMatchSchema, { kind: { case: "regex", value: template.regex } })];
  });
}

/** `namespace/account`, or `account` in the policy's own namespace. */
export function accountNames(values: Values, ownNamespace: string): string[] {
  return converted(values, (text) => {
    const parts = text.split("/");
    const [namespace, account] = parts.length === 1 ? [ownNamespace, parts[0]] : parts;
    if (parts.length > 2 || !namespace || !account || text.includes("*")) {
      return `"${text}" is neither namespace/account nor account`;
    }
    return [`${namespace}/${account}`];
  });
}

/** An address counts as a range of one. */
export function cidrs(values: Values): Cidr[] {
  return converted(values, (text) => {
    const range = parseCidr(text);
    return range === undefined ? `"${text}" is neither an IP address nor a CIDR` : [create(CidrSchema, range)];
  });
}

export function ports(values: Values): number[] {
  return converted(values, (text) => {
    const port = Number(text);
    return /^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535 ? [port] : `"${text}" is no port`;
  });
}

/** `convert` gives what a text stands for, or says why it stands for nothing. */
function converted<T>({ fields, name, texts }: Values, convert: (text: string) => T[] | string): T[] {
  return texts.flatMap((text, index) => {
    const result = convert(text);
    if (typeof result !== "string") return result;
    fields.problem(`${name}[${index}]`, result);
    return [];
  });
}
