/** BackendTLSPolicies: the server's own word on how it is talked to. */
import type { PolicyAncestorStatus, PolicyObject } from "#lib/kube/types.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { type Meta, metaOf } from "../../model/meta.ts";
import type { RouteVersion } from "../gateway-api/route-facts.ts";

export interface BackendTlsPolicyFacts extends Meta, RouteVersion {
  readonly targets: readonly PolicyTargetRef[];
  /** Asked for, and verified unless there are other names. */
  readonly hostname: string;
  readonly subjectAltNames: readonly string[];
  /** Empty: those of the system. */
  readonly authorities: readonly LocalRef[];
  /** Why it cannot be followed. Not empty: its targets are not talked to at all. */
  readonly invalid: readonly Problem[];
}

export interface LocalRef {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
}

export interface PolicyTargetRef extends LocalRef {
  /** Name of a port of the Service. */
  readonly sectionName?: string;
}

const MAX_TARGETS = 16;
const MAX_AUTHORITIES = 8;
const MAX_NAMES = 5;
const SYSTEM = "System";
/** Neither a wildcard nor an address. */
const HOSTNAME = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const ADDRESS = /^[0-9.]+$/;

export function backendTlsPolicyFacts(object: PolicyObject): BackendTlsPolicyFacts {
  const invalid: Problem[] = [];
  const spec = new Fields(object.spec, "spec", invalid);
  const targets = spec.objects("targetRefs").map((fields): PolicyTargetRef => {
    const sectionName = fields.string("sectionName");
    return { ...readLocalRef(fields), ...(sectionName ? { sectionName } : {}) };
  });
  const validation = spec.object("validation") ?? new Fields({}, "spec.validation", invalid);
  const authorities = validation.objects("caCertificateRefs").map(readLocalRef);
  const wellKnown = validation.string("wellKnownCACertificates");
  const hostname = validation.string("hostname") ?? "";
  const names = validation.objects("subjectAltNames").map(readName);
  if (targets.length > MAX_TARGETS) spec.problem("targetRefs", `must not be more than ${MAX_TARGETS}`);
  if (authorities.length > MAX_AUTHORITIES)
    validation.problem("caCertificateRefs", `must not be more than ${MAX_AUTHORITIES}`);
  if (names.length > MAX_NAMES) validation.problem("subjectAltNames", `must not be more than ${MAX_NAMES}`);
  if (wellKnown !== undefined && wellKnown !== SYSTEM)
    validation.problem("wellKnownCACertificates", `"${wellKnown}" is none of ours; ${SYSTEM} is`);
  if (authorities.length > 0 === (wellKnown !== undefined))
    validation.problem("", "must have one of caCertificateRefs and wellKnownCACertificates");
  if (!HOSTNAME.test(hostname) || ADDRESS.test(hostname))
    validation.problem("hostname", hostname === "" ? "is required" : `"${hostname}" is no name of a host`);
  return {
    ...metaOf(object),
    ...versionOfPolicy(object),
    targets,
    hostname,
    subjectAltNames: names.filter((name) => name !== ""),
    authorities,
    invalid,
  };
}

/** Ancestors are told as parents are. */
export function versionOfPolicy({ metadata, status }: PolicyObject): RouteVersion {
  const reported: unknown = status?.ancestors;
  // The schema of a status is open: anybody may have written anything.
  const entries = Array.isArray(reported)
    ? reported.filter((entry): entry is PolicyAncestorStatus => typeof entry === "object" && entry !== null)
    : [];
  return {
    uid: metadata.uid ?? "",
    generation: metadata.generation ?? 0,
    reported: entries.map(({ ancestorRef, ...entry }) => ({ parentRef: ancestorRef, ...entry })),
  };
}

function readLocalRef(fields: Fields): LocalRef {
  const [group = "", kind = "", name = ""] = ["group", "kind", "name"].map((field) => fields.string(field));
  if (name === "") fields.problem("name", "is required");
  return { group, kind, name };
}

function readName(fields: Fields): string {
  const type = fields.oneOf("type", ["Hostname", "URI"]);
  const value = fields.string(type === "URI" ? "uri" : "hostname") ?? "";
  if (value === "" || (type === "URI") !== value.includes("://")) fields.problem("", "must have a value of its type");
  return value;
}
