/**
 * A small client of the Kubernetes API on node:http(s) with kept-alive connections. Why not the official one: see
 * docs/adr/0008-own-kubernetes-client.md.
 */
import http from "node:http";
import https from "node:https";
import type { Env } from "../env.ts";
import { accessFromEnvironment, type KubeAccess } from "./access.ts";
import { KubeError } from "./errors.ts";
import { lines } from "./lines.ts";
import type { KubeList, KubeObject, ResourceType, Status, WatchEvent } from "./types.ts";

/** One object. `namespace` is left out for cluster-scoped kinds. */
export interface ObjectName {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** For example `status`. */
  readonly subresource?: string | undefined;
}

export interface ListOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface WatchOptions extends ListOptions {
  /** Events after this version. */
  readonly resourceVersion: string;
  /** The server ends the watch after this time. */
  readonly timeoutSeconds: number;
}

/** `merge`: RFC 7386. `strategic`: lists merge by key (built-in kinds only). */
export type PatchKind = "merge" | "strategic";

/** What the API says of a bearer token. */
export interface TokenReview {
  readonly authenticated: boolean;
  /** `system:serviceaccount:<namespace>:<name>` for a service account. */
  readonly username: string;
  readonly audiences: readonly string[];
  /** Such as `authentication.kubernetes.io/pod-name`. */
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

export interface KubeLimits {
  /** Milliseconds until a request must be answered; a watch, until it begins. */
  readonly answerMs: number;
  /**
   * Milliseconds without an event after which a watch counts as dead, whatever its connection says: a server that hangs
   * keeps that open. Those of Kubernetes send a bookmark about every minute.
   */
  readonly silenceMs: number;
}

const LIMITS: KubeLimits = { answerMs: 30_000, silenceMs: 150_000 };
/** Objects per page of a list: a page of large pods stays below a few MB. */
const PAGE_SIZE = 500;
/** A list that changes under us is begun anew this often before we give up. */
const LIST_ATTEMPTS = 3;
/** Notices a dead API server between the events of a quiet watch. */
const TCP_KEEPALIVE_MS = 15_000;
/** Watches hold one each; requests beyond wait in line, so that a flood of them does not become one of sockets. */
const MAX_SOCKETS = 100;

const CONTENT_TYPES = {
  json: "application/json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
} as const;

export class KubeClient {
  readonly #access: KubeAccess;
  readonly #agent: http.Agent;
  readonly #basePath: string;
  readonly #url: URL;
  readonly #limits: KubeLimits;

  constructor(access: KubeAccess, limits: KubeLimits = LIMITS) {
    this.#access = access;
    this.#limits = limits;
    this.#url = new URL(access.server);
    this.#basePath = this.#url.pathname.replace(/\/+$/, "");
    const keepAlive = { keepAlive: true, keepAliveMsecs: TCP_KEEPALIVE_MS, maxFreeSockets: 4, maxSockets: MAX_SOCKETS };
    this.#agent =
      this.#url.protocol === "http:"
        ? new http.Agent(keepAlive)
        : new https.Agent({
            ...keepAlive,
            minVersion: "TLSv1.2",
            ...(access.ca === undefined ? {} : { ca: access.ca }),
            ...(access.cert === undefined ? {} : { cert: access.cert }),
            ...(access.key === undefined ? {} : { key: access.key }),
            ...(access.servername === undefined ? {} : { servername: access.servername }),
            rejectUnauthorized: access.skipTlsVerify !== true,
          });
  }

  /** Throws KubeAccessError when there is neither a kubeconfig nor a service account. */
  static fromEnvironment(env: Env): KubeClient {
    return new KubeClient(accessFromEnvironment(env));
  }

  /** `https://host:port`, for messages. */
  get server(): string {
    return this.#access.server;
  }

  /** Closes idle connections and those of open watches. */
  close(): void {
    this.#agent.destroy();
  }

  get<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, options: RequestOptions = {}): Promise<T> {
    return this.#json<T>("GET", objectPath(type, name, options.subresource), options.signal);
  }

  /** All objects, read page by page. */
  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<KubeList<T>> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#listPages(type, options);
      } catch (error) {
        if (!(error instanceof KubeError && error.status === 410) || attempt >= LIST_ATTEMPTS) throw error;
      }
    }
  }

  async #listPages<T extends KubeObject>(type: ResourceType<T>, options: ListOptions): Promise<KubeList<T>> {
    const items: T[] = [];
    let next: string | undefined;
    for (;;) {
      const query = selectorQuery(options);
      query.set("limit", String(PAGE_SIZE));
      if (next !== undefined) query.set("continue", next);
      const path = `${collectionPath(type, options.namespace)}?${query}`;
      const page = await this.#json<KubeList<T>>("GET", path, options.signal);
      for (const item of page.items) items.push(item);
      next = page.metadata.continue === "" ? undefined : page.metadata.continue;
      if (next === undefined) return { metadata: { resourceVersion: page.metadata.resourceVersion }, items };
    }
  }

  /** Ends when the server ends the watch. Throws KubeError, with status 410 when the version is too old. */
  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    const query = selectorQuery(options);
    query.set("watch", "true");
    query.set("allowWatchBookmarks", "true");
    query.set("resourceVersion", options.resourceVersion);
    query.set("timeoutSeconds", String(options.timeoutSeconds));
    const path = `${collectionPath(type, options.namespace)}?${query}`;
    const { silenceMs } = this.#limits;
    const response = await this.#open("GET", path, undefined, undefined, options.signal, silenceMs);
    try {
      for await (const line of lines(response)) {
        const event = JSON.parse(line) as WatchEvent<T> | { type: "ERROR"; object: Status };
        if (event.type === "ERROR") throw KubeError.fromStatus(`GET ${path}`, event.object.code ?? 500, event.object);
        yield event;
      }
    } catch (error) {
      throw asKubeError(error, `GET ${path}`);
    } finally {
      response.destroy();
    }
  }

  create<T extends KubeObject>(type: ResourceType<T>, object: T, options: RequestOptions = {}): Promise<T> {
    const path = collectionPath(type, object.metadata.namespace);
    return this.#json<T>("POST", path, options.signal, CONTENT_TYPES.json, withKind(type, object));
  }

  /** Replaces the whole object; a stale resourceVersion is a conflict (409). */
  update<T extends KubeObject>(type: ResourceType<T>, object: T, options: RequestOptions = {}): Promise<T> {
    const path = objectPath(type, object.metadata, options.subresource);
    return this.#json<T>("PUT", path, options.signal, CONTENT_TYPES.json, withKind(type, object));
  }

  patch<T extends KubeObject>(
    type: ResourceType<T>,
    name: ObjectName,
    kind: PatchKind,
    patch: unknown,
    options: RequestOptions = {},
  ): Promise<T> {
    return this.#json<T>(
      "PATCH",
      objectPath(type, name, options.subresource),
      options.signal,
      CONTENT_TYPES[kind],
      patch,
    );
  }

  /** Server-side apply: `object` holds exactly the fields that `fieldManager` owns; conflicts are taken over. */
  apply<T extends KubeObject>(
    type: ResourceType<T>,
    object: T,
    fieldManager: string,
    options: RequestOptions & { readonly dryRun?: boolean } = {},
  ): Promise<T> {
    const query = new URLSearchParams({ fieldManager, force: "true", ...(options.dryRun ? { dryRun: "All" } : {}) });
    const path = `${objectPath(type, object.metadata, options.subresource)}?${query}`;
    return this.#json<T>("PATCH", path, options.signal, CONTENT_TYPES.apply, withKind(type, object));
  }

  async delete<T extends KubeObject>(
    type: ResourceType<T>,
    name: ObjectName,
    options: RequestOptions = {},
  ): Promise<void> {
    await this.#json<unknown>("DELETE", objectPath(type, name, options.subresource), options.signal);
  }

  /** Asks the API whether `token` is good for one of `audiences` (all must be empty for the API's own). */
  async reviewToken(token: string, audiences: readonly string[], signal?: AbortSignal): Promise<TokenReview> {
    const review = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token, audiences } };
    const path = "/apis/authentication.k8s.io/v1/tokenreviews";
    const answer = await this.#json<{
      status?: {
        authenticated?: boolean;
        user?: { username?: string; extra?: Record<string, string[]> };
        audiences?: string[];
      };
    }>("POST", path, signal, CONTENT_TYPES.json, review);
    return {
      authenticated: answer.status?.authenticated === true,
      username: answer.status?.user?.username ?? "",
      audiences: answer.status?.audiences ?? [],
      extra: answer.status?.user?.extra ?? {},
    };
  }

  /** An answer that is no object, such as `/version` or a container's log; to be read or destroyed by the caller. */
  open(path: string, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<http.IncomingMessage> {
    return this.#open("GET", path, undefined, undefined, options.signal);
  }

  async #json<R>(method: string, path: string, signal?: AbortSignal, contentType?: string, body?: unknown): Promise<R> {
    const limit = AbortSignal.timeout(this.#limits.answerMs);
    const either = signal === undefined ? limit : AbortSignal.any([signal, limit]);
    const response = await this.#open(method, path, contentType, body, either);
    try {
      return JSON.parse(await text(response)) as R;
    } catch (error) {
      throw asKubeError(error, `${method} ${path}`);
    }
  }

  /** Sends the request; resolves with a successful response whose body is still to be read. */
  async #open(
    method: string,
    path: string,
    contentType: string | undefined,
    body: unknown,
    signal: AbortSignal | undefined,
    silenceMs?: number,
  ): Promise<http.IncomingMessage> {
    const what = `${method} ${path}`;
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers: http.OutgoingHttpHeaders = { accept: "application/json", "user-agent": "weft" };
    if (contentType !== undefined) headers["content-type"] = contentType;
    if (payload !== undefined) headers["content-length"] = payload.length;
    try {
      const authorization = this.#access.authorization?.();
      if (authorization !== undefined && authorization !== "") headers.authorization = authorization;
      const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
        const transport = this.#url.protocol === "http:" ? http : https;
        const request = transport.request({
          agent: this.#agent,
          host: this.#url.hostname.replace(/^\[|\]$/g, ""),
          port: this.#url.port === "" ? undefined : this.#url.port,
          method,
          path: this.#basePath + path,
          headers,
          ...(signal === undefined ? {} : { signal }),
          ...(silenceMs === undefined ? {} : { timeout: silenceMs }),
        });
        const { answerMs } = this.#limits;
        const unanswered = setTimeout(() => request.destroy(new Error(`no answer for ${answerMs} ms`)), answerMs);
        request.on("response", resolve);
        request.on("error", reject);
        for (const event of ["response", "close"]) request.on(event, () => clearTimeout(unanswered));
        request.on("timeout", () => request.destroy(new Error(`no event for ${silenceMs} ms`)));
        request.end(payload);
      });
      const code = response.statusCode ?? 0;
      if (code >= 200 && code < 300) return response;
      throw KubeError.fromStatus(what, code, parseStatus(await text(response)));
    } catch (error) {
      throw asKubeError(error, what);
    }
  }
}

/** `/api/v1/namespaces/<ns>/pods` or `/apis/<group>/<version>/...`. */
export function collectionPath<T extends KubeObject>(type: ResourceType<T>, namespace?: string): string {
  const base = type.group === "" ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  const scope = type.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${base}${scope}/${type.plural}`;
}

export function objectPath<T extends KubeObject>(
  type: ResourceType<T>,
  name: ObjectName,
  subresource?: string,
): string {
  const path = `${collectionPath(type, name.namespace)}/${encodeURIComponent(name.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

function selectorQuery(options: ListOptions): URLSearchParams {
  const query = new URLSearchParams();
  if (options.labelSelector !== undefined) query.set("labelSelector", options.labelSelector);
  if (options.fieldSelector !== undefined) query.set("fieldSelector", options.fieldSelector);
  return query;
}

function withKind<T extends KubeObject>(type: ResourceType<T>, object: T): T {
  const apiVersion = type.group === "" ? type.version : `${type.group}/${type.version}`;
  return { ...object, apiVersion, kind: type.kind };
}

async function text(response: http.IncomingMessage): Promise<string> {
  response.setEncoding("utf8");
  let whole = "";
  for await (const part of response) whole += part;
  return whole;
}

function parseStatus(body: string): Status | undefined {
  try {
    return JSON.parse(body) as Status;
  } catch {
    return body === "" ? undefined : { message: body.slice(0, 200) };
  }
}

function asKubeError(error: unknown, what: string): unknown {
  if (error instanceof KubeError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new KubeError(0, "Unreachable", what, `no answer from the Kubernetes API: ${message}`, error);
}
