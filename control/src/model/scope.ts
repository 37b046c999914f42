import type { KubeObject } from "#lib/kube/types.ts";
import { type Labels, type Meta, metaOf, NO_LABELS } from "./meta.ts";
import { TRAFFIC_DISTRIBUTION_ANNOTATION } from "./service-definition.ts";

/** A namespace or node: what counts are its labels and annotations. */
export interface ScopeFacts extends Meta {
  readonly labels: Labels;
  readonly trafficDistribution?: string;
}

/** Of a Namespace or a Node. */
export function scopeFacts(object: KubeObject): ScopeFacts {
  const wish = object.metadata.annotations?.[TRAFFIC_DISTRIBUTION_ANNOTATION];
  return {
    ...metaOf(object),
    labels: object.metadata.labels ?? NO_LABELS,
    ...(wish ? { trafficDistribution: wish } : {}),
  };
}
