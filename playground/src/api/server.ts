/** The API over HTTPS: authentication, authorization, discovery, and the verbs on resources. */
import type { IncomingMessage, ServerResponse } from "node:http";
import https from "node:https";
import type net from "node:net";
import type { Duplex } from "node:stream";
import type { Authenticator, User } from "../auth/authenticator.ts";
import { type AccessAttributes, isAllowed } from "../auth/rbac.ts";
import type { TokenSigner } from "../auth/tokens.ts";
import { ISSUER } from "../auth/tokens.ts";
import type { Pod } from "../kinds/types.ts";
import {
  aggregated,
  groupInfo,
  groupList,
  legacyVersions,
  openApi,
  openApiIndex,
  resourceList,
  VERSION,
} from "./discovery.ts";
import { ApiError, badRequest, forbidden, gone, notOffered } from "./errors.ts";
import { jsonOf } from "./json-cache.ts";
import type { KubeletProxy } from "./kubelet-proxy.ts";
import { isRecord, type JsonRecord, type Obj } from "./objects.ts";
import type { DeleteOptions, PatchType, Registry, WriteOptions } from "./registry.ts";
import { parseResourcePath, type ResourcePath, readDocument, readObject } from "./request.ts";
import { apiVersionOf, isVirtual, keyOf, type Resource } from "./resources.ts";
import type { Reviews } from "./reviews.ts";
import { requestMatcher } from "./selectors.ts";
import { bind, scaleOf, writeScale } from "./subresources.ts";
import { table } from "./table.ts";
import type { Watches } from "./watch.ts";

export interface ApiServerParts {
  readonly registry: Registry;
  readonly authenticator: Authenticator;
  readonly tokens: TokenSigner;
  readonly reviews: Reviews;
  readonly watches: Watches;
  readonly kubelets: KubeletProxy;
  /** PEM. */
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string };
}

/** A request to a resource, with everything looked up. */
interface Call {
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

export class ApiServer {
  readonly #parts: ApiServerParts;
  readonly #server: https.Server;

  constructor(parts: ApiServerParts) {
    this.#parts = parts;
    this.#server = https.createServer(
      { cert: parts.tls.cert, key: parts.tls.key, ca: parts.tls.ca, requestCert: true, rejectUnauthorized: false },
      (request, response) => void this.#handle(request, response),
    );
    // Watches are long; a client that stops sending its request head is cut off after Node's defaults.
    this.#server.requestTimeout = 0;
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.on("tlsClientError", () => {});
  }

  listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port }, () => resolve());
    });
  }

  /** Serves connections of a listener that was made elsewhere, in another network namespace for instance. */
  serve(listener: net.Server): void {
    listener.on("connection", (socket) => this.#server.emit("connection", socket));
  }

  close(): void {
    this.#parts.watches.close();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#route(request, response);
    } catch (error) {
      if (response.headersSent) {
        response.destroy();
        return;
      }
      const known =
        error instanceof ApiError
          ? error
          : new ApiError(500, "InternalError", error instanceof Error ? (error.stack ?? error.message) : String(error));
      // An unread body would be taken for the next request.
      request.resume();
      sendJson(response, known.code, known.toStatus());
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "https://api");
    const path = url.pathname.replace(/\/+$/, "") || "/";
    if (["/healthz", "/livez", "/readyz"].includes(path)) {
      response.end("ok");
      return;
    }
    if (path === "/version") return sendJson(response, 200, VERSION);
    const user = this.#parts.authenticator.authenticate(request);
    if (user === undefined) throw new ApiError(401, "Unauthorized", "Unauthorized");
    const document = this.#document(path, request);
    if (document !== undefined) return sendText(response, 200, JSON.stringify(document), documentType(document));
    const call = this.#call(request, response, user, url);
    this.#authorize(call, verbOf(call));
    await this.#dispatch(call);
  }

  /** Discovery, OpenAPI and the keys of tokens. */
  #document(path: string, request: IncomingMessage): unknown {
    const { catalogue } = this.#parts.registry;
    const isAggregated = /g=apidiscovery\.k8s\.io;v=v2;as=APIGroupDiscoveryList/.test(request.headers.accept ?? "");
    switch (path) {
      case "/":
        return { paths: ["/api", "/apis", "/healthz", "/openapi/v3", "/version"] };
      case "/api":
        return isAggregated ? aggregated(catalogue, true) : legacyVersions();
      case "/apis":
        return isAggregated ? aggregated(catalogue, false) : groupList(catalogue);
      case "/openapi/v2":
        throw new ApiError(404, "NotFound", "the playground does not offer OpenAPI v2; use /openapi/v3");
      case "/openapi/v3":
        return openApiIndex(catalogue);
      case "/openid/v1/jwks":
        return this.#parts.tokens.jwks();
      case "/.well-known/openid-configuration":
        return {
          issuer: ISSUER,
          jwks_uri: `${ISSUER}/openid/v1/jwks`,
          response_types_supported: ["id_token"],
          subject_types_supported: ["public"],
          id_token_signing_alg_values_supported: ["ES256"],
        };
    }
    const parts = path.split("/").slice(1);
    const [root, group = "", version = ""] = parts;
    if (root === "openapi" && parts[1] === "v3") {
      const [, , kind, openGroup = "", openVersion = ""] = parts;
      return kind === "api" ? openApi(catalogue, "", openGroup) : openApi(catalogue, openGroup, openVersion);
    }
    if (root === "api" && parts.length === 2) return resourceList(catalogue, "", group);
    if (root === "apis" && parts.length === 2) return groupInfo(catalogue, group);
    if (root === "apis" && parts.length === 3) return resourceList(catalogue, group, version);
    return undefined;
  }

  #call(request: IncomingMessage, response: ServerResponse, user: User, url: URL): Call {
    const path = parseResourcePath(url.pathname);
    const resource =
      path === undefined ? undefined : this.#parts.registry.catalogue.find(path.group, path.version, path.plural);
    if (path === undefined || resource === undefined) {
      throw new ApiError(404, "NotFound", `the server could not find the requested resource: ${url.pathname}`);
    }
    const query = url.searchParams;
    const validation = query.get("fieldValidation");
    const write: WriteOptions = {
      dryRun: query.getAll("dryRun").includes("All"),
      fieldValidation: validation === "Strict" || validation === "Ignore" ? validation : "Warn",
      warnings: [],
    };
    return { request, response, user, query, path, resource, write };
  }

  #authorize(call: Call, verb: string): void {
    const { user, resource, path } = call;
    const access: AccessAttributes = {
      verb,
      group: resource.group,
      resource: path.subresource === undefined ? resource.plural : `${resource.plural}/${path.subresource}`,
      namespace: path.namespace,
      // A list or watch of one object by name is allowed to whom that name is.
      name: path.name ?? selectedName(call.query),
    };
    // Anyone may ask what they may do themselves.
    if (resource.kind.startsWith("SelfSubject")) return;
    if (isAllowed(this.#parts.registry.store, user, access)) return;
    const scope = path.namespace === undefined ? "at the cluster scope" : `in the namespace "${path.namespace}"`;
    const what = `resource "${access.resource}" in API group "${access.group}" ${scope}`;
    const subject = path.name === undefined ? resource.plural : `${resource.plural} "${path.name}"`;
    throw forbidden(`${subject} is forbidden: User "${user.username}" cannot ${verb} ${what}`);
  }

  async #dispatch(call: Call): Promise<void> {
    const { request, path, resource } = call;
    if (isVirtual(resource)) {
      if (request.method !== "POST") throw notOffered(`${request.method} of ${resource.plural}; POST one`);
      const body = await readObject(request);
      const answer = this.#parts.reviews.answer(resource.kind, body, call.user, path.namespace);
      return sendJson(call.response, 201, answer);
    }
    if (path.name === undefined) return this.#onCollection(call);
    const { subresource } = path;
    if (subresource !== undefined && !resource.subresources.includes(subresource)) {
      throw notOffered(`"${subresource}" of ${resource.plural}`);
    }
    if (subresource !== undefined && subresource !== "status") return this.#onSubresource(call, path.name, subresource);
    return this.#onObject(call, path.name);
  }

  async #onCollection(call: Call): Promise<void> {
    const { request, response, query, path, resource } = call;
    const { registry } = this.#parts;
    const matches = requestMatcher(query.get("labelSelector") ?? undefined, query.get("fieldSelector") ?? undefined);
    switch (request.method) {
      case "GET": {
        const tableInclude = tableWish(call);
        if (isWatch(query)) {
          this.#parts.watches.serve({ resource, namespace: path.namespace, matches, query, tableInclude }, response);
          return;
        }
        return this.#list(call, registry.list(resource, path.namespace, matches), tableInclude);
      }
      case "POST": {
        const body = await readObject(request);
        const created = registry.create(resource, path.namespace, body, call.write);
        return sendObject(call, 201, created);
      }
      case "DELETE": {
        const options = await deleteOptions(call);
        const doomed = registry.list(resource, path.namespace, matches);
        for (const { metadata } of doomed) registry.delete(resource, metadata.namespace, metadata.name, options);
        return this.#list(call, doomed, undefined);
      }
      default:
        throw notOffered(`${request.method} of a collection`);
    }
  }

  /** A page of a list. The token of the next page holds the revision of the first and the last key of this one. */
  #list(call: Call, objects: Obj[], tableInclude: string | undefined): void {
    const { query, resource, response } = call;
    const { store } = this.#parts.registry;
    const limit = Number(query.get("limit") ?? 0);
    let revision = store.revision;
    let rest = objects;
    const token = query.get("continue");
    if (token) {
      const { from, after } = parseContinue(token);
      if (store.eventsSince("", from) === undefined) {
        throw gone("The provided continue parameter is too old to display a consistent list result.");
      }
      revision = from;
      rest = rest.filter((each) => orderKey(resource, each) > after);
    }
    const page = limit > 0 ? rest.slice(0, limit) : rest;
    const last = page.at(-1);
    const meta: JsonRecord = { resourceVersion: String(revision) };
    if (page.length < rest.length && last !== undefined) {
      const next = JSON.stringify({ from: revision, after: orderKey(resource, last) });
      meta.continue = Buffer.from(next).toString("base64url");
      meta.remainingItemCount = rest.length - page.length;
    }
    if (tableInclude !== undefined) {
      sendJson(response, 200, table(resource, page, meta, tableInclude));
      return;
    }
    const head = `{"kind":"${resource.kind}List","apiVersion":"${apiVersionOf(resource)}","metadata":${JSON.stringify(meta)}`;
    sendText(response, 200, `${head},"items":[${page.map(jsonOf).join(",")}]}`);
  }

  async #onObject(call: Call, name: string): Promise<void> {
    const { request, resource, path, query } = call;
    const { registry } = this.#parts;
    const { namespace, subresource } = path;
    switch (request.method) {
      case "GET": {
        if (isWatch(query)) {
          const matches = requestMatcher(undefined, `metadata.name=${name}`);
          const tableInclude = tableWish(call);
          return this.#parts.watches.serve({ resource, namespace, matches, query, tableInclude }, call.response);
        }
        return sendObject(call, 200, registry.get(resource, namespace, name));
      }
      case "PUT": {
        const body = await readObject(request);
        return sendObject(call, 200, registry.update(resource, namespace, name, body, { ...call.write, subresource }));
      }
      case "PATCH": {
        const type = patchType(request);
        const patch = await readDocument(request);
        if (type !== "apply") {
          const options = { ...call.write, subresource };
          return sendObject(call, 200, registry.patch(resource, namespace, name, type, patch, options));
        }
        if (!isRecord(patch)) throw badRequest("the applied configuration is no object");
        const fieldManager = query.get("fieldManager");
        if (!fieldManager) throw badRequest("fieldManager is required for apply patch");
        const force = query.get("force") === "true";
        const options = { ...call.write, subresource, fieldManager, force };
        const { object, isNew } = registry.apply(resource, namespace, name, patch, options);
        return sendObject(call, isNew ? 201 : 200, object);
      }
      case "DELETE": {
        const { object, isGone } = registry.delete(resource, namespace, name, await deleteOptions(call));
        if (!isGone) return sendObject(call, 200, object);
        const details = { name, group: resource.group, kind: resource.plural, uid: object.metadata.uid };
        return sendJson(call.response, 200, {
          kind: "Status",
          apiVersion: "v1",
          metadata: {},
          status: "Success",
          details,
        });
      }
      default:
        throw notOffered(`${request.method} of an object`);
    }
  }

  async #onSubresource(call: Call, name: string, subresource: string): Promise<void> {
    const { request, response, resource, path } = call;
    const { registry } = this.#parts;
    const namespace = path.namespace ?? "";
    switch (`${request.method} ${subresource}`) {
      case "GET scale":
        return sendJson(response, 200, scaleOf(registry.get(resource, path.namespace, name)));
      case "PUT scale":
      case "PATCH scale": {
        const patch = request.method === "PATCH" ? patchType(request) : undefined;
        const body = await readObject(request);
        return sendJson(response, 200, writeScale(registry, resource, path.namespace, name, body, patch));
      }
      case "GET log": {
        const pod = registry.get(resource, path.namespace, name) as Pod;
        return this.#parts.kubelets.forward({ pod, verb: "logs", query: call.query }, response);
      }
      case "POST token":
        return sendJson(response, 201, this.#parts.reviews.requestToken(namespace, name, await readObject(request)));
      case "POST binding": {
        const target = (await readObject(request)).target;
        bind(registry, resource, namespace, name, isRecord(target) ? String(target.name) : "");
        return sendJson(response, 201, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" });
      }
      case "POST eviction": {
        const { deleteOptions: wish } = await readObject(request);
        registry.delete(resource, path.namespace, name, isRecord(wish) ? wish : {});
        return sendJson(response, 201, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" });
      }
      case "PUT finalize":
        return sendObject(call, 200, registry.get(resource, path.namespace, name));
      case "POST exec":
      case "GET exec":
        throw badRequest("exec needs a WebSocket upgrade (kubectl 1.31 or later)");
      default:
        throw notOffered(`${request.method} of "${subresource}"`);
    }
  }

  /** Exec over WebSocket. SPDY, which older clients try, is not offered. */
  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => {});
    try {
      const user = this.#parts.authenticator.authenticate(request);
      if (user === undefined) throw new ApiError(401, "Unauthorized", "Unauthorized");
      const url = new URL(request.url ?? "/", "https://api");
      const call = this.#call(request, undefined as never, user, url);
      this.#authorize(call, "create");
      const { name, namespace, subresource } = call.path;
      if (subresource !== "exec" || name === undefined) throw notOffered(`an upgrade for "${subresource ?? ""}"`);
      if (request.headers.upgrade?.toLowerCase() !== "websocket") {
        throw badRequest("exec is offered over WebSocket only (kubectl 1.31 or later)");
      }
      const pod = this.#parts.registry.get(call.resource, namespace, name) as Pod;
      this.#parts.kubelets.upgrade({ pod, verb: "exec", query: call.query }, request, socket, head);
    } catch (error) {
      const known = error instanceof ApiError ? error : new ApiError(500, "InternalError", String(error));
      const body = JSON.stringify(known.toStatus());
      const headers = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
      socket.end(`HTTP/1.1 ${known.code} ${known.reason}\r\n${headers}\r\n\r\n${body}`);
    }
  }
}

function verbOf({ request, query, path }: Call): string {
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

function selectedName(query: URLSearchParams): string | undefined {
  return /^metadata\.name==?([^,!=]+)$/.exec(query.get("fieldSelector") ?? "")?.[1];
}

function isWatch(query: URLSearchParams): boolean {
  return ["true", "1", ""].includes(query.get("watch") ?? "no");
}

function tableWish({ request, query }: Call): string | undefined {
  const wanted = /as=Table;v=v1;g=meta\.k8s\.io|as=Table;g=meta\.k8s\.io;v=v1/.test(request.headers.accept ?? "");
  return wanted ? (query.get("includeObject") ?? "Metadata") : undefined;
}

function patchType(request: IncomingMessage): PatchType {
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

async function deleteOptions(call: Call): Promise<DeleteOptions> {
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

function orderKey(resource: Resource, object: Obj): string {
  return keyOf(resource, object.metadata.namespace, object.metadata.name);
}

function parseContinue(token: string): { from: number; after: string } {
  try {
    const { from, after } = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    if (typeof from === "number" && typeof after === "string") return { from, after };
  } catch {
    // Falls to the answer below.
  }
  throw badRequest("continue key is not valid");
}

function sendObject(call: Call, code: number, object: Obj): void {
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

function sendJson(response: ServerResponse, code: number, body: unknown): void {
  sendText(response, code, JSON.stringify(body));
}

/** Clients tell the aggregated form of discovery by its content type. */
function documentType(document: unknown): string {
  const isAggregated = isRecord(document) && document.kind === "APIGroupDiscoveryList";
  return isAggregated ? "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" : "application/json";
}

function sendText(response: ServerResponse, code: number, text: string, type = "application/json"): void {
  response.writeHead(code, { "content-type": type, "content-length": Buffer.byteLength(text) });
  response.end(text);
}
