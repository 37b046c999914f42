/** `spec.rules` of an AuthorizationPolicy for waypoints. */
import { create } from "@bufbuild/protobuf";
import {
  Policy_Action as Action,
  PolicyCondition_Key as Key,
  type Policy_Action,
  type PolicyCondition,
  PolicyConditionSchema,
  type PolicyOperation,
  PolicyOperationSchema,
  type PolicyRule,
  PolicyRuleSchema,
  type PolicySource,
  PolicySourceSchema,
} from "#proto/l7_pb.ts";
import type { Fields, Problem } from "../../model/fields.ts";
import { isHeaderName } from "../gateway-api/values.ts";
import {
  accountNames,
  cidrs,
  namespaceMatches,
  pathMatches,
  ports,
  stringMatches,
  type Values,
  valuesOf,
} from "./match-values.ts";

/** What the values of a policy depend on beside themselves. */
export interface RuleContext {
  readonly namespace: string;
}

const MAX_ACCOUNTS = 16;

/**
 * A rule that is not wholly understood is read safely: one that allows is left out, one that denies or asks somebody is
 * kept without the part that is not understood. What would then deny everything denies nothing.
 */
export function readRules(
  spec: Fields,
  action: Policy_Action,
  context: RuleContext,
  problems: Problem[],
): PolicyRule[] {
  return spec.objects("rules").flatMap((fields) => {
    const known = problems.length;
    const rule = readRule(fields, context);
    if (problems.length === known) return [rule];
    if (action === Action.ALLOW || action === Action.AUDIT) return [];
    const widened = create(PolicyRuleSchema, {
      from: rule.from.some(isEmpty) ? [] : rule.from,
      to: rule.to.some(isEmpty) ? [] : rule.to,
      when: rule.when.filter((condition) => !isEmptyCondition(condition)),
    });
    return action === Action.DENY && isEmpty(widened) ? [] : [widened];
  });
}

function isEmpty(message: PolicySource | PolicyOperation | PolicyRule): boolean {
  return Object.values(message).every((value) => !Array.isArray(value) || value.length === 0);
}

function isEmptyCondition({ values, notValues, cidrs: in_, notCidrs, ports: at, notPorts }: PolicyCondition): boolean {
  return [values, notValues, in_, notCidrs, at, notPorts].every((list) => list.length === 0);
}

function readRule(rule: Fields, context: RuleContext): PolicyRule {
  const message = create(PolicyRuleSchema, {
    from: rule.objects("from").map((entry) => readSource(entry, context)),
    to: rule.objects("to").map(readOperation),
    when: rule.objects("when").map((condition) => readCondition(condition, context)),
  });
  rule.refuseUnknown();
  return message;
}

function inner(entry: Fields, name: string): Fields | undefined {
  const fields = entry.object(name);
  entry.refuseUnknown();
  if (fields !== undefined && fields.names().length > 0) return fields;
  entry.problem(name, "must not be empty");
  return undefined;
}

function readSource(entry: Fields, { namespace }: RuleContext): PolicySource {
  const source = inner(entry, "source");
  if (source === undefined) return create(PolicySourceSchema);
  const values = (name: string): Values => valuesOf(source, name);
  const message = create(PolicySourceSchema, {
    principals: stringMatches(values("principals")),
    notPrincipals: stringMatches(values("notPrincipals")),
    namespaces: namespaceMatches(values("namespaces")),
    notNamespaces: namespaceMatches(values("notNamespaces")),
    requestPrincipals: stringMatches(values("requestPrincipals")),
    notRequestPrincipals: stringMatches(values("notRequestPrincipals")),
    ipBlocks: cidrs(values("ipBlocks")),
    notIpBlocks: cidrs(values("notIpBlocks")),
    remoteIpBlocks: cidrs(values("remoteIpBlocks")),
    notRemoteIpBlocks: cidrs(values("notRemoteIpBlocks")),
    trustDomains: stringMatches(values("trustDomains")),
    notTrustDomains: stringMatches(values("notTrustDomains")),
    serviceAccounts: accountNames(values("serviceAccounts"), namespace),
    notServiceAccounts: accountNames(values("notServiceAccounts"), namespace),
  });
  source.refuseUnknown();
  checkAccounts(source);
  return message;
}

function checkAccounts(source: Fields): void {
  for (const name of ["serviceAccounts", "notServiceAccounts"]) {
    const count = source.has(name) ? source.strings(name).length : 0;
    if (count > MAX_ACCOUNTS) source.problem(name, `must not be more than ${MAX_ACCOUNTS}`);
    if (count === 0) continue;
    for (const other of ["principals", "notPrincipals", "namespaces", "notNamespaces"]) {
      if (source.has(other)) source.problem(name, `must not be set beside ${other}`);
    }
  }
}

function readOperation(entry: Fields): PolicyOperation {
  const operation = inner(entry, "operation");
  if (operation === undefined) return create(PolicyOperationSchema);
  const values = (name: string): Values => valuesOf(operation, name);
  const message = create(PolicyOperationSchema, {
    hosts: stringMatches(values("hosts"), true),
    notHosts: stringMatches(values("notHosts"), true),
    ports: ports(values("ports")),
    notPorts: ports(values("notPorts")),
    methods: stringMatches(values("methods")),
    notMethods: stringMatches(values("notMethods")),
    paths: pathMatches(values("paths")),
    notPaths: pathMatches(values("notPaths")),
  });
  operation.refuseUnknown();
  return message;
}

/** How the values of a key are read. */
type ValueKind = "text" | "namespace" | "account" | "cidr" | "port";

const KEYS: ReadonlyMap<string, readonly [Key, ValueKind]> = new Map([
  ["source.ip", [Key.SOURCE_IP, "cidr"]],
  ["remote.ip", [Key.REMOTE_IP, "cidr"]],
  ["source.namespace", [Key.SOURCE_NAMESPACE, "namespace"]],
  ["source.principal", [Key.SOURCE_PRINCIPAL, "text"]],
  ["source.serviceAccount", [Key.SOURCE_SERVICE_ACCOUNT, "account"]],
  ["source.trustDomain", [Key.SOURCE_TRUST_DOMAIN, "text"]],
  ["request.auth.principal", [Key.REQUEST_PRINCIPAL, "text"]],
  ["request.auth.audiences", [Key.REQUEST_AUDIENCE, "text"]],
  ["request.auth.presenter", [Key.REQUEST_PRESENTER, "text"]],
  ["destination.ip", [Key.DESTINATION_IP, "cidr"]],
  ["destination.port", [Key.DESTINATION_PORT, "port"]],
  ["connection.sni", [Key.CONNECTION_SNI, "text"]],
]);

const HEADER = /^request\.headers\[([^\]]+)\]$/;
const CLAIM = /^request\.auth\.claims((?:\[[^[\]]+\])+)$/;

function readCondition(fields: Fields, context: RuleContext): PolicyCondition {
  const name = fields.string("key") ?? "";
  const values = valuesOf(fields, "values");
  const notValues = valuesOf(fields, "notValues");
  fields.refuseUnknown();
  if (values.texts.length + notValues.texts.length === 0) fields.problem("values", "or notValues is required");
  const header = HEADER.exec(name)?.[1]?.toLowerCase();
  const claim = CLAIM.exec(name)?.[1];
  const texts = { values: stringMatches(values), notValues: stringMatches(notValues) };
  if (header !== undefined) {
    if (!isHeaderName(header)) fields.problem("key", `"${header}" is no name of a header`);
    return create(PolicyConditionSchema, { key: Key.REQUEST_HEADER, header, ...texts });
  }
  if (claim !== undefined) {
    return create(PolicyConditionSchema, { key: Key.REQUEST_CLAIM, claim: claim.slice(1, -1).split("]["), ...texts });
  }
  const known = KEYS.get(name);
  if (known === undefined) {
    fields.problem("key", `"${name}" is no key that a waypoint knows`);
    return create(PolicyConditionSchema);
  }
  const [key, kind] = known;
  return create(PolicyConditionSchema, { key, ...readValues(kind, values, notValues, context) });
}

function readValues(kind: ValueKind, values: Values, notValues: Values, { namespace }: RuleContext) {
  switch (kind) {
    case "cidr":
      return { cidrs: cidrs(values), notCidrs: cidrs(notValues) };
    case "port":
      return { ports: ports(values), notPorts: ports(notValues) };
    case "namespace":
      return { values: namespaceMatches(values), notValues: namespaceMatches(notValues) };
    case "account": {
      const exact = (value: string) => ({ kind: { case: "exact" as const, value } });
      return {
        values: accountNames(values, namespace).map(exact),
        notValues: accountNames(notValues, namespace).map(exact),
      };
    }
    case "text":
      return { values: stringMatches(values), notValues: stringMatches(notValues) };
  }
}
