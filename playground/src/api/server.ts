/** The API over HTTPS: authentication, authorization, discovery; what is left is a call of a verb. */
import type { IncomingMessage, ServerResponse } from "node:http";
import https from "node:https";
import type net from "node:net";
import type { Duplex } from "node:stream";
import type { Authenticator, User } from "../auth/authenticator.ts";
import { type AccessAttributes, isAllowed } from "../auth/rbac.ts";
import { ISSUER, type TokenSigner } from "../auth/tokens.ts";
import type { Pod } from "../kinds/types.ts";
import { documentType, sendJson, sendText } from "./answers.ts";
import { type Call, selectedName, verbOf } from "./call.ts";
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
import { ApiError, badRequest, forbidden, notOffered } from "./errors.ts";
import type { WriteOptions } from "./registry.ts";
import { parseResourcePath } from "./request.ts";
import { type VerbParts, Verbs } from "./verbs.ts";

/** Subresources that become something else than HTTP. */
const UPGRADES: readonly string[] = ["exec", "portforward"];

export interface ApiServerParts extends VerbParts {
  readonly authenticator: Authenticator;
  readonly tokens: TokenSigner;
  /** PEM. */
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string };
}

export class ApiServer {
  readonly #parts: ApiServerParts;
  readonly #verbs: Verbs;
  readonly #server: https.Server;

  constructor(parts: ApiServerParts) {
    this.#parts = parts;
    this.#verbs = new Verbs(parts);
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
    await this.#verbs.dispatch(call);
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

  /** Exec and forwarded ports over WebSocket. SPDY, which older clients try, is not offered. */
  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => {});
    try {
      const user = this.#parts.authenticator.authenticate(request);
      if (user === undefined) throw new ApiError(401, "Unauthorized", "Unauthorized");
      const url = new URL(request.url ?? "/", "https://api");
      const call = this.#call(request, undefined as never, user, url);
      this.#authorize(call, "create");
      const { name, namespace, subresource } = call.path;
      if (name === undefined || subresource === undefined || !UPGRADES.includes(subresource)) {
        throw notOffered(`an upgrade for "${subresource ?? ""}"`);
      }
      if (request.headers.upgrade?.toLowerCase() !== "websocket") {
        throw badRequest(
          `${subresource} is offered over WebSocket only: exec to kubectl 1.31 or later, portforward to weft (not to kubectl)`,
        );
      }
      const pod = this.#parts.registry.get(call.resource, namespace, name) as Pod;
      this.#parts.kubelets.upgrade({ pod, verb: subresource, query: call.query }, request, socket, head);
    } catch (error) {
      const known = error instanceof ApiError ? error : new ApiError(500, "InternalError", String(error));
      const body = JSON.stringify(known.toStatus());
      const headers = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
      socket.end(`HTTP/1.1 ${known.code} ${known.reason}\r\n${headers}\r\n\r\n${body}`);
    }
  }
}
