/** PeerAuthentication as node agents enforce it: refusing peers without an identity is a DENY policy. */
import { create } from "@bufbuild/protobuf";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import type { IstioObject } from "#lib/kube/types.ts";
import { policyKey } from "#lib/xds/types.ts";
import {
  Action,
  type Authorization,
  AuthorizationSchema,
  ClauseSchema,
  type Match,
  MatchSchema,
  type Rule,
  RuleSchema,
  Scope,
  StringMatchSchema,
} from "#proto/authorization_pb.ts";
import { Fields, type Problem } from "./fields.ts";
import { byAge, type Labels, type Meta, metaOf } from "./meta.ts";
import { readSelector } from "./policy-values.ts";

const MODES = ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] as const;
type Mode = (typeof MODES)[number];

/** What is in force once inheritance is settled. Mutual TLS cannot be refused: DISABLE is as PERMISSIVE. */
export type EffectiveMode = "PERMISSIVE" | "STRICT";

export interface PeerAuthenticationFacts extends Meta {
  readonly selector?: Labels;
  readonly mode: Mode;
  /** By port of the workload. */
  readonly portModes: ReadonlyMap<number, Mode>;
}

/** The DENY policy that refuses every peer without an identity; lives in the root namespace. */
export const STATIC_STRICT_NAME = "istio_converted_static_strict";
const CONVERTED_PREFIX = "converted_peer_authentication_";

/** A mode that is not understood reads as STRICT: it must not open access. */
export function peerAuthenticationFacts(object: IstioObject, problems: Problem[]): PeerAuthenticationFacts {
  const meta = metaOf(object);
  const fields = new Fields(object.spec, "spec", problems);
  const selector = readSelector(fields);
  const mode = readMode(fields.object("mtls"), problems);
  const portModes = new Map<number, Mode>();
  const portFields = fields.object("portLevelMtls");
  for (const name of portFields?.names() ?? []) {
    const port = Number(name);
    if (!/^\d{1,5}$/.test(name) || port < 1 || port > 65_535) {
      portFields?.problem(name, "is no port");
      continue;
    }
    portModes.set(port, readMode(portFields?.object(name), problems));
  }
  fields.refuseUnknown();
  if (portModes.size > 0 && selector === undefined) fields.problem("portLevelMtls", "needs a selector");
  return { ...meta, ...(selector === undefined ? {} : { selector }), mode, portModes };
}

function readMode(mtls: Fields | undefined, problems: Problem[]): Mode {
  if (mtls === undefined) return "UNSET";
  const known = problems.length;
  const mode = mtls.oneOf("mode", MODES) ?? "UNSET";
  mtls.refuseUnknown();
  return problems.length > known ? "STRICT" : mode;
}

/** The oldest of those that apply at one level counts alone. */
export function oldest(policies: Iterable<PeerAuthenticationFacts>): PeerAuthenticationFacts | undefined {
  let first: PeerAuthenticationFacts | undefined;
  for (const policy of policies) if (first === undefined || byAge(policy, first) < 0) first = policy;
  return first;
}

/** `policy` may be absent or UNSET: then the level above decides. */
export function effectiveMode(policy: PeerAuthenticationFacts | undefined, above: EffectiveMode): EffectiveMode {
  return settle(policy?.mode ?? "UNSET", above);
}

function settle(mode: Mode, above: EffectiveMode): EffectiveMode {
  if (mode === "UNSET") return above;
  return mode === "STRICT" ? "STRICT" : "PERMISSIVE";
}

export function staticStrict(rootNamespace: string): Authorization {
  return create(AuthorizationSchema, {
    name: STATIC_STRICT_NAME,
    namespace: rootNamespace,
    scope: Scope.WORKLOAD_SELECTOR,
    action: Action.DENY,
    rules: [rule([withoutIdentity()])],
  });
}

/**
 * The policy for one object whose ports differ from its own mode; undefined when none does. `above` is the mode of
 * namespace or mesh.
 */
export function convertedPolicy(
  policy: PeerAuthenticationFacts,
  above: EffectiveMode,
  rootNamespace: string,
): Authorization | undefined {
  const differing = differingPorts(policy, above, rootNamespace);
  if (differing.length === 0) return undefined;
  const rules =
    effectiveMode(policy, above) === "STRICT"
      ? [rule(...differing.map((port) => [create(MatchSchema, { notDestinationPorts: [port] })]), [withoutIdentity()])]
      : differing.map((port) => rule([{ ...withoutIdentity(), destinationPorts: [port] }]));
  return create(AuthorizationSchema, {
    name: CONVERTED_PREFIX + policy.name,
    namespace: policy.namespace,
    scope: Scope.WORKLOAD_SELECTOR,
    action: Action.DENY,
    rules,
  });
}

/** Ports with another mode than the rest, ascending. Objects in the root namespace have none. */
function differingPorts(policy: PeerAuthenticationFacts, above: EffectiveMode, rootNamespace: string): number[] {
  if (policy.portModes.size === 0 || policy.selector === undefined || policy.namespace === rootNamespace) return [];
  const base = effectiveMode(policy, above);
  return [...policy.portModes]
    .filter(([, mode]) => settle(mode, base) !== base)
    .map(([port]) => port)
    .sort((a, b) => a - b);
}

/** Keys of the policies that a workload gets; `selecting` are the policies whose selector matches it. */
export function policiesOfWorkload(
  selecting: readonly PeerAuthenticationFacts[],
  above: EffectiveMode,
  rootNamespace: string,
): string[] {
  const own = oldest(selecting);
  if (own !== undefined && differingPorts(own, above, rootNamespace).length > 0) {
    return [policyKey(own.namespace, CONVERTED_PREFIX + own.name)];
  }
  return effectiveMode(own, above) === "STRICT" ? [policyKey(rootNamespace, STATIC_STRICT_NAME)] : [];
}

function withoutIdentity(): Match {
  const anybody = create(StringMatchSchema, { matchType: { case: "presence", value: create(EmptySchema) } });
  return create(MatchSchema, { notPrincipals: [anybody] });
}

/** All clauses must hold; each holds when one of its matches does. */
function rule(...clauses: Match[][]): Rule {
  return create(RuleSchema, { clauses: clauses.map((matches) => create(ClauseSchema, { matches })) });
}
