/**
 * Which waypoint owns the traffic to a service or workload.
 *
 * A label that names a waypoint which is not there, or not usable, binds all the same: clients are told an address that
 * resolves to nothing, and both our agent and ztunnel refuse such connections. Whoever put the label there wants the
 * waypoint's policies; to send traffic past it because it is late would be to drop them. A waypoint that does not want the
 * object (its namespace, its type) does not bind: it would refuse the traffic for good.
 */
import { create } from "@bufbuild/protobuf";
import { policyKey } from "#lib/xds/types.ts";
import { Action, type Authorization, AuthorizationSchema, Scope } from "#proto/authorization_pb.ts";
import { type GatewayAddress, GatewayAddressSchema } from "#proto/workload_pb.ts";
import type { Collection } from "./collection.ts";
import {
  accountName,
  type GatewayClassFacts,
  type GatewayFacts,
  gatewayProblem,
  HBONE_PORT,
  hboneListener,
  MANAGED_LABEL,
  resourceName,
  WAYPOINT_FOR_LABEL,
} from "./gateway.ts";
import { matchesSelector } from "./label-selector.ts";
import { type Labels, NO_LABELS } from "./meta.ts";
import type { ScopeFacts } from "./scope.ts";
import type { MeshSettings } from "./settings.ts";

const USE_WAYPOINT = "istio.io/use-waypoint";
const USE_WAYPOINT_NAMESPACE = "istio.io/use-waypoint-namespace";
const CANARY = "istio.io/use-waypoint-canary";
const CANARY_NAMESPACE = "istio.io/use-waypoint-canary-namespace";
export const CANARY_WEIGHT = "istio.io/use-waypoint-canary-weight";
const WHOLE = 100;

/** What an object's labels say: a Gateway's key, or that it wants none. */
export type WaypointWish = string | "none";

/** A second waypoint that gets a share of the connections to services. */
export interface CanaryWish {
  /** `namespace/name` of the Gateway. */
  readonly gateway: string;
  /** Of 100; 0: none, nor where it makes no sense. */
  readonly weight: number;
}

/** What a service asks for; what is absent its namespace decides. */
export interface WaypointWishes {
  readonly waypoint?: WaypointWish;
  readonly canary?: CanaryWish;
}

export type BindingKind = "service" | "workload";

export interface Binding {
  /** `namespace/name` of the Gateway. */
  readonly gateway: string;
  /** Clients send traffic there; undefined: the waypoint does not want it, traffic goes straight on. */
  readonly address: BoundAddress | undefined;
  readonly reason:
    | "WaypointAccepted"
    | "WaypointMissing"
    | "WaypointNotUsable"
    | "AttachmentDenied"
    | "UnsupportedType";
  readonly message: string;
  /** Of a service: who gets a share of its connections. */
  readonly canary?: { readonly gateway: string; readonly address: BoundAddress; readonly weight: number };
}

export interface BoundAddress {
  readonly namespace: string;
  readonly hostname: string;
}

/** Of the labels of an object in `namespace`; undefined: its namespace decides. */
export function waypointWish(labels: Labels, namespace: string): WaypointWish | undefined {
  // A waypoint is not sent through a waypoint.
  if (labels[MANAGED_LABEL] !== undefined) return "none";
  const name = labels[USE_WAYPOINT];
  if (!name) return undefined;
  return name === "none" ? "none" : `${labels[USE_WAYPOINT_NAMESPACE] || namespace}/${name}`;
}

/** Undefined: it is no whole number of 100. */
export function percentOf(text: string): number | undefined {
  return /^\d{1,3}$/.test(text) && Number(text) <= WHOLE ? Number(text) : undefined;
}

/** Those of an object in `namespace`, or of the namespace itself. */
export function waypointWishes(labels: Labels, annotations: Labels | undefined, namespace: string): WaypointWishes {
  const waypoint = waypointWish(labels, namespace);
  const canary = labels[CANARY];
  const weight = percentOf(annotations?.[CANARY_WEIGHT] ?? "") ?? 0;
  return {
    ...(waypoint === undefined ? {} : { waypoint }),
    ...(!canary ? {} : { canary: { gateway: `${labels[CANARY_NAMESPACE] || namespace}/${canary}`, weight } }),
  };
}

export interface WaypointInputs {
  readonly settings: MeshSettings;
  readonly namespaces: Collection<ScopeFacts>;
  readonly gateways: Collection<GatewayFacts>;
  readonly gatewayClasses: Collection<GatewayClassFacts>;
}

export class Waypoints {
  readonly #inputs: WaypointInputs;

  constructor(inputs: WaypointInputs) {
    this.#inputs = inputs;
  }

  /** The Gateway with this key, if it is a waypoint of ours. */
  find(key: string): GatewayFacts | undefined {
    const gateway = this.#inputs.gateways.get(key);
    return gateway !== undefined && this.controllerOf(gateway.className) !== undefined ? gateway : undefined;
  }

  isWaypoint(namespace: string, name: string): boolean {
    return this.find(`${namespace}/${name}`) !== undefined;
  }

  /** The controller name under which we serve a class; undefined: the class is not ours. */
  controllerOf(className: string): string | undefined {
    const { settings, gatewayClasses } = this.#inputs;
    const made = gatewayClasses.get(`/${className}`);
    // Before the class is made, its name alone says whose it will be.
    if (made === undefined) return settings.waypointClasses.get(className);
    return [...settings.waypointClasses.values()].find((controller) => controller === made.controllerName);
  }

  /** Undefined when neither the object nor its namespace names a waypoint. */
  binding(kind: BindingKind, namespace: string, own: WaypointWish | undefined): Binding | undefined {
    const key = own ?? waypointWish(this.#namespaceLabels(namespace), namespace);
    if (key === undefined || key === "none") return undefined;
    const gateway = this.find(key);
    if (gateway === undefined) {
      // The default of `istio.io/waypoint-for`: a namespace's label alone takes no workloads in.
      if (kind === "workload") return undefined;
      return this.#bound(key, "WaypointMissing", `there is no waypoint ${key}: connections are refused until there is`);
    }
    const refusal = this.#refusal(kind, namespace, gateway);
    if (refusal !== undefined) return refusal;
    const problem = gatewayProblem(gateway);
    return problem === undefined
      ? this.#bound(key, "WaypointAccepted", `bound to waypoint ${key}`)
      : this.#bound(key, "WaypointNotUsable", `waypoint ${key}: ${problem.message}; connections are refused`);
  }

  /** Of a service: as `binding`, with the canary if that is another and would take all of it as well. */
  serviceBinding(namespace: string, own: WaypointWishes): Binding | undefined {
    const binding = this.binding("service", namespace, own.waypoint);
    const wish = this.#canaryOf(namespace, own);
    if (binding?.reason !== "WaypointAccepted" || wish === undefined || wish.gateway === binding.gateway)
      return binding;
    const { weight } = wish;
    const canary = this.binding("service", namespace, wish.gateway);
    if (canary?.reason !== "WaypointAccepted" || canary.address === undefined || weight === 0) {
      const why = weight === 0 ? "its weight is 0" : (canary?.message ?? "there is none");
      return { ...binding, message: `${binding.message}; nothing goes to canary ${wish.gateway}: ${why}` };
    }
    return {
      ...binding,
      message: `${binding.message}, and ${weight} % of the connections to canary ${wish.gateway}`,
      canary: { gateway: canary.gateway, address: canary.address, weight },
    };
  }

  /** The namespace's counts for what names no waypoint of its own. */
  #canaryOf(namespace: string, { waypoint, canary }: WaypointWishes): CanaryWish | undefined {
    if (canary !== undefined || waypoint !== undefined) return canary;
    return this.#inputs.namespaces.get(`/${namespace}`)?.canary;
  }

  /** Whether a change of this Gateway, or of its class, can touch the object. */
  names(key: string, namespace: string, own: WaypointWishes): boolean {
    if ((own.waypoint ?? waypointWish(this.#namespaceLabels(namespace), namespace)) === key) return true;
    return this.#canaryOf(namespace, own)?.gateway === key;
  }

  #refusal(kind: BindingKind, namespace: string, gateway: GatewayFacts): Binding | undefined {
    const gatewayKey = `${gateway.namespace}/${gateway.name}`;
    const types = this.#typesOf(gateway);
    if (types !== kind && types !== "all") {
      const message = `waypoint ${gatewayKey} is for "${types}", not for ${kind}s`;
      return { gateway: gatewayKey, address: undefined, reason: "UnsupportedType", message };
    }
    if (this.#allows(gateway, namespace)) return undefined;
    const message = `allowedRoutes of waypoint ${gatewayKey} do not let namespace ${namespace} in`;
    return { gateway: gatewayKey, address: undefined, reason: "AttachmentDenied", message };
  }

  #typesOf(gateway: GatewayFacts): string {
    const ofClass = this.#inputs.gatewayClasses.get(`/${gateway.className}`)?.labels[WAYPOINT_FOR_LABEL];
    return gateway.labels[WAYPOINT_FOR_LABEL] || ofClass || "service";
  }

  #allows(gateway: GatewayFacts, namespace: string): boolean {
    const listener = hboneListener(gateway);
    switch (listener?.from ?? "Same") {
      case "Same":
        return gateway.namespace === namespace;
      case "All":
        return true;
      case "Selector":
        return listener?.selector !== undefined && matchesSelector(listener.selector, this.#namespaceLabels(namespace));
      default:
        return false;
    }
  }

  #bound(key: string, reason: Binding["reason"], message: string): Binding {
    const slash = key.indexOf("/");
    const namespace = key.slice(0, slash);
    const gateway = this.#inputs.gateways.get(key);
    const name = gateway === undefined ? key.slice(slash + 1) : resourceName(gateway);
    const hostname = `${name}.${namespace}.svc.${this.#inputs.settings.clusterDomain}`;
    return { gateway: key, address: { namespace, hostname }, reason, message };
  }

  #namespaceLabels(namespace: string): Labels {
    const labels = this.#inputs.namespaces.get(`/${namespace}`)?.labels ?? NO_LABELS;
    // Every namespace has it; an API that is older than the label does not say so.
    return "kubernetes.io/metadata.name" in labels ? labels : { ...labels, "kubernetes.io/metadata.name": namespace };
  }
}

/** Both, where a canary has a share; else there is one, and this is empty. */
export function weightedWaypoints(binding: Binding | undefined): { destination: GatewayAddress; weight: number }[] {
  if (binding?.address === undefined || binding.canary === undefined) return [];
  const { address, weight } = binding.canary;
  return [
    { destination: gatewayAddress(binding.address), weight: WHOLE - weight },
    { destination: gatewayAddress(address), weight },
  ];
}

export function gatewayAddress({ namespace, hostname }: BoundAddress): GatewayAddress {
  return create(GatewayAddressSchema, {
    destination: {
      case: "hostname",
      value: { $typeName: "istio.workload.NamespacedHostname", namespace, hostname },
    },
    hboneMtlsPort: HBONE_PORT,
  });
}

/** Lets nobody but the waypoint reach what is bound to it; istiod's name for it. */
export function waypointPolicy(gateway: GatewayFacts): Authorization {
  return create(AuthorizationSchema, {
    name: waypointPolicyName(gateway),
    namespace: gateway.namespace,
    scope: Scope.WORKLOAD_SELECTOR,
    action: Action.ALLOW,
    rules: [
      {
        clauses: [
          {
            matches: [{ serviceAccounts: [{ namespace: gateway.namespace, serviceAccount: accountName(gateway) }] }],
          },
        ],
      },
    ],
  });
}

function waypointPolicyName({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `istio_allow_waypoint_${namespace}_${name}`;
}

/** `key` is a Gateway's. */
export function waypointPolicyKey(key: string): string {
  const [namespace = "", name = ""] = key.split("/");
  return policyKey(namespace, waypointPolicyName({ namespace, name }));
}
