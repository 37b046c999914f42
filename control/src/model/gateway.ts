/** Gateways and their classes as the model keeps them, and what makes a Gateway one that we can serve. */
import type { IstioObject, KubeObject } from "#lib/kube/types.ts";
import { Fields } from "./fields.ts";
import { type LabelSelector, readLabelSelector } from "./label-selector.ts";
import { type Labels, type Meta, metaOf, NO_LABELS } from "./meta.ts";

export const WAYPOINT_FOR_LABEL = "istio.io/waypoint-for";
export const GATEWAY_NAME_LABEL = "gateway.networking.k8s.io/gateway-name";
export const GATEWAY_CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name";
/** On everything that is made for a Gateway; the value is the controller's name with "-" for "/". */
export const MANAGED_LABEL = "gateway.istio.io/managed";
const NAME_OVERRIDE = "gateway.istio.io/name-override";
const ACCOUNT_OVERRIDE = "gateway.istio.io/service-account";

export const HBONE_PROTOCOL = "HBONE";
export const HBONE_PORT = 15_008;

export interface GatewayListener {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  readonly from: string;
  /** With `from: Selector`; undefined: selects nothing. */
  readonly selector: LabelSelector | undefined;
  /** `group/kind` as given; empty: all that the protocol has. */
  readonly kinds: readonly { readonly group: string; readonly kind: string }[];
}

export interface GatewayFacts extends Meta {
  readonly uid: string;
  readonly generation: number;
  readonly className: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly listeners: readonly GatewayListener[];
  /** For what is made for it. */
  readonly infrastructure: { readonly labels: Labels; readonly annotations: Labels };
  readonly hasParameters: boolean;
  /** What its waypoints show to servers that a BackendTLSPolicy is for. */
  readonly clientCertificate?: {
    readonly group: string;
    readonly kind: string;
    readonly namespace: string;
    readonly name: string;
  };
  /** It asks for addresses of its own. */
  readonly asksForAddress: boolean;
}

export interface GatewayClassFacts extends Meta {
  readonly controllerName: string;
  readonly labels: Labels;
  readonly hasParameters: boolean;
}

/** The schema was checked by the API, unless somebody installed a looser one: what is malformed is left out. */
export function gatewayFacts(object: IstioObject): GatewayFacts {
  const spec = new Fields(object.spec, "spec", []);
  const infrastructure = spec.object("infrastructure");
  const certificate = spec.object("tls")?.object("backend")?.object("clientCertificateRef");
  const { labels = NO_LABELS, annotations = NO_LABELS, uid = "", generation = 0 } = object.metadata;
  return {
    ...metaOf(object),
    uid,
    generation,
    className: spec.string("gatewayClassName") ?? "",
    labels,
    annotations,
    listeners: spec.objects("listeners").map(readListener),
    infrastructure: {
      labels: infrastructure?.map("labels") ?? NO_LABELS,
      annotations: infrastructure?.map("annotations") ?? NO_LABELS,
    },
    hasParameters: infrastructure?.has("parametersRef") === true,
    ...(certificate === undefined ? {} : { clientCertificate: readSecretRef(certificate, object) }),
    asksForAddress: spec.objects("addresses").length > 0,
  };
}

export function gatewayClassFacts(object: KubeObject & { readonly spec?: unknown }): GatewayClassFacts {
  const spec = new Fields(object.spec, "spec", []);
  return {
    ...metaOf(object),
    controllerName: spec.string("controllerName") ?? "",
    labels: object.metadata.labels ?? NO_LABELS,
    hasParameters: spec.has("parametersRef"),
  };
}

function readSecretRef(fields: Fields, { metadata }: IstioObject) {
  return {
    group: fields.string("group") ?? "",
    kind: fields.string("kind") ?? "Secret",
    namespace: fields.string("namespace") ?? metadata.namespace ?? "",
    name: fields.string("name") ?? "",
  };
}

function readListener(listener: Fields): GatewayListener {
  const allowed = listener.object("allowedRoutes");
  const namespaces = allowed?.object("namespaces");
  return {
    name: listener.string("name") ?? "",
    port: listener.integer("port", 1, 65_535) ?? 0,
    protocol: listener.string("protocol") ?? "",
    from: namespaces?.string("from") ?? "Same",
    selector: readLabelSelector(namespaces?.object("selector")),
    kinds: (allowed?.objects("kinds") ?? []).map((kind) => ({
      group: kind.string("group") ?? "gateway.networking.k8s.io",
      kind: kind.string("kind") ?? "",
    })),
  };
}

/** What its Deployment and Service are called. */
export function resourceName(gateway: GatewayFacts): string {
  return gateway.annotations[NAME_OVERRIDE] || shortened(gateway.name);
}

/** Who its pods are. */
export function accountName(gateway: GatewayFacts): string {
  return gateway.annotations[ACCOUNT_OVERRIDE] || resourceName(gateway);
}

/** Somebody else makes the account. */
export function hasOwnAccount(gateway: GatewayFacts): boolean {
  return gateway.annotations[ACCOUNT_OVERRIDE] !== undefined;
}

const MAX_NAME = 63;

/** A Gateway's name may have 253 characters, a Service's and a label's value 63. */
export function shortened(name: string): string {
  if (name.length <= MAX_NAME) return name;
  let sum = 0;
  for (const character of name) sum = (Math.imul(sum, 31) + (character.codePointAt(0) ?? 0)) >>> 0;
  const suffix = sum.toString(16).padStart(8, "0");
  return `${name.slice(0, MAX_NAME - suffix.length - 1).replace(/[^a-z0-9]+$/, "")}-${suffix}`;
}

export interface GatewayProblem {
  readonly reason: "InvalidParameters" | "UnsupportedAddress" | "ListenersNotValid";
  readonly message: string;
}

/** Why a Gateway of our class is not served as a whole. */
export function gatewayProblem(gateway: GatewayFacts): GatewayProblem | undefined {
  if (gateway.hasParameters) {
    return { reason: "InvalidParameters", message: "spec.infrastructure.parametersRef: no parameters are defined" };
  }
  if (gateway.asksForAddress) {
    return { reason: "UnsupportedAddress", message: "spec.addresses: a waypoint's addresses are those of its Service" };
  }
  if (hboneListener(gateway) === undefined) {
    const message = `a waypoint needs a listener with protocol ${HBONE_PROTOCOL} on port ${HBONE_PORT}`;
    return { reason: "ListenersNotValid", message };
  }
  return undefined;
}

/** Why one listener is not served; undefined when it is. */
export function listenerProblem({ protocol, port }: GatewayListener): { reason: string; message: string } | undefined {
  if (protocol !== HBONE_PROTOCOL) {
    return { reason: "UnsupportedProtocol", message: `a waypoint has no listeners of protocol "${protocol}"` };
  }
  if (port !== HBONE_PORT) {
    return { reason: "PortUnavailable", message: `waypoints take ${HBONE_PROTOCOL} on port ${HBONE_PORT} alone` };
  }
  return undefined;
}

/** The listener that traffic comes in by, and that says whose. */
export function hboneListener(gateway: GatewayFacts): GatewayListener | undefined {
  return gateway.listeners.find((listener) => listenerProblem(listener) === undefined);
}
