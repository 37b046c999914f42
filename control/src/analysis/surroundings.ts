/** What a check may ask about everything else there is: of a live control plane, or of a set of objects. */
import type { MeshRoutes } from "../l7/gateway-api/mesh-routes.ts";
import { wildcardsOf } from "../l7/istio/values.ts";
import type { L7World } from "../l7/l7-world.ts";
import type { AuthorizerProvider } from "../l7/security/authorizer.ts";
import type { WaypointPolicies } from "../l7/security/waypoint-policies.ts";
import type { Collection } from "../model/collection.ts";
import { keyOfDefinition } from "../model/definition-index.ts";
import type { MeshModel } from "../model/mesh-model.ts";
import type { Labels } from "../model/meta.ts";
import { selects } from "../model/selector-index.ts";
import type { ServiceDefinition } from "../model/service-definition.ts";

interface Named {
  readonly namespace: string;
  readonly name: string;
}

/** A workload, or the template of some. */
export interface Labelled {
  readonly namespace: string;
  readonly labels: Labels;
}

export interface Surroundings {
  readonly model: MeshModel;
  readonly world: L7World;
  readonly policies: WaypointPolicies;
  readonly routes: MeshRoutes;
  readonly authorizer: (name: string) => AuthorizerProvider | undefined;
  /** Keys of Istio's Gateways; undefined: nobody knows of them here. */
  readonly ingressGateways: ReadonlySet<string> | undefined;
  /** Templates of pods that are no pods yet. */
  readonly templates: readonly Labelled[];
}

/** Where workloads are found. Without templates: only those that run. */
export type Workloads = Pick<Surroundings, "model" | "templates">;

/** A service by a host name as clients in `namespace` see it; one with a wildcard may stand for it. */
export function findService({ model }: Surroundings, host: string, namespace: string): ServiceDefinition | undefined {
  for (const name of [host, ...wildcardsOf(host)]) {
    const found = model.serviceLookup.host(name, namespace);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Of one namespace, or of all. */
export function* workloadsIn(around: Workloads, namespace: string | undefined): Generator<Labelled> {
  const { pods, workloadEntries, serviceEntries } = around.model;
  const within = <T extends Named>(all: Collection<T>) =>
    namespace === undefined ? all.values() : all.inNamespace(namespace);
  yield* within(pods);
  yield* within(workloadEntries);
  for (const entry of within(serviceEntries)) for (const { facts } of entry.endpoints) yield facts;
  for (const template of around.templates) {
    if (namespace === undefined || template.namespace === namespace) yield template;
  }
}

/** The labels of what stands behind a service. */
export function labelsBehind(around: Workloads, service: ServiceDefinition): Labels[] {
  const { selector, namespace } = service;
  if (selector !== undefined) {
    return [...workloadsIn(around, namespace)]
      .map(({ labels }) => labels)
      .filter((labels) => selects(selector, labels));
  }
  const { served } = around.model;
  const uids = [...served.uidsOf(keyOfDefinition(service))];
  return uids.map((uid) => served.labelsOf(uid)).filter((labels) => labels !== undefined);
}

/** Key of the waypoint that the traffic to a service goes through. */
export function waypointOf({ model }: Surroundings, service: ServiceDefinition): string | undefined {
  return model.bound.gatewayOfService(keyOfDefinition(service));
}
