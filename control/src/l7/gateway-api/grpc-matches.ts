/** `rules[].matches` of a GRPCRoute: a method is a path of two elements. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { HttpMatchSchema, type PathMatchSchema } from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { escapeRegex } from "../regex.ts";
import { readHeaderMatches } from "./http-matches.ts";
import type { RankedMatch } from "./route-facts.ts";
import { checkRegex } from "./values.ts";

/** Names of protobuf: what a path may hold without a slash. */
const SERVICE = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/;
const METHOD = /^[A-Za-z_][A-Za-z0-9_]*$/;

type Path = MessageInitShape<typeof PathMatchSchema>;

const ANY_PATH: Path = { kind: { case: "segmentPrefix", value: "/" } };

export function readGrpcMatches(rule: Fields): RankedMatch[] {
  const matches = rule.objects("matches");
  if (matches.length === 0) return [{ match: create(HttpMatchSchema, { path: ANY_PATH }), rank: [0, 0, 0] }];
  return matches.map((fields) => {
    const { path, rank } = readMethod(fields);
    const headers = readHeaderMatches(fields);
    fields.refuseUnknown();
    return { match: create(HttpMatchSchema, { path, headers }), rank: [...rank, headers.length] };
  });
}

function readMethod(fields: Fields): { path: Path; rank: readonly [service: number, method: number] } {
  const method = fields.object("method");
  if (method === undefined) return { path: ANY_PATH, rank: [0, 0] };
  const type = method.oneOf("type", ["Exact", "RegularExpression"]) ?? "Exact";
  const service = method.string("service") ?? "";
  const name = method.string("method") ?? "";
  method.refuseUnknown();
  if (service === "" && name === "") method.problem("", "needs a service or a method");
  const rank = [service.length, name.length] as const;
  if (type === "RegularExpression") {
    if (service !== "") checkRegex(method, "service", service);
    if (name !== "") checkRegex(method, "method", name);
    return { path: regex(group(service), group(name)), rank };
  }
  if (service !== "" && !SERVICE.test(service)) method.problem("service", `"${service}" is no name of a gRPC service`);
  if (name !== "" && !METHOD.test(name)) method.problem("method", `"${name}" is no name of a gRPC method`);
  if (name === "") return { path: { kind: { case: "segmentPrefix", value: `/${service}` } }, rank };
  if (service === "") return { path: regex("", escapeRegex(name)), rank };
  return { path: { kind: { case: "exact", value: `/${service}/${name}` } }, rank };
}

function group(pattern: string): string {
  return pattern === "" ? "" : `(?:${pattern})`;
}

/** Empty: any element. */
function regex(service: string, method: string): Path {
  return { kind: { case: "regex", value: `/${service || "[^/]+"}/${method || "[^/]+"}` } };
}
