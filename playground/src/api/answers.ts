/** Answers of the API: objects, tables, plain JSON. */
import type { ServerResponse } from "node:http";
import { type Call, tableWish } from "./call.ts";
import { jsonOf } from "./json-cache.ts";
import { isRecord, type Obj } from "./objects.ts";
import { table } from "./table.ts";

/** The object, or its table when that is what the client wants; with the warnings that writing it has raised. */
export function sendObject(call: Call, code: number, object: Obj): void {
  const include = tableWish(call);
  for (const warning of call.write.warnings ?? []) {
    call.response.appendHeader("warning", `299 - ${JSON.stringify(warning)}`);
  }
  if (include === undefined || call.request.method !== "GET") {
    sendText(call.response, code, jsonOf(object));
    return;
  }
  const meta = { resourceVersion: object.metadata.resourceVersion };
  sendJson(call.response, code, table(call.resource, [object], meta, include));
}

/** JSON with a status code. */
export function sendJson(response: ServerResponse, code: number, body: unknown): void {
  sendText(response, code, JSON.stringify(body));
}

/** Clients tell the aggregated form of discovery by its content type. */
export function documentType(document: unknown): string {
  const isAggregated = isRecord(document) && document.kind === "APIGroupDiscoveryList";
  return isAggregated ? "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" : "application/json";
}

export function sendText(response: ServerResponse, code: number, text: string, type = "application/json"): void {
  response.writeHead(code, { "content-type": type, "content-length": Buffer.byteLength(text) });
  response.end(text);
}
