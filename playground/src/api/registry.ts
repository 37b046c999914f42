/** Reading and writing objects with the semantics of the Kubernetes API, without HTTP. */
import { randomUUID } from "node:crypto";
import type { KindRules } from "../kinds/rules.ts";
import type { Pod } from "../kinds/types.ts";
import { BUILT_IN_KEYS, CUSTOM_KEYS, serverSideApply } from "./apply.ts";
import { ApiError, alreadyExists, badRequest, conflict, FieldErrors, forbidden, notFound, STALE } from "./errors.ts";
import { invalidName, randomSuffix, validateMeta, validateName } from "./naming.ts";
import { clone, isRecord, type JsonRecord, type Meta, type Obj, sameJson, timestamp } from "./objects.ts";
import { jsonPatch, mergePatch, strategicMergePatch } from "./patch.ts";
import { apiVersionOf, type Catalogue, collectionOf, keyOf, type Resource } from "./resources.ts";
import { pruneAndDefault, validateSchema } from "./schema.ts";
import type { Matcher } from "./selectors.ts";
import type { Store } from "./store.ts";

export interface WriteOptions {
  readonly dryRun?: boolean;
  /** What to do about fields that a schema does not know. */
  readonly fieldValidation?: "Ignore" | "Warn" | "Strict";
  /** Collects warnings for the client. */
  readonly warnings?: string[];
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagationPolicy?: string | undefined;
  readonly preconditions?: { uid?: string; resourceVersion?: string } | undefined;
  readonly dryRun?: boolean;
}

export type PatchType = "json" | "merge" | "strategic" | "apply";

export interface ApplyOptions extends WriteOptions {
  readonly fieldManager: string;
  readonly force: boolean;
}

const DEFAULT_GRACE_SECONDS = 30;
export const FOREGROUND = "foregroundDeletion";

export class Registry {
  readonly store: Store;
  readonly catalogue: Catalogue;
  readonly #rules = new Map<string, KindRules>();

  constructor(store: Store, catalogue: Catalogue) {
    this.store = store;
    this.catalogue = catalogue;
  }

  setRules(collection: string, rules: KindRules): void {
    this.#rules.set(collection, rules);
  }

  get(resource: Resource, namespace: string | undefined, name: string): Obj {
    const found = this.find(resource, namespace, name);
    if (found === undefined) throw notFound(resource, name);
    return found;
  }

  find(resource: Resource, namespace: string | undefined, name: string): Obj | undefined {
    const stored = this.store.get(collectionOf(resource), keyOf(resource, namespace, name));
    return stored === undefined ? undefined : asVersion(stored, resource);
  }

  list(resource: Resource, namespace: string | undefined, matches: Matcher): Obj[] {
    const stored = this.store.list(collectionOf(resource), resource.namespaced ? namespace : undefined);
    return stored.filter(matches).map((object) => asVersion(object, resource));
  }

  create(resource: Resource, namespace: string | undefined, input: JsonRecord, options: WriteOptions = {}): Obj {
    const object = this.#accept(resource, namespace, input);
    const given = object.metadata;
    if (!given.name && given.generateName) given.name = this.#generateName(resource, namespace, given.generateName);
    if (!given.name) throw invalidName(resource, "", "name or generateName is required");
    validateName(resource, given.name);
    if (resource.namespaced) this.#requireNamespace(namespace ?? "", resource, given.name);
    const key = keyOf(resource, namespace, given.name);
    if (this.store.get(collectionOf(resource), key) !== undefined) throw alreadyExists(resource, given.name);
    if (given.resourceVersion) throw badRequest("resourceVersion should not be set on objects to be created");
    object.metadata = {
      ...pickMeta(given),
      name: given.name,
      ...(resource.namespaced ? { namespace: namespace ?? "" } : {}),
      uid: randomUUID(),
      resourceVersion: "",
      generation: 1,
      creationTimestamp: timestamp(),
      ...(given.managedFields === undefined ? {} : { managedFields: given.managedFields }),
    };
    if (resource.subresources.includes("status")) delete object.status;
    const rules = this.#rules.get(collectionOf(resource));
    this.#shape(resource, object, options);
    rules?.defaults?.(object);
    this.#validate(resource, object, undefined);
    rules?.admit?.(object);
    if (options.dryRun) return object;
    const stored = this.store.put(collectionOf(resource), key, object);
    rules?.stored?.(stored);
    return stored;
  }

  /** `subresource` is undefined or "status": only that part of the object changes. */
  update(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    input: JsonRecord,
    options: WriteOptions & { subresource?: string | undefined } = {},
  ): Obj {
    const current = this.get(resource, namespace, name);
    const object = this.#accept(resource, namespace, input);
    if (object.metadata.name !== name) {
      const message = `the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`;
      throw badRequest(message);
    }
    const version = object.metadata.resourceVersion;
    if (version && version !== current.metadata.resourceVersion) throw conflict(resource, name, STALE);
    const uid = object.metadata.uid;
    if (uid && uid !== current.metadata.uid) {
      const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current.metadata.uid}`;
      throw conflict(resource, name, why);
    }
    return this.#write(resource, namespace, current, object, options);
  }

  patch(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    type: Exclude<PatchType, "apply">,
    patch: unknown,
    options: WriteOptions & { subresource?: string | undefined } = {},
  ): Obj {
    const current = this.get(resource, namespace, name);
    if (type === "strategic" && resource.custom !== undefined) {
      const message =
        "the body of the request was in an unknown format - accepted media types include: " +
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
      throw new ApiError(415, "UnsupportedMediaType", message);
    }
    const apply = { json: jsonPatch, merge: mergePatch, strategic: strategicMergePatch }[type];
    const patched = apply(current, patch);
    if (!isRecord(patched)) throw badRequest("the patch leaves no object");
    return this.update(resource, namespace, name, patched, options);
  }

  /** Server-side apply. Returns the object and whether it is new. */
  apply(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    applied: JsonRecord,
    options: ApplyOptions & { subresource?: string | undefined },
  ): { object: Obj; isNew: boolean } {
    const meta = isRecord(applied.metadata) ? applied.metadata : {};
    if (meta.name !== undefined && meta.name !== name) throw badRequest("the name does not match the name on the URL");
    if (meta.managedFields !== undefined) throw badRequest("metadata.managedFields must be nil");
    const current = this.find(resource, namespace, name);
    if (current === undefined && options.subresource !== undefined) throw notFound(resource, name);
    const merged = serverSideApply(current, applied, {
      manager: options.fieldManager,
      force: options.force,
      keyOf: resource.custom === undefined ? BUILT_IN_KEYS : CUSTOM_KEYS,
      subresource: options.subresource,
    });
    if (current === undefined) {
      merged.metadata = { ...(merged.metadata as JsonRecord), name };
      return { object: this.create(resource, namespace, merged, options), isNew: true };
    }
    const object = this.#accept(resource, namespace, merged);
    const fields = object.metadata.managedFields;
    const before = current.metadata.managedFields;
    // The time alone is no change.
    if (before !== undefined && fields !== undefined && sameJson(before.map(timeless), fields.map(timeless))) {
      object.metadata.managedFields = before;
    }
    return { object: this.#write(resource, namespace, current, object, options), isNew: false };
  }

  /** Returns the object while it waits for its end, or undefined when it is gone at once. */
  delete(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): { object: Obj; isGone: boolean } {
    const current = this.get(resource, namespace, name);
    const { preconditions } = options;
    if (preconditions?.uid && preconditions.uid !== current.metadata.uid) {
      const message = `Precondition failed: UID in precondition: ${preconditions.uid}, UID in object meta: ${current.metadata.uid}`;
      throw conflict(resource, name, message);
    }
    if (preconditions?.resourceVersion && preconditions.resourceVersion !== current.metadata.resourceVersion) {
      throw conflict(resource, name, STALE);
    }
    if (options.dryRun) return { object: current, isGone: true };
    const object = clone(current);
    const meta = object.metadata;
    if (options.propagationPolicy === "Orphan") this.#orphanDependents(meta.uid);
    if (options.propagationPolicy === "Foreground" && !meta.finalizers?.includes(FOREGROUND)) {
      meta.finalizers = [...(meta.finalizers ?? []), FOREGROUND];
    }
    const grace = graceOf(resource, object, options.gracePeriodSeconds);
    const waits = grace > 0 || (meta.finalizers ?? []).length > 0 || isNamespace(resource);
    if (!waits) {
      this.#remove(resource, namespace, name);
      return { object: current, isGone: true };
    }
    if (meta.deletionTimestamp === undefined || grace < (meta.deletionGracePeriodSeconds ?? 0)) {
      meta.deletionTimestamp = timestamp(new Date(Date.now() + grace * 1000));
      meta.deletionGracePeriodSeconds = grace;
      meta.generation = (meta.generation ?? 1) + 1;
    }
    if (isNamespace(resource)) object.status = { phase: "Terminating" };
    if (sameJson(object, current)) return { object: current, isGone: false };
    return { object: this.#put(resource, namespace, object), isGone: false };
  }

  /** Ends what waited in `delete`: the last finalizer is gone, the namespace is empty. */
  finalize(resource: Resource, namespace: string | undefined, name: string): void {
    this.#remove(resource, namespace, name);
  }

  /** Stores a status that a controller of ours has worked out; nothing happens when it is the same. */
  setStatus(resource: Resource, object: Obj, status: unknown): void {
    const { namespace, name } = object.metadata;
    const current = this.find(resource, namespace, name);
    if (current === undefined || current.metadata.uid !== object.metadata.uid || sameJson(current.status, status))
      return;
    this.#put(resource, namespace, { ...current, metadata: { ...current.metadata }, status });
  }

  #write(
    resource: Resource,
    namespace: string | undefined,
    current: Obj,
    input: Obj,
    options: WriteOptions & { subresource?: string | undefined },
  ): Obj {
    const name = current.metadata.name;
    let object = input;
    const isStatus = options.subresource === "status";
    if (isStatus) {
      // As Kubernetes does for pods and nodes: labels and annotations may come with a status.
      object = { ...clone(current), status: input.status };
      if (resource.custom === undefined) object.metadata = { ...pickMeta(input.metadata), ...serverMeta(current) };
    } else if (resource.subresources.includes("status")) {
      if (current.status === undefined) delete object.status;
      else object.status = clone(current.status);
    }
    object.metadata = {
      ...pickMeta(object.metadata),
      ...serverMeta(current),
      ...(input.metadata.managedFields === undefined ? {} : { managedFields: input.metadata.managedFields }),
    };
    const rules = this.#rules.get(collectionOf(resource));
    this.#shape(resource, object, options);
    rules?.defaults?.(object);
    if (!isStatus) rules?.carry?.(object, current);
    this.#validate(resource, object, current);
    if (!sameJson(substance(object), substance(current))) {
      object.metadata.generation = (current.metadata.generation ?? 1) + 1;
    }
    if (options.dryRun || sameJson(object, current)) return object;
    const isOver = object.metadata.deletionTimestamp !== undefined && (object.metadata.finalizers ?? []).length === 0;
    if (isOver && (current.metadata.finalizers ?? []).length > 0 && graceOf(resource, object, undefined) === 0) {
      if (!isNamespace(resource)) {
        this.#remove(resource, namespace, name);
        return object;
      }
    }
    const stored = this.#put(resource, namespace, object);
    rules?.stored?.(stored);
    return stored;
  }

  #put(resource: Resource, namespace: string | undefined, object: Obj): Obj {
    return this.store.put(collectionOf(resource), keyOf(resource, namespace, object.metadata.name), object);
  }

  #remove(resource: Resource, namespace: string | undefined, name: string): void {
    const removed = this.store.remove(collectionOf(resource), keyOf(resource, namespace, name));
    if (removed !== undefined) this.#rules.get(collectionOf(resource))?.removed?.(removed);
  }

  /** Checks what must fit the URL and returns a copy that may be changed. */
  #accept(resource: Resource, namespace: string | undefined, input: JsonRecord): Obj {
    const object = clone(input) as Obj;
    object.apiVersion ??= apiVersionOf(resource);
    object.kind ??= resource.kind;
    if (object.apiVersion !== apiVersionOf(resource) || object.kind !== resource.kind) {
      const expected = `${apiVersionOf(resource)}, Kind=${resource.kind}`;
      throw badRequest(`the object is ${object.apiVersion}, Kind=${object.kind}; expected ${expected}`);
    }
    if (!isRecord(object.metadata)) object.metadata = {} as Meta;
    const given = object.metadata.namespace;
    if (resource.namespaced && given !== undefined && given !== "" && given !== namespace) {
      const message = `the namespace of the provided object does not match the namespace sent on the request`;
      throw badRequest(message);
    }
    return object;
  }

  /** Custom resources: unknown fields go, defaults come. */
  #shape(resource: Resource, object: Obj, options: WriteOptions): void {
    const schema = resource.custom?.schema;
    if (schema === undefined) return;
    const { apiVersion: _a, kind: _k, metadata: _m, ...body } = object;
    const { properties: { apiVersion: _pa, kind: _pk, metadata: _pm, ...properties } = {}, ...rest } = schema;
    const unknown = pruneAndDefault(body, { ...rest, properties }, "");
    for (const field of Object.keys(object)) if (!IDENTITY.has(field) && !(field in body)) delete object[field];
    Object.assign(object, body);
    if (unknown.length === 0) return;
    const messages = unknown.map((path) => `unknown field "${path}"`);
    if (options.fieldValidation === "Strict") {
      throw badRequest(
        `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: strict decoding error: ${messages.join(", ")}`,
      );
    }
    if (options.fieldValidation !== "Ignore") options.warnings?.push(...messages);
  }

  #validate(resource: Resource, object: Obj, old: Obj | undefined): void {
    const errors = new FieldErrors();
    validateMeta(object.metadata, errors);
    const schema = resource.custom?.schema;
    if (schema !== undefined) {
      const { apiVersion: _a, kind: _k, metadata: _m, ...body } = object;
      validateSchema(body, schema, "", errors);
      const required = new Set(["apiVersion", "kind", "metadata"]);
      errors.causes.splice(0, errors.causes.length, ...errors.causes.filter((each) => !required.has(each.field)));
    }
    this.#rules.get(collectionOf(resource))?.validate?.(object, old, errors);
    errors.throwIfAny(resource, object.metadata.name);
  }

  #requireNamespace(namespace: string, resource: Resource, name: string): void {
    const namespaces = this.catalogue.builtIn("namespaces");
    const found = this.store.get("namespaces", namespace);
    if (found === undefined) throw notFound(namespaces, namespace);
    if (found.metadata.deletionTimestamp !== undefined) {
      const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
      throw forbidden(`${collectionOf(resource)} "${name}" is forbidden: ${why}`);
    }
  }

  #generateName(resource: Resource, namespace: string | undefined, prefix: string): string {
    for (;;) {
      const name = prefix + randomSuffix();
      if (this.find(resource, namespace, name) === undefined) return name;
    }
  }

  #orphanDependents(uid: string): void {
    for (const collection of [...this.store.collections()]) {
      for (const object of [...this.store.values(collection)]) {
        const owners = object.metadata.ownerReferences;
        if (!owners?.some((owner) => owner.uid === uid)) continue;
        const copy = clone(object);
        copy.metadata.ownerReferences = owners.filter((owner) => owner.uid !== uid);
        const { namespace, name } = copy.metadata;
        this.store.put(collection, namespace === undefined ? name : `${namespace}/${name}`, copy);
      }
    }
  }
}

const IDENTITY = new Set(["apiVersion", "kind", "metadata"]);

/** All versions of a custom kind share one stored form; only the version's name differs. */
export function asVersion(object: Obj, resource: Resource): Obj {
  const apiVersion = apiVersionOf(resource);
  return object.apiVersion === apiVersion ? object : { ...object, apiVersion };
}

function pickMeta(meta: Meta): Meta {
  const { labels, annotations, finalizers, ownerReferences, generateName } = meta;
  return {
    ...(generateName ? { generateName } : {}),
    ...(isRecord(labels) && Object.keys(labels).length > 0 ? { labels } : {}),
    ...(isRecord(annotations) && Object.keys(annotations).length > 0 ? { annotations } : {}),
    ...(finalizers && finalizers.length > 0 ? { finalizers } : {}),
    ...(ownerReferences && ownerReferences.length > 0 ? { ownerReferences } : {}),
  } as Meta;
}

function serverMeta(current: Obj): Meta {
  const { labels: _l, annotations: _a, finalizers: _f, ownerReferences: _o, ...rest } = current.metadata;
  return rest;
}

function timeless(entry: { time: string }): unknown {
  return { ...entry, time: "" };
}

/** What counts for the generation: everything but metadata and status. */
function substance(object: Obj): unknown {
  const { apiVersion: _a, kind: _k, metadata: _m, status: _s, ...rest } = object;
  return rest;
}

function isNamespace(resource: Resource): boolean {
  return resource.group === "" && resource.plural === "namespaces";
}

/** Only pods that run somewhere get time to end. */
function graceOf(resource: Resource, object: Obj, asked: number | undefined): number {
  if (resource.group !== "" || resource.plural !== "pods") return 0;
  const pod = object as Pod;
  if (!pod.spec.nodeName || pod.status.phase === "Succeeded" || pod.status.phase === "Failed") return 0;
  if (asked !== undefined) return Math.max(0, asked);
  return pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
}
