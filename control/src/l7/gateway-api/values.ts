/** Values that several parts of a route share. A value that makes no sense is noted as a problem of its rule. */
import { create } from "@bufbuild/protobuf";
import { type StringMatch, StringMatchSchema } from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { regexProblem } from "../regex.ts";
import { durationMs } from "./duration.ts";

const TOKEN = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}$/;

/** A name of a header field; undefined when it is none. */
export function readHeaderName(fields: Fields, field = "name"): string | undefined {
  const name = fields.string(field);
  if (name !== undefined && TOKEN.test(name)) return name.toLowerCase();
  fields.problem(field, name === undefined ? "is required" : `"${name}" is no name of a header`);
  return undefined;
}

export function isHeaderName(name: string): boolean {
  return TOKEN.test(name);
}

/** Matches `value` as `type` says: the whole of it, or as a regular expression for the whole. */
export function readStringMatch(fields: Fields): StringMatch | undefined {
  const type = fields.oneOf("type", ["Exact", "RegularExpression"]);
  const value = fields.string("value");
  if (value === undefined) {
    fields.problem("value", "is required");
    return undefined;
  }
  if (type !== "RegularExpression") return create(StringMatchSchema, { kind: { case: "exact", value } });
  return checkRegex(fields, "value", value) ? create(StringMatchSchema, { kind: { case: "regex", value } }) : undefined;
}

export function checkRegex(fields: Fields, field: string, pattern: string): boolean {
  const problem = regexProblem(pattern);
  if (problem !== undefined) fields.problem(field, problem);
  return problem === undefined;
}

/** Milliseconds; undefined when it is not there or none. */
export function readDuration(fields: Fields, field: string): number | undefined {
  const text = fields.string(field);
  if (text === undefined) return undefined;
  const value = durationMs(text);
  if (value === undefined) fields.problem(field, `"${text}" is no duration such as 1m30s`);
  return value;
}
