/**
 * Server-side apply. Ownership is kept per manager that applies; writers that update or patch own nothing here, so
 * conflicts arise between appliers only.
 */
import { ApiError } from "./errors.ts";
import { clone, isRecord, type JsonRecord, type ManagedFields, type Obj, sameJson, timestamp } from "./objects.ts";
import { mergeKeyOf } from "./patch.ts";

/** Which key merges a list, or undefined when the list is one value. */
export type KeyOf = (field: string, elements: readonly unknown[]) => string | undefined;

/** A tree of owned fields, as in `metadata.managedFields`. A leaf is an empty record. */
type FieldSet = Record<string, unknown>;

export const BUILT_IN_KEYS: KeyOf = mergeKeyOf;
/** Of custom resources only conditions merge by key: what the schema calls a map list is rarely more. */
export const CUSTOM_KEYS: KeyOf = (field, elements) =>
  field === "conditions" ? mergeKeyOf(field, elements) : undefined;

/** The object after `manager` applied `applied`. Throws 409 when another applier holds a different value. */
export function serverSideApply(
  current: Obj | undefined,
  applied: JsonRecord,
  options: { manager: string; force: boolean; keyOf: KeyOf; subresource?: string | undefined },
): JsonRecord {
  const { manager, keyOf } = options;
  const owned = fieldSet(withoutIdentity(applied), keyOf);
  const entries = current?.metadata.managedFields ?? [];
  const mine = (entry: ManagedFields) =>
    entry.manager === manager && entry.operation === "Apply" && entry.subresource === options.subresource;
  const others = entries.filter((entry) => !mine(entry));

  const base: JsonRecord = current === undefined ? {} : clone(current);
  const before = entries.find(mine)?.fieldsV1 ?? {};
  removeDropped(
    base,
    before,
    owned,
    others.map((entry) => entry.fieldsV1),
  );
  const merged = merge(base, applied, keyOf) as JsonRecord;

  const conflicts: string[] = [];
  const kept = others.map((entry) => {
    const taken = changedWithin(entry.fieldsV1, owned, current ?? {}, merged, "");
    if (taken.length === 0) return entry;
    if (!options.force) {
      conflicts.push(...taken.map((path) => `conflict with "${entry.manager}": ${path}`));
      return entry;
    }
    return { ...entry, fieldsV1: minus(entry.fieldsV1, taken) };
  });
  if (conflicts.length > 0) {
    const count = `${conflicts.length} conflict${conflicts.length === 1 ? "" : "s"}`;
    const causes = conflicts.map((message) => ({
      reason: "FieldManagerConflict",
      message: message.replace(/: \.[^:]*$/, ""),
      field: message.replace(/^.*": /, ""),
    }));
    throw new ApiError(409, "Conflict", `Apply failed with ${count}: ${conflicts.join("; ")}`, { causes });
  }
  const metadata = (isRecord(merged.metadata) ? merged.metadata : {}) as JsonRecord;
  metadata.managedFields = [
    ...kept,
    {
      manager,
      operation: "Apply",
      apiVersion: String(applied.apiVersion),
      time: timestamp(),
      fieldsType: "FieldsV1",
      fieldsV1: owned,
      ...(options.subresource === undefined ? {} : { subresource: options.subresource }),
    },
  ];
  merged.metadata = metadata;
  return merged;
}

function withoutIdentity(applied: JsonRecord): JsonRecord {
  const { apiVersion: _v, kind: _k, metadata, ...rest } = applied;
  const { name: _n, namespace: _ns, ...meta } = isRecord(metadata) ? metadata : {};
  return Object.keys(meta).length === 0 ? rest : { ...rest, metadata: meta };
}

function fieldSet(value: JsonRecord, keyOf: KeyOf): FieldSet {
  const set: FieldSet = {};
  for (const [field, inner] of Object.entries(value)) set[`f:${field}`] = innerSet(field, inner, keyOf);
  return set;
}

function innerSet(field: string, inner: unknown, keyOf: KeyOf): FieldSet {
  if (isRecord(inner)) return fieldSet(inner, keyOf);
  if (!Array.isArray(inner)) return {};
  const key = keyOf(field, inner);
  if (key === undefined) return {};
  const set: FieldSet = {};
  for (const item of inner) {
    if (isRecord(item)) set[elementName(key, item)] = { ".": {}, ...fieldSet(item, keyOf) };
  }
  return set;
}

function elementName(key: string, item: JsonRecord): string {
  return `k:${JSON.stringify({ [key]: item[key] })}`;
}

/** The element of a list that a set's `k:{"name":"x"}` names. */
function findElement(list: readonly unknown[], name: string): number {
  const [key = "", value] = Object.entries(JSON.parse(name.slice(2)) as JsonRecord)[0] ?? [];
  return list.findIndex((item) => isRecord(item) && item[key] === value);
}

function isLeaf(set: unknown): boolean {
  return !isRecord(set) || Object.keys(set).every((key) => key === ".");
}

/** Removes what the manager applied before, applies no longer, and nobody else applies. */
function removeDropped(target: unknown, before: FieldSet, now: FieldSet, others: readonly FieldSet[]): void {
  for (const [name, inner] of Object.entries(before)) {
    if (name === ".") continue;
    const nowInner = now[name];
    const othersInner = others.map((other) => other[name]).filter(isRecord);
    if (nowInner === undefined && othersInner.length === 0) {
      removeNamed(target, name);
    } else {
      const child = childOf(target, name);
      if (child !== undefined && isRecord(inner)) {
        removeDropped(child, inner, isRecord(nowInner) ? nowInner : {}, othersInner);
      }
    }
  }
}

function childOf(target: unknown, name: string): unknown {
  if (name.startsWith("f:") && isRecord(target)) return target[name.slice(2)];
  if (name.startsWith("k:") && Array.isArray(target)) return target[findElement(target, name)];
  return undefined;
}

function removeNamed(target: unknown, name: string): void {
  if (name.startsWith("f:") && isRecord(target)) delete target[name.slice(2)];
  else if (name.startsWith("k:") && Array.isArray(target)) {
    const at = findElement(target, name);
    if (at >= 0) target.splice(at, 1);
  }
}

function merge(target: unknown, applied: unknown, keyOf: KeyOf, field = ""): unknown {
  if (isRecord(applied)) {
    const result: JsonRecord = isRecord(target) ? { ...target } : {};
    for (const [key, value] of Object.entries(applied)) {
      if (value === null) delete result[key];
      else result[key] = merge(result[key], value, keyOf, key);
    }
    return result;
  }
  if (!Array.isArray(applied)) return applied;
  const current = Array.isArray(target) ? target : [];
  const key = keyOf(field, [...applied, ...current]);
  if (key === undefined) return clone(applied);
  const rest = current.filter((item) => !applied.some((each) => sameKey(key, each, item)));
  const mergedItems = applied.map((item) =>
    merge(
      current.find((each) => sameKey(key, each, item)),
      item,
      keyOf,
    ),
  );
  return [...mergedItems, ...rest];
}

function sameKey(key: string, a: unknown, b: unknown): boolean {
  return isRecord(a) && isRecord(b) && a[key] === b[key];
}

/** Paths that both sets own and whose value this apply changes. */
function changedWithin(theirs: FieldSet, ours: FieldSet, old: unknown, now: unknown, path: string): string[] {
  const found: string[] = [];
  for (const [name, inner] of Object.entries(theirs)) {
    const mine = ours[name];
    if (name === "." || mine === undefined) continue;
    const here = `${path}.${name.slice(2)}`;
    const [oldChild, nowChild] = [childOf(old, name), childOf(now, name)];
    if (isLeaf(inner) || isLeaf(mine)) {
      if (!sameJson(oldChild, nowChild)) found.push(here);
    } else found.push(...changedWithin(inner as FieldSet, mine as FieldSet, oldChild, nowChild, here));
  }
  return found;
}

function minus(set: FieldSet, paths: readonly string[], path = ""): FieldSet {
  const result: FieldSet = {};
  for (const [name, inner] of Object.entries(set)) {
    const here = `${path}.${name.slice(2)}`;
    if (!paths.includes(here)) result[name] = isLeaf(inner) ? inner : minus(inner as FieldSet, paths, here);
  }
  return result;
}
