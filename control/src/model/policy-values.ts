/** Lists of values in policies, as the wire has them. A value that makes no sense is noted and left out. */
import { create } from "@bufbuild/protobuf";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import { ipToBytes, parseCidr } from "#lib/address.ts";
import {
  type Address,
  AddressSchema,
  type ServiceAccountMatch,
  ServiceAccountMatchSchema,
  type StringMatch,
  StringMatchSchema,
} from "#proto/authorization_pb.ts";
import type { Fields } from "./fields.ts";
import type { Labels } from "./meta.ts";

/** The texts of the list `name` of an object. */
export interface Values {
  readonly fields: Fields;
  readonly name: string;
  readonly texts: readonly string[];
}

/** `*` is any, `*x` ends with, `x*` begins with, else the whole. */
export function stringMatches(values: Values): StringMatch[] {
  return converted(values, (text) => {
    if (text === "") return "must not be empty";
    if (text === "*") return create(StringMatchSchema, { matchType: { case: "presence", value: create(EmptySchema) } });
    if (text.startsWith("*")) {
      return create(StringMatchSchema, { matchType: { case: "suffix", value: text.slice(1) } });
    }
    if (text.endsWith("*")) {
      return create(StringMatchSchema, { matchType: { case: "prefix", value: text.slice(0, -1) } });
    }
    return create(StringMatchSchema, { matchType: { case: "exact", value: text } });
  });
}

/** `namespace/account`, or `account` in the policy's own namespace. */
export function accountMatches(values: Values, ownNamespace: string): ServiceAccountMatch[] {
  return converted(values, (text) => {
    const parts = text.split("/");
    const [namespace, serviceAccount] = parts.length === 1 ? [ownNamespace, parts[0]] : parts;
    if (parts.length > 2 || !namespace || !serviceAccount || text.includes("*")) {
      return `"${text}" is neither namespace/account nor account`;
    }
    return create(ServiceAccountMatchSchema, { namespace, serviceAccount });
  });
}

/** An address counts as a range of one. */
export function addresses(values: Values): Address[] {
  return converted(values, (text) => {
    const range = parseCidr(text);
    if (range === undefined) return `"${text}" is neither an IP address nor a CIDR`;
    return create(AddressSchema, { address: ipToBytes(range.ip), length: range.length });
  });
}

export function ports(values: Values): number[] {
  return converted(values, (text) => {
    const port = Number(text);
    return /^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535 ? port : `"${text}" is no port`;
  });
}

/** Undefined when there is none or it names no label: then every workload is meant. */
export function readSelector(fields: Fields): Labels | undefined {
  const selector = fields.object("selector");
  if (selector === undefined) return undefined;
  const labels = selector.map("matchLabels");
  selector.refuseUnknown();
  return Object.keys(labels).length === 0 ? undefined : labels;
}

/** `convert` gives a value, or says why the text is none. */
function converted<T>({ fields, name, texts }: Values, convert: (text: string) => T | string): T[] {
  const result: T[] = [];
  for (const [index, text] of texts.entries()) {
    const value = convert(text);
    if (typeof value === "string") fields.problem(`${name}[${index}]`, value);
    else result.push(value);
  }
  return result;
}
