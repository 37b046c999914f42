/**
 * A Kubernetes API in memory, for tests of what talks to one: list, watch with history and bookmarks, create, update,
 * merge patch, server-side apply (as a merge), delete, status subresource, TokenReview. No schema, no admission.
 */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { KubeClient, type TokenReview } from "#lib/kube/client.ts";
import type { KubeObject, ResourceType } from "#lib/kube/types.ts";

type Stored = { apiVersion?: string; kind?: string; metadata: Record<string, unknown>; [field: string]: unknown };

interface Change {
  readonly version: number;
  readonly collection: string;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: Stored;
}

interface Watcher {
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly response: http.ServerResponse;
}

const PATH = /^\/(?:api\/v1|apis\/([^/]+)\/([^/]+))(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?(?:\/(status))?$/;

export class FakeKube {
  readonly #server = http.createServer((request, response) => void this.#answer(request, response));
  /** collection -> `namespace/name` -> object */
  readonly #objects = new Map<string, Map<string, Stored>>();
  readonly #watchers = new Set<Watcher>();
  readonly #absent = new Set<string>();
  #history: Change[] = [];
  #version = 100;
  #oldest = 0;
  /** `METHOD path` of every request seen. */
  readonly requests: string[] = [];
  /** Token to what TokenReview says; any other token is not authenticated. */
  readonly tokens = new Map<string, TokenReview>();
  /** Status code with which the next requests are refused, first one first. */
  readonly failures: number[] = [];

  static async start(): Promise<FakeKube> {
    const fake = new FakeKube();
    fake.#server.listen(0, "127.0.0.1");
    await once(fake.#server, "listening");
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  client(): KubeClient {
    return new KubeClient({ server: this.url });
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** As if the CRD of this kind were not installed. */
  uninstall<T extends KubeObject>(type: ResourceType<T>): void {
    this.#absent.add(collectionOf(type));
  }

  install<T extends KubeObject>(type: ResourceType<T>): void {
    this.#absent.delete(collectionOf(type));
  }

  /** Creates or replaces an object, as another client would. Returns it as stored. */
  put<T extends KubeObject>(type: ResourceType<T>, object: T): T {
    return this.#store(collectionOf(type), object as unknown as Stored) as unknown as T;
  }

  remove<T extends KubeObject>(type: ResourceType<T>, namespace: string | undefined, name: string): void {
    this.#delete(collectionOf(type), keyOf(namespace, name));
  }

  read<T extends KubeObject>(type: ResourceType<T>, namespace: string | undefined, name: string): T | undefined {
    return this.#objects.get(collectionOf(type))?.get(keyOf(namespace, name)) as T | undefined;
  }

  /** Ends every open watch; with `forget`, versions up to now are answered with 410 from here on. */
  endWatches(forget = false): void {
    if (forget) {
      this.#history = [];
      this.#oldest = ++this.#version;
    }
    for (const watcher of this.#watchers) watcher.response.end();
    this.#watchers.clear();
  }

  get watches(): number {
    return this.#watchers.size;
  }

  /** Sends a bookmark on every watch. */
  bookmark(): void {
    const object = { metadata: { resourceVersion: String(++this.#version) } };
    for (const watcher of this.#watchers) watcher.response.write(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://fake");
    const method = request.method ?? "GET";
    this.requests.push(`${method} ${request.url}`);
    const failure = this.failures.shift();
    if (failure !== undefined) return refuse(response, failure, "Injected");
    let raw = "";
    for await (const part of request) raw += part;
    const body = raw === "" ? undefined : (JSON.parse(raw) as Stored);
    if (url.pathname.endsWith("/tokenreviews")) return this.#tokenReview(response, body);
    const match = PATH.exec(url.pathname);
    if (match === null) return refuse(response, 404, "NotFound");
    const [, group = "", , namespace, plural = "", name, status] = match;
    const collection = `${group}/${plural}`;
    if (this.#absent.has(collection)) return refuse(response, 404, "NotFound");
    const key = name === undefined ? undefined : keyOf(namespace, name);
    if (method === "GET" && url.searchParams.get("watch") === "true") {
      return this.#watch(response, collection, namespace, Number(url.searchParams.get("resourceVersion")));
    }
    if (method === "GET" && key === undefined) return this.#list(response, collection, namespace, url.searchParams);
    const found = key === undefined ? undefined : this.#objects.get(collection)?.get(key);
    if (method === "POST" && body !== undefined) {
      const taken = this.#objects.get(collection)?.has(keyOf(namespace, String(body.metadata.name))) === true;
      return taken ? refuse(response, 409, "AlreadyExists") : send(response, 201, this.#store(collection, body));
    }
    if (method === "PATCH" && body !== undefined && request.headers["content-type"]?.includes("apply-patch")) {
      return send(response, 200, this.#store(collection, mergePatch(found ?? {}, body) as Stored));
    }
    if (found === undefined || key === undefined) return refuse(response, 404, "NotFound");
    switch (method) {
      case "GET":
        return send(response, 200, found);
      case "PUT": {
        const sent = body?.metadata.resourceVersion;
        if (sent !== undefined && sent !== found.metadata.resourceVersion) return refuse(response, 409, "Conflict");
        const next = status === "status" ? { ...found, status: body?.status } : { ...body };
        return send(response, 200, this.#store(collection, next as Stored));
      }
      case "PATCH":
        return send(response, 200, this.#store(collection, mergePatch(found, body) as Stored));
      case "DELETE":
        this.#delete(collection, key);
        return send(response, 200, { kind: "Status", status: "Success" });
      default:
        return refuse(response, 405, "MethodNotAllowed");
    }
  }

  #list(
    response: http.ServerResponse,
    collection: string,
    namespace: string | undefined,
    query: URLSearchParams,
  ): void {
    const all = [...(this.#objects.get(collection)?.values() ?? [])].filter(
      (object) => namespace === undefined || object.metadata.namespace === namespace,
    );
    const from = Number(query.get("continue") ?? 0);
    const limit = Number(query.get("limit") ?? all.length);
    const items = all.slice(from, from + limit);
    const more = from + limit < all.length ? { continue: String(from + limit) } : {};
    send(response, 200, { metadata: { resourceVersion: String(this.#version), ...more }, items });
  }

  #watch(response: http.ServerResponse, collection: string, namespace: string | undefined, since: number): void {
    if (since < this.#oldest) {
      refuse(response, 410, "Expired");
      return;
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    const watcher = { collection, namespace, response };
    this.#watchers.add(watcher);
    response.on("close", () => this.#watchers.delete(watcher));
    for (const change of this.#history) if (change.version > since) deliver(watcher, change);
  }

  #tokenReview(response: http.ServerResponse, body: Stored | undefined): void {
    const spec = body?.spec as { token?: string; audiences?: string[] } | undefined;
    const review = this.tokens.get(spec?.token ?? "");
    const fits = spec?.audiences?.some((audience) => review?.audiences.includes(audience)) === true;
    const status =
      review === undefined || !fits
        ? { authenticated: false }
        : {
            authenticated: review.authenticated,
            user: { username: review.username, extra: review.extra },
            audiences: review.audiences,
          };
    send(response, 201, { ...body, status });
  }

  #store(collection: string, object: Stored): Stored {
    const objects = this.#objects.get(collection) ?? new Map<string, Stored>();
    this.#objects.set(collection, objects);
    const key = keyOf(object.metadata.namespace as string | undefined, String(object.metadata.name));
    const before = objects.get(key);
    const version = ++this.#version;
    const stored: Stored = {
      ...object,
      metadata: {
        uid: `uid-${version}`,
        creationTimestamp: new Date(1_700_000_000_000 + version * 1000).toISOString(),
        ...before?.metadata,
        ...object.metadata,
        resourceVersion: String(version),
      },
    };
    objects.set(key, stored);
    this.#publish({ version, collection, type: before === undefined ? "ADDED" : "MODIFIED", object: stored });
    return stored;
  }

  #delete(collection: string, key: string): void {
    const found = this.#objects.get(collection)?.get(key);
    if (found === undefined) return;
    this.#objects.get(collection)?.delete(key);
    const version = ++this.#version;
    const object = { ...found, metadata: { ...found.metadata, resourceVersion: String(version) } };
    this.#publish({ version, collection, type: "DELETED", object });
  }

  #publish(change: Change): void {
    this.#history.push(change);
    for (const watcher of this.#watchers) deliver(watcher, change);
  }
}

function deliver(watcher: Watcher, change: Change): void {
  if (watcher.collection !== change.collection) return;
  if (watcher.namespace !== undefined && watcher.namespace !== change.object.metadata.namespace) return;
  watcher.response.write(`${JSON.stringify({ type: change.type, object: change.object })}\n`);
}

function collectionOf<T extends KubeObject>(type: ResourceType<T>): string {
  return `${type.group}/${type.plural}`;
}

function keyOf(namespace: string | undefined, name: string): string {
  return `${namespace ?? ""}/${name}`;
}

function send(response: http.ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

function refuse(response: http.ServerResponse, code: number, reason: string): void {
  send(response, code, { kind: "Status", code, reason, message: `${reason} (fake)` });
}

function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> =
    typeof target === "object" && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete result[field];
    else result[field] = mergePatch(result[field], value);
  }
  return result;
}
