import type { Fields } from "../../model/fields.ts";
import { readBackendRef } from "./backend-ref.ts";
import type { ExternalAuth } from "./route-facts.ts";

/** The largest body that may be asked to be shown: it is held in memory meanwhile. */
const MAX_BODY_BYTES = 65_535;

/** The ExternalAuth filter of an HTTPRoute: somebody else says whether a request goes on. */
export function readExternalAuth(fields: Fields, namespace: string): ExternalAuth | undefined {
  const protocol = fields.oneOf("protocol", ["GRPC", "HTTP"]);
  const ref = fields.object("backendRef");
  const backend = ref && readBackendRef(ref, namespace);
  ref?.refuseUnknown();
  const grpc = fields.object("grpc");
  const http = fields.object("http");
  const allowedHeaders = (protocol === "HTTP" ? http : grpc)?.strings("allowedHeaders") ?? [];
  const allowedResponseHeaders = http?.strings("allowedResponseHeaders") ?? [];
  const path = http?.string("path") ?? "";
  const body = fields.object("forwardBody");
  const bodyMaxBytes = body?.integer("maxSize", 0, MAX_BODY_BYTES) ?? 0;
  for (const part of [grpc, http, body]) part?.refuseUnknown();
  fields.refuseUnknown();
  if (protocol === undefined) fields.problem("protocol", "must be GRPC or HTTP");
  if (ref === undefined) fields.problem("backendRef", "is required");
  if (protocol === undefined || backend === undefined) return undefined;
  return {
    backend,
    grpc: protocol === "GRPC",
    path,
    allowedHeaders: allowedHeaders.map((name) => name.toLowerCase()),
    allowedResponseHeaders: allowedResponseHeaders.map((name) => name.toLowerCase()),
    bodyMaxBytes,
  };
}
