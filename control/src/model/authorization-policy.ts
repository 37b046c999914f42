/** AuthorizationPolicy as node agents enforce it: what L4 can tell of a connection, and nothing more. */
import { create } from "@bufbuild/protobuf";
import type { IstioObject } from "#lib/kube/types.ts";
import {
  Action,
  type Authorization,
  AuthorizationSchema,
  type Clause,
  ClauseSchema,
  type Match,
  MatchSchema,
  type Rule,
  RuleSchema,
  Scope,
} from "#proto/authorization_pb.ts";
import { Fields, type Problem } from "./fields.ts";
import { type Labels, type Meta, metaOf } from "./meta.ts";
import { accountMatches, addresses, ports, readSelector, stringMatches, type Values } from "./policy-values.ts";
import type { MeshSettings } from "./settings.ts";

export interface AuthorizationPolicyFacts extends Meta {
  readonly selector?: Labels;
  /** Absent: not for node agents. */
  readonly authorization?: Authorization;
  /** Why node agents do not get it, or not all of it; empty when they enforce it as written. */
  readonly unsupported: string;
  /** It names waypoints or gateways only: not for node agents, and they have nothing to say of it. */
  readonly targeted: boolean;
}

const DRY_RUN_ANNOTATION = "istio.io/dry-run";
const L4_ACTIONS: Readonly<Record<string, Action>> = { ALLOW: Action.ALLOW, DENY: Action.DENY };

/** Fields that only an HTTP proxy (or a later agent) can tell, with their not-forms. */
const UNSUPPORTED_SOURCES = ["requestPrincipals", "remoteIpBlocks", "trustDomains"].flatMap(withNot);
const UNSUPPORTED_OPERATIONS = ["hosts", "methods", "paths"].flatMap(withNot);

/** Names of what was asked for and cannot be enforced here, in the order of appearance. */
type Unsupported = Set<string>;

/**
 * Reads a policy. Whatever is wrong goes to `problems`, and the result is then the safe reading: an ALLOW rule that is
 * not understood matches nothing, and a DENY rule loses only the part that is not understood.
 */
export function authorizationPolicyFacts(
  object: IstioObject,
  settings: MeshSettings,
  problems: Problem[],
): AuthorizationPolicyFacts {
  const meta = metaOf(object);
  const knownProblems = problems.length;
  const fields = new Fields(object.spec, "spec", problems);
  const targeted = fields.has("targetRef") || fields.objects("targetRefs").length > 0;
  const selector = readSelector(fields);
  const actionName = fields.oneOf("action", ["ALLOW", "DENY", "AUDIT", "CUSTOM"]) ?? "ALLOW";
  fields.has("provider");
  if (targeted && selector !== undefined) fields.problem("selector", "must not be set beside targetRefs");
  if (targeted) return { ...meta, targeted, unsupported: "" };
  const action = L4_ACTIONS[actionName];
  if (action === undefined) {
    return { ...meta, targeted, unsupported: `node agents enforce ALLOW and DENY only, not ${actionName}` };
  }
  const dryRun = object.metadata.annotations?.[DRY_RUN_ANNOTATION] === "true";
  if (dryRun && !settings.dryRunPolicies) {
    return { ...meta, targeted, unsupported: `annotation ${DRY_RUN_ANNOTATION} is not enabled for node agents` };
  }
  const unsupported: Unsupported = new Set();
  const ruleFields = fields.objects("rules");
  fields.refuseUnknown();
  const misunderstood = problems.length > knownProblems;
  if (action === Action.DENY && ruleFields.length === 0) fields.problem("rules", "a DENY policy needs rules");
  const rules = ruleFields
    .map((rule) => convertRule(rule, action, meta.namespace, unsupported, problems))
    .filter((rule) => rule !== undefined);
  const authorization = create(AuthorizationSchema, {
    name: meta.name,
    namespace: meta.namespace,
    scope: scopeOf(meta.namespace, selector, settings.rootNamespace),
    action,
    // A policy whose scope is not understood must not allow anything.
    rules: misunderstood && action === Action.ALLOW ? [] : rules,
    dryRun,
  });
  return {
    ...meta,
    targeted,
    ...(selector === undefined ? {} : { selector }),
    authorization,
    unsupported: describeUnsupported(unsupported, action),
  };
}

function scopeOf(namespace: string, selector: Labels | undefined, rootNamespace: string): Scope {
  if (selector !== undefined) return Scope.WORKLOAD_SELECTOR;
  return namespace === rootNamespace ? Scope.GLOBAL : Scope.NAMESPACE;
}

/** Undefined: the rule can match nothing. */
function convertRule(
  rule: Fields,
  action: Action,
  namespace: string,
  unsupported: Unsupported,
  problems: Problem[],
): Rule | undefined {
  const knownProblems = problems.length;
  const refused = new Set<string>();
  const to = rule.objects("to").map((entry) => operationMatch(entry, refused));
  const from = rule.objects("from").map((entry) => sourceMatch(entry, namespace, refused));
  const when = rule.objects("when").map((entry) => conditionMatch(entry, refused));
  rule.refuseUnknown();
  for (const name of refused) unsupported.add(name);
  const understood = refused.size === 0 && problems.length === knownProblems;
  if (action === Action.ALLOW && !understood) return undefined;
  const clauses = [to, from, ...when.map((match) => [match])].filter((matches) => matches.length > 0).map(clauseOf);
  return create(RuleSchema, { clauses: understood ? clauses : widened(clauses) });
}

/**
 * Clauses of a DENY rule that lost a part. One that has become true for every connection is left out, so that the rest
 * is enforced; but when none restricts any more the rule must deny nothing rather than all, and an empty match, which
 * is never true, says so.
 */
function widened(clauses: Clause[]): Clause[] {
  const restricting = clauses.filter(({ matches }) => !matches.some(isEmptyMatch));
  return restricting.length > 0 ? restricting : clauses.length > 0 ? clauses : [clauseOf([create(MatchSchema)])];
}

function clauseOf(matches: Match[]): Clause {
  return create(ClauseSchema, { matches });
}

function isEmptyMatch(match: Match): boolean {
  return Object.values(match).every((value) => !Array.isArray(value) || value.length === 0);
}

function operationMatch(entry: Fields, unsupported: Unsupported): Match {
  const operation = entry.object("operation");
  entry.refuseUnknown();
  if (operation === undefined || operation.names().length === 0) {
    entry.problem("operation", "must not be empty");
    return create(MatchSchema);
  }
  noteUnsupported(operation, UNSUPPORTED_OPERATIONS, unsupported);
  const match = create(MatchSchema, {
    destinationPorts: ports(valuesOf(operation, "ports")),
    notDestinationPorts: ports(valuesOf(operation, "notPorts")),
  });
  operation.refuseUnknown();
  return match;
}

function sourceMatch(entry: Fields, namespace: string, unsupported: Unsupported): Match {
  const source = entry.object("source");
  entry.refuseUnknown();
  if (source === undefined || source.names().length === 0) {
    entry.problem("source", "must not be empty");
    return create(MatchSchema);
  }
  noteUnsupported(source, UNSUPPORTED_SOURCES, unsupported);
  const match = create(MatchSchema, {
    principals: stringMatches(valuesOf(source, "principals")),
    notPrincipals: stringMatches(valuesOf(source, "notPrincipals")),
    namespaces: stringMatches(valuesOf(source, "namespaces")),
    notNamespaces: stringMatches(valuesOf(source, "notNamespaces")),
    serviceAccounts: accountMatches(valuesOf(source, "serviceAccounts"), namespace),
    notServiceAccounts: accountMatches(valuesOf(source, "notServiceAccounts"), namespace),
    sourceIps: addresses(valuesOf(source, "ipBlocks")),
    notSourceIps: addresses(valuesOf(source, "notIpBlocks")),
  });
  source.refuseUnknown();
  return match;
}

function conditionMatch(condition: Fields, unsupported: Unsupported): Match {
  const key = condition.string("key") ?? "";
  const values = valuesOf(condition, "values");
  const notValues = valuesOf(condition, "notValues");
  condition.refuseUnknown();
  if (key === "") condition.problem("key", "is required");
  if (values.texts.length === 0 && notValues.texts.length === 0)
    condition.problem("values", "or notValues is required");
  switch (key) {
    case "source.ip":
      return create(MatchSchema, { sourceIps: addresses(values), notSourceIps: addresses(notValues) });
    case "source.namespace":
      return create(MatchSchema, { namespaces: stringMatches(values), notNamespaces: stringMatches(notValues) });
    case "source.principal":
      return create(MatchSchema, { principals: stringMatches(values), notPrincipals: stringMatches(notValues) });
    case "destination.ip":
      return create(MatchSchema, { destinationIps: addresses(values), notDestinationIps: addresses(notValues) });
    case "destination.port":
      return create(MatchSchema, { destinationPorts: ports(values), notDestinationPorts: ports(notValues) });
    default:
      if (key !== "") unsupported.add(key);
      return create(MatchSchema);
  }
}

function valuesOf(fields: Fields, name: string): Values {
  return { fields, name, texts: fields.strings(name) };
}

function noteUnsupported(fields: Fields, names: readonly string[], unsupported: Unsupported): void {
  for (const name of names) if (fields.strings(name).length > 0) unsupported.add(name);
}

function withNot(name: string): string[] {
  return [name, `not${name[0]?.toUpperCase()}${name.slice(1)}`];
}

function describeUnsupported(unsupported: Unsupported, action: Action): string {
  if (unsupported.size === 0) return "";
  const effect =
    action === Action.ALLOW
      ? "Rules of this ALLOW policy that use them are left out: more is refused than asked for."
      : "They are dropped from this DENY policy: the rest of their rule is enforced, which refuses more than asked for, and a rule with nothing else has no effect.";
  return `node agents cannot tell ${[...unsupported].join(", ")}; enforcing them takes a waypoint. ${effect}`;
}
