/** The verbs on resources: list, watch, get, create, update, patch, delete, and the subresources. */

import type { Pod } from "../kinds/types.ts";
import { sendJson, sendObject, sendText } from "./answers.ts";
import { type Call, deleteOptions, isWatch, patchType, tableWish } from "./call.ts";
import { badRequest, gone, notOffered } from "./errors.ts";
import { jsonOf } from "./json-cache.ts";
import type { KubeletProxy } from "./kubelet-proxy.ts";
import { isRecord, type JsonRecord, type Obj } from "./objects.ts";
import type { Registry } from "./registry.ts";
import { readDocument, readObject } from "./request.ts";
import { apiVersionOf, isVirtual, keyOf, type Resource } from "./resources.ts";
import type { Reviews } from "./reviews.ts";
import { requestMatcher } from "./selectors.ts";
import { bind, scaleOf, writeScale } from "./subresources.ts";
import { table } from "./table.ts";
import type { Watches } from "./watch.ts";

export interface VerbParts {
  readonly registry: Registry;
  readonly reviews: Reviews;
  readonly watches: Watches;
  readonly kubelets: KubeletProxy;
}

export class Verbs {
  readonly #parts: VerbParts;
  readonly #registry: Registry;

  constructor(parts: VerbParts) {
    this.#parts = parts;
    this.#registry = parts.registry;
  }

  /** Does what an authorized call asks for and answers it. */
  async dispatch(call: Call): Promise<void> {
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
    const registry = this.#registry;
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
    const { store } = this.#registry;
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
    const registry = this.#registry;
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
    const registry = this.#registry;
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
      case "POST portforward":
      case "GET portforward":
        throw badRequest(`${subresource} needs a WebSocket upgrade (kubectl 1.31 or later)`);
      default:
        throw notOffered(`${request.method} of "${subresource}"`);
    }
  }
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
