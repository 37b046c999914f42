/** Objects out of files, with the line of each of their fields. */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isSeq,
  LineCounter,
  parseAllDocuments,
} from "yaml";
import type { KubeObject } from "#lib/kube/types.ts";

/** An object and where it was read. */
export interface Resource {
  readonly object: KubeObject;
  /** Absent: from the cluster. */
  readonly file?: string;
  /** Of a field such as `spec.http[0].route`, or of what is nearest above it. */
  readonly lineOf?: (field: string) => number | undefined;
}

/** A text that is no list of objects; the message says where. */
export class ManifestError extends Error {
  override readonly name = "ManifestError";
}

/** One file may define an object many times over by anchors; what it can blow up to is bounded. */
const MAX_ALIASES = 100;

/** All objects of a YAML or JSON text, those inside of Lists too. */
export function readManifests(text: string, file: string): Resource[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true });
  if ("empty" in documents) return [];
  return documents.flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const { line } = lines.linePos(error.pos[0]);
      throw new ManifestError(`${file}:${line}: ${error.message.split("\n", 1)[0]}`);
    }
    return objectsOf(document, file, lines);
  });
}

function objectsOf(document: Document, file: string, lines: LineCounter): Resource[] {
  const value = plainValue(document, file);
  if (value === null || value === undefined) return [];
  const first = isNode(document.contents) ? lineAt(document.contents, lines) : undefined;
  const items =
    isRecord(value) && Array.isArray(value.items) && String(value.kind).endsWith("List") ? value.items : undefined;
  const values: [unknown, string[]][] = items?.map((item, i) => [item, ["items", String(i)]]) ?? [[value, []]];
  return values.map(([item, path]) => {
    if (!isKubeObject(item)) {
      throw new ManifestError(
        `${file}:${first ?? 1}: not an object of Kubernetes: it needs apiVersion, kind and metadata.name`,
      );
    }
    for (const name of ["labels", "annotations", "namespace"] as const)
      if (item.metadata[name] === null) delete item.metadata[name];
    return { object: item, file, lineOf: (field) => nearestLine(document, [...path, ...segments(field)], lines) };
  });
}

/** An alias may name nothing, or blow up without end. */
function plainValue(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    throw new ManifestError(`${file}: ${error.message}`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** As a person may write it: `labels:` with nothing behind it is none. */
interface WrittenObject extends KubeObject {
  readonly metadata: KubeObject["metadata"] & Record<string, unknown>;
}

function isKubeObject(value: unknown): value is WrittenObject {
  if (!isRecord(value) || typeof value.apiVersion !== "string" || typeof value.kind !== "string") return false;
  const { metadata } = value;
  if (!isRecord(metadata) || typeof metadata.name !== "string" || metadata.name === "") return false;
  if (metadata.namespace !== undefined && metadata.namespace !== null && typeof metadata.namespace !== "string")
    return false;
  return isTextMap(metadata.labels) && isTextMap(metadata.annotations);
}

function isTextMap(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return isRecord(value) && Object.values(value).every((each) => typeof each === "string");
}

/** `spec.http[0].route` has four. */
function segments(field: string): string[] {
  return field.split(/[.[\]]+/).filter((part) => part !== "");
}

function nearestLine(document: Document, path: readonly string[], lines: LineCounter): number | undefined {
  let node: unknown = document.contents;
  let line = isNode(node) ? lineAt(node, lines) : undefined;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (!isCollection(node)) break;
    const pair = isMap(node) ? node.items.find((each) => String(each.key) === part) : undefined;
    const next: unknown = isSeq(node) ? node.items[Number(part)] : pair?.key;
    if (!isNode(next)) break;
    line = lineAt(next, lines) ?? line;
    node = isPair(pair) ? pair.value : next;
  }
  return line;
}

function lineAt(
  node: { range?: readonly [number, ...number[]] | null | undefined },
  lines: LineCounter,
): number | undefined {
  return node.range ? lines.linePos(node.range[0]).line : undefined;
}
