/** What a request asks for: its path and query taken apart, its body read. */
import type { IncomingMessage } from "node:http";
import { parse } from "yaml";
import { ApiError, badRequest } from "./errors.ts";
import { isRecord, type JsonRecord } from "./objects.ts";
import { decodeProtobuf } from "./protobuf.ts";

export interface ResourcePath {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

/** etcd's limit for one object is 1.5 MB; the API takes twice that. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** `/api/v1/…` or `/apis/<group>/<version>/…` below discovery; undefined for any other path. */
export function parseResourcePath(path: string): ResourcePath | undefined {
  const parts = path
    .split("/")
    .filter((part) => part !== "")
    .map(decode);
  const root = parts.shift();
  if (root !== "api" && root !== "apis") return undefined;
  const group = root === "api" ? "" : (parts.shift() ?? "");
  const version = parts.shift();
  if (version === undefined || parts.length === 0) return undefined;
  let namespace: string | undefined;
  // `namespaces/x`, `namespaces/x/status` and `namespaces/x/finalize` are about the namespace itself.
  const isAboutNamespace = parts.length <= 2 || (parts.length === 3 && ["status", "finalize"].includes(parts[2] ?? ""));
  if (parts[0] === "namespaces" && !(isAboutNamespace && group === "")) {
    namespace = parts[1];
    parts.splice(0, 2);
  }
  const [plural, name, ...rest] = parts;
  if (plural === undefined) return undefined;
  return {
    group,
    version,
    plural,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(rest.length === 0 ? {} : { subresource: rest.join("/") }),
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw badRequest(`"${part}" is no valid part of a path`);
  }
}

/** At most 3 MB. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_BODY_BYTES) {
      throw new ApiError(413, "RequestEntityTooLarge", `the request is larger than ${MAX_BODY_BYTES} bytes`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** JSON, YAML or protobuf by content type. An empty body is undefined. */
export async function readDocument(request: IncomingMessage): Promise<unknown> {
  const type = (request.headers["content-type"] ?? "application/json").split(";")[0]?.trim() ?? "";
  const body = await readBody(request);
  if (type === "application/vnd.kubernetes.protobuf") return body.length === 0 ? undefined : decodeProtobuf(body);
  const text = body.toString("utf8");
  if (text.trim() === "") return undefined;
  try {
    return type.endsWith("yaml") ? parse(text) : JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

export async function readObject(request: IncomingMessage): Promise<JsonRecord> {
  const document = await readDocument(request);
  if (!isRecord(document)) throw badRequest("the body is no object");
  return document;
}
