/** Which kinds of objects the model is fed with, and how each is read. */
import type { ReflectorHandler } from "#lib/kube/reflector.ts";
import {
  AUTHORIZATION_POLICIES,
  ENDPOINT_SLICES,
  GATEWAY_CLASSES,
  GATEWAYS,
  type IstioObject,
  type KubeObject,
  NAMESPACES,
  NODES,
  PEER_AUTHENTICATIONS,
  PODS,
  type ResourceType,
  SERVICE_ACCOUNTS,
  SERVICE_ENTRIES,
  SERVICES,
  WORKLOAD_ENTRIES,
} from "#lib/kube/types.ts";
import { Accepted, type Verdict } from "../model/accepted.ts";
import { type AuthorizationPolicyFacts, authorizationPolicyFacts } from "../model/authorization-policy.ts";
import type { Collection } from "../model/collection.ts";
import type { EndpointFacts } from "../model/endpoint.ts";
import { endpointSliceFacts } from "../model/endpoint-slice.ts";
import { gatewayClassFacts, gatewayFacts } from "../model/gateway.ts";
import type { MeshModel } from "../model/mesh-model.ts";
import { keyOf, metaOf } from "../model/meta.ts";
import { type PeerAuthenticationFacts, peerAuthenticationFacts } from "../model/peer-authentication.ts";
import { podFacts } from "../model/pod.ts";
import { scopeFacts } from "../model/scope.ts";
import { serviceDefinition } from "../model/service.ts";
import { type ServiceEntryFacts, serviceEntryFacts } from "../model/service-entry.ts";
import { workloadEntryFacts } from "../model/workload-entry.ts";

/** One kind, and what takes its objects. */
export interface Input<T extends KubeObject = KubeObject> {
  readonly type: ResourceType<T>;
  readonly handler: ReflectorHandler<T>;
  /** Its CRD may be missing. */
  readonly optional: boolean;
  /** Absent: all objects of the kind. */
  readonly scope?: { readonly namespace: string; readonly fieldSelector: string };
}

/** Told of every version of an Istio object that was read. */
export interface Verdicts {
  authorizationPolicy(verdict: Verdict<AuthorizationPolicyFacts>): void;
  peerAuthentication(verdict: Verdict<PeerAuthenticationFacts>): void;
  serviceEntry(verdict: Verdict<ServiceEntryFacts>): void;
  workloadEntry(verdict: Verdict<EndpointFacts>): void;
}

/** Everything that the model knows comes through these. */
export function modelInputs(model: MeshModel, verdicts: Verdicts): Input[] {
  const { settings } = model;
  return [
    builtIn(NAMESPACES, model.namespaces, scopeFacts),
    builtIn(NODES, model.nodes, scopeFacts),
    builtIn(PODS, model.pods, podFacts),
    builtIn(SERVICES, model.services, (service) => serviceDefinition(service, settings.clusterDomain)),
    builtIn(SERVICE_ACCOUNTS, model.serviceAccounts, metaOf),
    builtIn(ENDPOINT_SLICES, model.endpointSlices, (slice) => endpointSliceFacts(slice, settings.clusterId)),
    { ...builtIn(GATEWAY_CLASSES, model.gatewayClasses, gatewayClassFacts), optional: true },
    { ...builtIn(GATEWAYS, model.gateways, gatewayFacts), optional: true },
    istio(
      AUTHORIZATION_POLICIES,
      new Accepted(
        model.authorizationPolicies,
        (object, problems) => authorizationPolicyFacts(object, settings, problems),
        verdicts.authorizationPolicy,
      ),
    ),
    istio(
      PEER_AUTHENTICATIONS,
      new Accepted(model.peerAuthentications, peerAuthenticationFacts, verdicts.peerAuthentication),
    ),
    istio(
      SERVICE_ENTRIES,
      new Accepted(
        model.serviceEntries,
        (object, problems) => serviceEntryFacts(object, settings.clusterId, problems),
        verdicts.serviceEntry,
      ),
    ),
    istio(
      WORKLOAD_ENTRIES,
      new Accepted(
        model.workloadEntries,
        (object, problems) => workloadEntryFacts(object, settings.clusterId, problems),
        verdicts.workloadEntry,
      ),
    ),
  ];
}

/** One input per kind: who reads the same kind shares one watch, and is told in the order given. */
export function joined(inputs: readonly Input[]): Input[] {
  const byKind = Map.groupBy(inputs, ({ type, scope }) => JSON.stringify([type.group, type.plural, scope]));
  return [...byKind.values()].flatMap((same) => {
    const [first] = same;
    if (first === undefined || same.length === 1) return same;
    const handler: ReflectorHandler<KubeObject> = {
      replace: (objects) => same.forEach((input) => void input.handler.replace(objects)),
      upsert: (object) => same.forEach((input) => void input.handler.upsert(object)),
      remove: (object) => same.forEach((input) => void input.handler.remove(object)),
    };
    return [{ ...first, handler, optional: same.every(({ optional }) => optional) }];
  });
}

/** Objects of Kubernetes' own kinds were checked by the API; `read` gives undefined for those that do not count. */
export function builtIn<T extends KubeObject, F extends { namespace: string; name: string }>(
  type: ResourceType<T>,
  collection: Collection<F>,
  read: (object: T) => F | undefined,
): Input {
  const handler: ReflectorHandler<T> = {
    replace: (objects) => collection.replace(objects.map(read).filter((facts) => facts !== undefined)),
    upsert: (object) => {
      const facts = read(object);
      if (facts === undefined) collection.remove(keyOf(metaOf(object)));
      else collection.upsert(facts);
    },
    remove: (object) => collection.remove(keyOf(metaOf(object))),
  };
  return { type, handler, optional: false } as unknown as Input;
}

export function istio(type: ResourceType<IstioObject>, handler: ReflectorHandler<IstioObject>): Input {
  return { type, handler, optional: true } as unknown as Input;
}
