/** JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch. */
import { ApiError, badRequest } from "./errors.ts";
import { clone, isRecord, type JsonRecord, sameJson } from "./objects.ts";

/** A new value; neither argument is changed. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return clone(patch);
  const result: JsonRecord = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

/** Throws 422 where an operation does not fit, as the real API does. */
export function jsonPatch(target: unknown, operations: unknown): unknown {
  if (!Array.isArray(operations)) throw badRequest("a JSON patch is a list of operations");
  let document = clone(target);
  for (const operation of operations) {
    if (!isRecord(operation)) throw badRequest("an operation of a JSON patch is an object");
    document = applyOperation(document, operation);
  }
  return document;
}

function applyOperation(document: unknown, operation: JsonRecord): unknown {
  const path = pointer(operation.path);
  switch (operation.op) {
    case "add":
      return write(document, path, clone(operation.value), "add");
    case "replace":
      return write(document, path, clone(operation.value), "replace");
    case "remove":
      return write(document, path, undefined, "remove");
    case "test":
      if (!sameJson(read(document, path), operation.value)) throw unfit(`test of ${operation.path} failed`);
      return document;
    case "copy":
      return write(document, path, clone(read(document, pointer(operation.from))), "add");
    case "move": {
      const from = pointer(operation.from);
      const value = read(document, from);
      return write(write(document, from, undefined, "remove"), path, value, "add");
    }
    default:
      throw badRequest(`unknown operation "${String(operation.op)}" in a JSON patch`);
  }
}

function unfit(why: string): ApiError {
  return new ApiError(422, "Invalid", `the server rejected our request due to an error in our request: ${why}`);
}

function pointer(text: unknown): string[] {
  if (text === "") return [];
  if (typeof text !== "string" || !text.startsWith("/")) throw badRequest(`"${String(text)}" is no JSON pointer`);
  return text
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function read(document: unknown, path: readonly string[]): unknown {
  let at = document;
  for (const part of path) {
    if (Array.isArray(at)) at = at[index(part, at.length)];
    else if (isRecord(at) && part in at) at = at[part];
    else throw unfit(`/${path.join("/")} does not exist`);
  }
  return at;
}

function index(part: string, length: number): number {
  if (!/^(0|[1-9]\d*)$/.test(part) || Number(part) >= length) throw unfit(`no element ${part}`);
  return Number(part);
}

function write(document: unknown, path: readonly string[], value: unknown, how: "add" | "replace" | "remove"): unknown {
  const last = path.at(-1);
  if (last === undefined) return value;
  const parent = read(document, path.slice(0, -1));
  if (Array.isArray(parent)) {
    if (how === "add") parent.splice(last === "-" ? parent.length : index(last, parent.length + 1), 0, value);
    else if (how === "replace") parent[index(last, parent.length)] = value;
    else parent.splice(index(last, parent.length), 1);
  } else if (isRecord(parent)) {
    if (how !== "add" && !(last in parent)) throw unfit(`/${path.join("/")} does not exist`);
    if (how === "remove") delete parent[last];
    else parent[last] = value;
  } else throw unfit(`/${path.join("/")} does not exist`);
  return document;
}

/** Lists of objects that merge by a key, by the name of their field. All other lists are replaced whole. */
const MERGE_KEYS: Readonly<Record<string, readonly string[]>> = {
  containers: ["name"],
  initContainers: ["name"],
  ephemeralContainers: ["name"],
  env: ["name"],
  volumes: ["name"],
  volumeMounts: ["mountPath"],
  ports: ["containerPort", "port"],
  conditions: ["type"],
  addresses: ["type"],
  ownerReferences: ["uid"],
  imagePullSecrets: ["name"],
  secrets: ["name"],
  hostAliases: ["ip"],
  podIPs: ["ip"],
  hostIPs: ["ip"],
  topologySpreadConstraints: ["topologyKey"],
};
const MERGED_PRIMITIVES = new Set(["finalizers"]);

/** The key that merges the list `field` made of such `elements`; undefined when it is replaced whole. */
export function mergeKeyOf(field: string, elements: readonly unknown[]): string | undefined {
  const candidates = MERGE_KEYS[field];
  const records = elements.filter(isRecord);
  return candidates?.find((key) => records.some((element) => key in element));
}

/** A new value; neither argument is changed. Knows the directives that kubectl writes. */
export function strategicMergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return clone(patch);
  if (patch.$patch === "delete") return undefined;
  const result: JsonRecord = isRecord(target) && patch.$patch !== "replace" ? { ...target } : {};
  if (Array.isArray(patch.$retainKeys)) {
    for (const key of Object.keys(result)) if (!patch.$retainKeys.includes(key)) delete result[key];
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key === "$patch" || key === "$retainKeys") continue;
    const primitiveDeletions = /^\$deleteFromPrimitiveList\/(.+)$/.exec(key)?.[1];
    if (primitiveDeletions !== undefined) {
      const list = result[primitiveDeletions];
      const doomed = Array.isArray(value) ? value : [];
      if (Array.isArray(list)) result[primitiveDeletions] = list.filter((item) => !doomed.includes(item));
      continue;
    }
    if (key.startsWith("$setElementOrder/")) continue;
    const merged = mergeField(key, result[key], value);
    if (merged === undefined || merged === null) delete result[key];
    else result[key] = merged;
  }
  for (const [key, order] of Object.entries(patch)) {
    const field = /^\$setElementOrder\/(.+)$/.exec(key)?.[1];
    if (field !== undefined && Array.isArray(order)) result[field] = reorder(field, result[field], order);
  }
  return result;
}

function mergeField(field: string, current: unknown, value: unknown): unknown {
  if (value === null) return undefined;
  if (!Array.isArray(value)) return strategicMergePatch(current, value);
  const list = Array.isArray(current) ? current : [];
  if (MERGED_PRIMITIVES.has(field)) return [...new Set([...list, ...value])];
  const key = mergeKeyOf(field, [...value, ...list]);
  if (key === undefined) return clone(value);
  return mergeList(key, list, value);
}

function mergeList(key: string, current: readonly unknown[], patch: readonly unknown[]): unknown[] {
  const replaced = patch.some((item) => isRecord(item) && item.$patch === "replace");
  const result = replaced ? [] : [...current];
  for (const item of patch) {
    if (!isRecord(item)) throw badRequest(`a list merged by "${key}" holds something that is no object`);
    if (item.$patch === "replace") continue;
    const at = result.findIndex((existing) => isRecord(existing) && existing[key] === item[key]);
    if (item.$patch === "delete") {
      if (at >= 0) result.splice(at, 1);
    } else if (at < 0) result.push(strategicMergePatch({}, item));
    else result[at] = strategicMergePatch(result[at], item);
  }
  return result;
}

/** Elements that the order names come in that order; others keep their place at the end. */
function reorder(field: string, list: unknown, order: readonly unknown[]): unknown {
  if (!Array.isArray(list)) return list;
  const key = mergeKeyOf(field, [...order, ...list]);
  const rank = (item: unknown): number => {
    const found = order.findIndex((each) =>
      key === undefined ? each === item : isRecord(each) && isRecord(item) && each[key] === item[key],
    );
    return found < 0 ? order.length : found;
  };
  return list
    .map((item, i) => ({ item, i }))
    .sort((a, b) => rank(a.item) - rank(b.item) || a.i - b.i)
    .map(({ item }) => item);
}
