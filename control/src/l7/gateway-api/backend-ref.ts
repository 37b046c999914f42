/** `backendRefs`: where a rule sends its traffic, and what becomes of references that lead nowhere. */
import { AppProtocol } from "#proto/workload_pb.ts";
import type { Fields } from "../../model/fields.ts";
import type { DefinitionPort, ServiceDefinition } from "../../model/service-definition.ts";
import type { ServiceLookup } from "../../model/service-lookup.ts";
import type { RouteKind } from "./route-facts.ts";

export interface BackendRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly port?: number;
  readonly weight: number;
}

/** Reasons of `ResolvedRefs=False`. */
export interface BackendProblem {
  readonly reason: "InvalidKind" | "BackendNotFound" | "UnsupportedProtocol";
  readonly message: string;
}

export type ResolvedBackend =
  | { readonly definition: ServiceDefinition; readonly port: number; readonly problem?: undefined }
  | { readonly problem: BackendProblem };

/** Whether waypoints talk TLS to this port. */
export type BeginsTls = (definition: ServiceDefinition, port: DefinitionPort) => boolean;

const MAX_WEIGHT = 1_000_000;

/** The fields of the reference itself; filters beside them are the caller's. Undefined when it names nothing. */
export function readBackendRef(fields: Fields, ownNamespace: string): BackendRef | undefined {
  const name = fields.string("name");
  const port = fields.integer("port", 1, 65_535);
  const ref = {
    group: fields.string("group") ?? "",
    kind: fields.string("kind") ?? "Service",
    namespace: fields.string("namespace") ?? ownNamespace,
    weight: fields.integer("weight", 0, MAX_WEIGHT) ?? 1,
    ...(port === undefined ? {} : { port }),
  };
  if (name === undefined || name === "") {
    fields.problem("name", "is required");
    return undefined;
  }
  return { ...ref, name };
}

/** Mesh routes need no ReferenceGrant for backends in other namespaces. */
export function resolveBackend(
  ref: BackendRef,
  route: RouteKind,
  services: ServiceLookup,
  beginsTls: BeginsTls,
): ResolvedBackend {
  const definition = definitionOf(ref, services);
  if (definition === "unknown kind") {
    return problem("InvalidKind", `backends of kind ${kindOf(ref)} are not supported`);
  }
  const what = `${ref.kind} ${ref.namespace}/${ref.name}`;
  if (definition === undefined) return problem("BackendNotFound", `${what} does not exist`);
  if (ref.port === undefined) return problem("BackendNotFound", `${what} needs a port`);
  const port = definition.ports.find(({ number }) => number === ref.port);
  if (port === undefined) return problem("BackendNotFound", `${what} has no port ${ref.port}`);
  const http = route === "HTTPRoute" || route === "GRPCRoute";
  if (http && port.appProtocol === AppProtocol.TLS && !beginsTls(definition, port)) {
    const message = `port ${ref.port} of ${what} speaks TLS, which an ${route} begins only where a BackendTLSPolicy says how`;
    return problem("UnsupportedProtocol", message);
  }
  return { definition, port: port.number };
}

/** The service that a backend is, for those who wait for it to change. Undefined: none that we could know. */
export function backendKey({ group, kind, namespace, name }: BackendRef): string | undefined {
  if (group === "" && kind === "Service") return `Service/${namespace}/${name}`;
  if (isHostname({ group, kind })) return `Hostname/${name.toLowerCase()}`;
  return undefined;
}

function definitionOf(ref: BackendRef, services: ServiceLookup): ServiceDefinition | undefined | "unknown kind" {
  if (ref.group === "" && ref.kind === "Service") return services.service(ref.namespace, ref.name);
  if (isHostname(ref)) return services.host(ref.name.toLowerCase(), ref.namespace);
  return "unknown kind";
}

/** Istio's way to name any host of the mesh, ServiceEntries' too. */
function isHostname({ group, kind }: { readonly group: string; readonly kind: string }): boolean {
  return group === "networking.istio.io" && kind === "Hostname";
}

function kindOf({ group, kind }: BackendRef): string {
  return group === "" ? kind : `${group}/${kind}`;
}

function problem(reason: BackendProblem["reason"], message: string): { readonly problem: BackendProblem } {
  return { problem: { reason, message } };
}
