import type { IstioObject } from "#lib/kube/types.ts";
import { workloadEntryUid } from "#lib/xds/types.ts";
import { type EndpointFacts, readEndpoint } from "./endpoint.ts";
import { Fields, type Problem } from "./fields.ts";
import { metaOf, NO_LABELS } from "./meta.ts";
import { REDIRECTION_ANNOTATION } from "./pod.ts";

/** Undefined when it has no usable address. */
export function workloadEntryFacts(
  object: IstioObject,
  clusterId: string,
  problems: Problem[],
): EndpointFacts | undefined {
  const meta = metaOf(object);
  const { labels = NO_LABELS, annotations } = object.metadata;
  const redirected = annotations?.[REDIRECTION_ANNOTATION] === "enabled";
  const uid = () => workloadEntryUid(clusterId, meta.namespace, meta.name);
  return readEndpoint(new Fields(object.spec, "spec", problems), meta, uid, labels, redirected);
}
