/** Watches: from a resourceVersion on, with bookmarks, a time limit, and 410 when the history no longer reaches back. */
import type { ServerResponse } from "node:http";
import { type ApiError, badRequest, gone } from "./errors.ts";
import { jsonOf } from "./json-cache.ts";
import type { JsonRecord, Obj } from "./objects.ts";
import { asVersion, type Registry } from "./registry.ts";
import { apiVersionOf, collectionOf, type Resource } from "./resources.ts";
import type { Matcher } from "./selectors.ts";
import type { StoreEvent } from "./store.ts";
import { table } from "./table.ts";

export interface WatchRequest {
  readonly resource: Resource;
  readonly namespace?: string | undefined;
  readonly matches: Matcher;
  readonly query: URLSearchParams;
  /** What of each object a table carries; undefined: no table. */
  readonly tableInclude?: string | undefined;
}

/** A client that reads so slowly is cut off; it resumes from its last version. */
const MAX_BUFFERED_BYTES = 64 * 1024 * 1024;
/** Spread, so that not all watches end at once. */
const DEFAULT_SECONDS = { least: 1800, most: 3600 } as const;

export class Watches {
  readonly #registry: Registry;
  readonly #bookmarkMs: number;
  readonly #ends = new Set<() => void>();

  constructor(registry: Registry, bookmarkMs: number) {
    this.#registry = registry;
    this.#bookmarkMs = bookmarkMs;
  }

  /** Ends all of them, for a stop of the server. */
  close(): void {
    for (const end of [...this.#ends]) end();
  }

  /** Answers with events until the client leaves or the time is up. */
  serve(request: WatchRequest, response: ServerResponse): void {
    const { resource, query, matches } = request;
    const { store } = this.#registry;
    const send = new EventWriter(request, response);
    response.writeHead(200, { "content-type": "application/json", "cache-control": "no-cache" });
    response.flushHeaders();

    const asked = query.get("resourceVersion") ?? "";
    const wantsInitial = query.get("sendInitialEvents") === "true";
    if (asked === "" || asked === "0" || wantsInitial) {
      for (const object of this.#registry.list(resource, request.namespace, matches)) send.event("ADDED", object);
      if (wantsInitial) send.bookmark(store.revision, true);
    } else {
      if (!/^\d+$/.test(asked)) {
        send.error(badRequest(`invalid resource version "${asked}"`));
        return;
      }
      const missed = store.eventsSince(collectionOf(resource), Number(asked));
      if (missed === undefined) {
        send.error(gone(`too old resource version: ${asked} (${store.revision})`));
        return;
      }
      for (const event of missed) send.transition(event);
    }
    const unsubscribe = store.subscribe(collectionOf(resource), (event) => send.transition(event));
    const bookmarks =
      query.get("allowWatchBookmarks") === "true"
        ? setInterval(() => send.bookmark(store.revision, false), this.#bookmarkMs)
        : undefined;
    const end = () => {
      if (bookmarks !== undefined) send.bookmark(store.revision, false);
      response.end();
    };
    const limit = setTimeout(end, watchSeconds(query) * 1000);
    this.#ends.add(end);
    response.on("close", () => {
      unsubscribe();
      clearInterval(bookmarks);
      clearTimeout(limit);
      this.#ends.delete(end);
    });
  }
}

function watchSeconds(query: URLSearchParams): number {
  const asked = Number(query.get("timeoutSeconds") ?? 0);
  if (asked > 0) return Math.min(asked, 86_400);
  return DEFAULT_SECONDS.least + Math.random() * (DEFAULT_SECONDS.most - DEFAULT_SECONDS.least);
}

class EventWriter {
  readonly #request: WatchRequest;
  readonly #response: ServerResponse;

  constructor(request: WatchRequest, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
  }

  /** An event of the store as this watch sees it: an object may come into view or leave it. */
  transition(event: StoreEvent): void {
    const { namespace, matches, resource } = this.#request;
    if (namespace !== undefined && event.object.metadata.namespace !== namespace) return;
    const now = event.type !== "DELETED" && matches(event.object);
    const before = event.previous !== undefined && matches(event.previous);
    if (!now && !before) return;
    const object = asVersion(event.object, resource);
    if (now) this.event(before ? "MODIFIED" : "ADDED", object);
    else this.event("DELETED", object);
  }

  event(type: string, object: Obj): void {
    const include = this.#request.tableInclude;
    const text =
      include === undefined
        ? jsonOf(object)
        : JSON.stringify(
            table(this.#request.resource, [object], { resourceVersion: object.metadata.resourceVersion }, include),
          );
    this.#line(type, text);
  }

  bookmark(revision: number, endsInitial: boolean): void {
    const { resource, tableInclude } = this.#request;
    const metadata: JsonRecord = {
      resourceVersion: String(revision),
      ...(endsInitial ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
    };
    const object =
      tableInclude === undefined
        ? { kind: resource.kind, apiVersion: apiVersionOf(resource), metadata }
        : table(resource, [], metadata, tableInclude);
    this.#line("BOOKMARK", JSON.stringify(object));
  }

  error(error: ApiError): void {
    this.#line("ERROR", JSON.stringify(error.toStatus()));
    this.#response.end();
  }

  #line(type: string, object: string): void {
    if (this.#response.destroyed || this.#response.writableEnded) return;
    this.#response.write(`{"type":"${type}","object":${object}}\n`);
    if (this.#response.writableLength > MAX_BUFFERED_BYTES) this.#response.destroy();
  }
}
