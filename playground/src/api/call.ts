/** One request to a resource: who asks, for what, and how the query is to be read. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { User } from "../auth/authenticator.ts";
import { ApiError, notOffered } from "./errors.ts";
import { isRecord } from "./objects.ts";
import type { DeleteOptions, PatchType, WriteOptions } from "./registry.ts";
import { type ResourcePath, readDocument } from "./request.ts";
import type { Resource } from "./resources.ts";

/** A request to a resource, with everything looked up. */
export interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly user: User;
  readonly query: URLSearchParams;
  readonly path: ResourcePath;
  readonly resource: Resource;
  readonly write: WriteOptions;
}

const PATCH_TYPES: Readonly<Record<string, PatchType>> = {
  "application/json-patch+json": "json",
  "application/merge-patch+json": "merge",
  "application/strategic-merge-patch+json": "strategic",
  "application/apply-patch+yaml": "apply",
};

export function verbOf({ request, query, path }: Call): string {
  switch (request.method) {
    case "GET":
      if (isWatch(query)) return "watch";
      return path.name === undefined ? "list" : "get";
    case "POST":
      return "create";
    case "PUT":
      return "update";
    case "PATCH":
      return "patch";
    case "DELETE":
      return path.name === undefined ? "deletecollection" : "delete";
    default:
      throw notOffered(`the method ${request.method}`);
  }
}

export function selectedName(query: URLSearchParams): string | undefined {
  return /^metadata\.name==?([^,!=]+)$/.exec(query.get("fieldSelector") ?? "")?.[1];
}

export function isWatch(query: URLSearchParams): boolean {
  return ["true", "1", ""].includes(query.get("watch") ?? "no");
}

export function tableWish({ request, query }: Call): string | undefined {
  const wanted = /as=Table;v=v1;g=meta\.k8s\.io|as=Table;g=meta\.k8s\.io;v=v1/.test(request.headers.accept ?? "");
  return wanted ? (query.get("includeObject") ?? "Metadata") : undefined;
}

export function patchType(request: IncomingMessage): PatchType {
  const type = (request.headers["content-type"] ?? "").split(";")[0] ?? "";
  const found = PATCH_TYPES[type];
  if (found === undefined) {
    throw new ApiError(
      415,
      "UnsupportedMediaType",
      `"${type}" is no type of patch; known: ${Object.keys(PATCH_TYPES).join(", ")}`,
    );
  }
  return found;
}

export async function deleteOptions(call: Call): Promise<DeleteOptions> {
  const body = await readDocument(call.request);
  const given = isRecord(body) ? body : {};
  const { query } = call;
  const grace = given.gracePeriodSeconds ?? query.get("gracePeriodSeconds") ?? undefined;
  const orphan = given.orphanDependents ?? query.get("orphanDependents") === "true";
  const policy = given.propagationPolicy ?? query.get("propagationPolicy") ?? (orphan ? "Orphan" : undefined);
  const dryRun = Array.isArray(given.dryRun) ? given.dryRun.includes("All") : call.write.dryRun === true;
  return {
    gracePeriodSeconds: grace === undefined ? undefined : Number(grace),
    propagationPolicy: policy === undefined ? undefined : String(policy),
    preconditions: isRecord(given.preconditions) ? given.preconditions : undefined,
    dryRun,
  };
}
