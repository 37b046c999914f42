/** `spec.parentRefs`: what a route hangs on. */
import type { Fields } from "../../model/fields.ts";

export const GATEWAY_GROUP = "gateway.networking.k8s.io";
const ISTIO_NETWORKING = "networking.istio.io";

export interface ParentRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Name of a port of a service. */
  readonly sectionName?: string;
  readonly port?: number;
  /** Unique among what routes hang on: see `parentKey`. */
  readonly key: string;
  /** As the user wrote it: the status repeats it. */
  readonly written: Readonly<Record<string, unknown>>;
}

const MAX_PARENTS = 32;
const REF_FIELDS = ["group", "kind", "namespace", "name", "sectionName", "port"];

export function readParentRefs(spec: Fields, ownNamespace: string): ParentRef[] {
  const refs = spec.objects("parentRefs");
  if (refs.length > MAX_PARENTS) spec.problem("parentRefs", `must not be more than ${MAX_PARENTS}`);
  return refs.slice(0, MAX_PARENTS).flatMap((fields) => {
    const name = fields.string("name");
    if (name === undefined || name === "") {
      fields.problem("name", "is required");
      return [];
    }
    const sectionName = fields.string("sectionName");
    const port = fields.integer("port", 1, 65_535);
    const written = Object.fromEntries(
      REF_FIELDS.flatMap((field) => (fields.has(field) ? [[field, fields.raw(field)]] : [])),
    );
    const group = fields.string("group") ?? GATEWAY_GROUP;
    const kind = fields.string("kind") ?? "Gateway";
    const namespace = fields.string("namespace") ?? ownNamespace;
    return [
      {
        group,
        kind,
        namespace,
        name,
        key: parentKey(serviceKindOf({ group, kind }) ?? "Gateway", namespace, name),
        ...(sectionName ? { sectionName } : {}),
        ...(port === undefined ? {} : { port }),
        written,
      },
    ];
  });
}

/** Kinds of services that a mesh route may hang on. */
export type ServiceKind = "Service" | "ServiceEntry";

/** Undefined: a Gateway, or something that others know of. */
export function serviceKindOf({
  group,
  kind,
}: {
  readonly group: string;
  readonly kind: string;
}): ServiceKind | undefined {
  if (group === "" && kind === "Service") return "Service";
  if (group === ISTIO_NETWORKING && kind === "ServiceEntry") return "ServiceEntry";
  return undefined;
}

/** Names one service, or Gateway, that routes hang on. */
export function parentKey(kind: ServiceKind | "Gateway", namespace: string, name: string): string {
  return `${kind}/${namespace}/${name}`;
}
