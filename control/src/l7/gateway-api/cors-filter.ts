import { create } from "@bufbuild/protobuf";
import { type Cors, CorsSchema, type StringMatch, StringMatchSchema } from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { escapeRegex } from "../regex.ts";

const DEFAULT_MAX_AGE_SECONDS = 5;
const MAX_AGE_SECONDS = 0x7fff_ffff;
const ORIGIN = /^(\*|[a-z][a-z0-9+.-]*:\/\/(\*|[a-z0-9*][a-z0-9.*-]*|\[[0-9a-f:.]+\])(:([0-9]{1,5}|\*))?)$/i;

/** The CORS filter of an HTTPRoute. `*` in lists stays: what it stands for depends on the request. */
export function readCors(fields: Fields): Cors {
  const allowOrigins = fields.strings("allowOrigins").flatMap((origin, index) => {
    if (ORIGIN.test(origin)) return [originMatch(origin)];
    fields.problem(`allowOrigins[${index}]`, `"${origin}" is no origin such as https://*.example.com`);
    return [];
  });
  const allowCredentials = fields.raw("allowCredentials");
  if (allowCredentials !== undefined && typeof allowCredentials !== "boolean") {
    fields.problem("allowCredentials", "must be true or false");
  }
  const cors = create(CorsSchema, {
    allowOrigins,
    allowMethods: fields.strings("allowMethods"),
    allowHeaders: fields.strings("allowHeaders"),
    exposeHeaders: fields.strings("exposeHeaders"),
    allowCredentials: allowCredentials === true,
    maxAgeS: BigInt(fields.integer("maxAge", 1, MAX_AGE_SECONDS) ?? DEFAULT_MAX_AGE_SECONDS),
    gatewayApi: true,
  });
  fields.refuseUnknown();
  return cors;
}

/** A star stands for any characters, as many as possible. Scheme and host of an origin are in lower case. */
function originMatch(origin: string): StringMatch {
  const lower = origin.toLowerCase();
  // The engine knows this one.
  if (lower === "*") return create(StringMatchSchema, { kind: { case: "exact", value: lower } });
  if (!lower.includes("*"))
    return create(StringMatchSchema, { kind: { case: "exact", value: lower }, ignoreCase: true });
  const value = lower.split("*").map(escapeRegex).join(".*");
  return create(StringMatchSchema, { kind: { case: "regex", value }, ignoreCase: true });
}
