/** What the model keeps of every object's metadata. */
import type { KubeObject } from "#lib/kube/types.ts";

export type Labels = Readonly<Record<string, string>>;

export const NO_LABELS: Labels = {};

export interface Meta {
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

export function metaOf(object: KubeObject): Meta {
  const { namespace = "", name, creationTimestamp } = object.metadata;
  const createdAt = creationTimestamp === undefined ? Number.NaN : Date.parse(creationTimestamp);
  return { namespace, name, createdAt: Number.isNaN(createdAt) ? 0 : createdAt };
}

/** `namespace/name`, unique among objects of one kind. */
export function keyOf(meta: { readonly namespace: string; readonly name: string }): string {
  return `${meta.namespace}/${meta.name}`;
}

/** Oldest first; objects of the same second by namespace and name, so that the order is the same everywhere. */
export function byAge(a: Meta, b: Meta): number {
  return a.createdAt - b.createdAt || compareText(a.namespace, b.namespace) || compareText(a.name, b.name);
}

/** By code units, the same on every machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
