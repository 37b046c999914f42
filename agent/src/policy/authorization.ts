/**
 * `istio.security.Authorization` to the engine's policy. Whatever cannot be understood never opens access: an ALLOW
 * match with such a condition matches nothing, a DENY match loses the condition and so denies more.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { ipFromBytes, isIpv4 } from "#lib/address.ts";
import {
  Action,
  type Address,
  type Authorization,
  AuthorizationSchema,
  type Match,
  type StringMatch as StringMatchMessage,
} from "#proto/authorization_pb.ts";
import type { Cidr, Policy, PolicyMatch, StringMatch } from "../native.ts";
import type { PolicyScope, StoredPolicy } from "../state/policy-store.ts";

const SCOPES: readonly PolicyScope[] = ["global", "namespace", "workload-selector"];

/** Throws RangeError naming the field when the resource cannot be used at all. */
export function decodeAuthorization(bytes: Uint8Array): StoredPolicy {
  return convertAuthorization(fromBinary(AuthorizationSchema, bytes));
}

export function convertAuthorization(message: Authorization): StoredPolicy {
  const scope = SCOPES[message.scope];
  if (message.name === "") throw new RangeError("name: empty");
  if (scope === undefined) throw new RangeError(`scope: unknown value ${message.scope}`);
  if (message.action !== Action.ALLOW && message.action !== Action.DENY) {
    throw new RangeError(`action: unknown value ${message.action}`);
  }
  const action = message.action === Action.DENY ? "deny" : "allow";
  const policy: Policy = {
    action,
    dryRun: message.dryRun,
    rules: message.rules.map(({ clauses }) => clauses.map(({ matches }) => matches.map((m) => convert(m, action)))),
  };
  return {
    key: `${message.namespace}/${message.name}`,
    namespace: message.namespace,
    name: message.name,
    scope,
    policy,
  };
}

/** The engine skips it, as it does a match without any condition. */
const NOTHING: PolicyMatch = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
  serviceAccounts: [],
  notServiceAccounts: [],
};
/** No connection goes to port 0. */
const EVERYTHING: PolicyMatch = { ...NOTHING, notDestinationPorts: [0] };

function convert(m: Match, action: Policy["action"]): PolicyMatch {
  let lost = m.extensions.length > 0;
  function kept<From, To>(values: readonly From[], each: (value: From) => To | undefined): To[] {
    const good = values.map(each).filter((value) => value !== undefined);
    if (good.length < values.length) lost = true;
    return good;
  }
  const match: PolicyMatch = {
    namespaces: kept(m.namespaces, stringMatch),
    notNamespaces: kept(m.notNamespaces, stringMatch),
    principals: kept(m.principals, stringMatch),
    notPrincipals: kept(m.notPrincipals, stringMatch),
    sourceIps: kept(m.sourceIps, cidr),
    notSourceIps: kept(m.notSourceIps, cidr),
    destinationIps: kept(m.destinationIps, cidr),
    notDestinationIps: kept(m.notDestinationIps, cidr),
    destinationPorts: kept(m.destinationPorts, port),
    notDestinationPorts: kept(m.notDestinationPorts, port),
    serviceAccounts: m.serviceAccounts.map(account),
    notServiceAccounts: m.notServiceAccounts.map(account),
  };
  if (!lost) return match;
  if (action === "allow") return NOTHING;
  return Object.values(match).every((list: readonly unknown[]) => list.length === 0) ? EVERYTHING : match;
}

function stringMatch(m: StringMatchMessage): StringMatch | undefined {
  switch (m.matchType.case) {
    case "exact":
    case "prefix":
    case "suffix":
      return { kind: m.matchType.case, value: m.matchType.value };
    case "presence":
      return { kind: "presence", value: "" };
    default:
      return undefined;
  }
}

function cidr(m: Address): Cidr | undefined {
  if (m.address.length !== 4 && m.address.length !== 16) return undefined;
  const ip = ipFromBytes(m.address);
  // A v4-mapped address counts its prefix from the start of the 128 bits.
  const length = m.address.length === 16 && isIpv4(ip) ? m.length - 96 : m.length;
  return length < 0 || length > (isIpv4(ip) ? 32 : 128) ? undefined : { ip, length };
}

function port(value: number): number | undefined {
  return value >= 1 && value <= 65_535 ? value : undefined;
}

function account(m: { namespace: string; serviceAccount: string }): { namespace: string; serviceAccount: string } {
  return { namespace: m.namespace, serviceAccount: m.serviceAccount };
}
