import type { KubeObject } from "#lib/kube/types.ts";
import { type Labels, type Meta, metaOf, NO_LABELS } from "./meta.ts";
import { TRAFFIC_DISTRIBUTION_ANNOTATION } from "./service-definition.ts";
import { type CanaryWish, waypointWishes } from "./waypoints.ts";

/** A namespace or node: what counts are its labels and annotations. */
export interface ScopeFacts extends Meta {
  readonly labels: Labels;
  readonly trafficDistribution?: string;
  /** Of a namespace. */
  readonly canary?: CanaryWish;
}

/** Of a Namespace or a Node. */
export function scopeFacts(object: KubeObject): ScopeFacts {
  const wish = object.metadata.annotations?.[TRAFFIC_DISTRIBUTION_ANNOTATION];
  const labels = object.metadata.labels ?? NO_LABELS;
  const { canary } = waypointWishes(labels, object.metadata.annotations, object.metadata.name);
  return {
    ...metaOf(object),
    labels,
    ...(canary === undefined ? {} : { canary }),
    ...(wish ? { trafficDistribution: wish } : {}),
  };
}
