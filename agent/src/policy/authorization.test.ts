import { describe, expect, test } from "vitest";
import { ipToBytes } from "#lib/address.ts";
import { Action, type Scope } from "#proto/authorization_pb.ts";
import { authorization } from "../../../test/helpers/mesh-fixtures.ts";
import { convertAuthorization } from "./authorization.ts";

type MatchFixture = NonNullable<
  NonNullable<NonNullable<Parameters<typeof authorization>[0]["rules"]>[number]["clauses"]>[number]["matches"]
>[number];

function matchOf(action: Action, match: MatchFixture) {
  const stored = convertAuthorization(
    authorization({ namespace: "n", name: "p", action, rules: [{ clauses: [{ matches: [match] }] }] }),
  );
  return stored.policy.rules[0]?.[0]?.[0];
}

test("every field is carried over", () => {
  const address = { address: ipToBytes("10.0.0.0"), length: 8 };
  const exact = { matchType: { case: "exact" as const, value: "x" } };
  expect(
    matchOf(Action.ALLOW, {
      namespaces: [exact],
      notNamespaces: [{ matchType: { case: "prefix", value: "x" } }],
      principals: [{ matchType: { case: "suffix", value: "x" } }],
      notPrincipals: [{ matchType: { case: "presence", value: {} } }],
      sourceIps: [address],
      notSourceIps: [address],
      destinationIps: [address],
      notDestinationIps: [{ address: ipToBytes("fd00::"), length: 16 }],
      destinationPorts: [80],
      notDestinationPorts: [81],
      serviceAccounts: [{ namespace: "n", serviceAccount: "s" }],
      notServiceAccounts: [{ namespace: "n", serviceAccount: "t" }],
    }),
  ).toEqual({
    namespaces: [{ kind: "exact", value: "x" }],
    notNamespaces: [{ kind: "prefix", value: "x" }],
    principals: [{ kind: "suffix", value: "x" }],
    notPrincipals: [{ kind: "presence", value: "" }],
    sourceIps: [{ ip: "10.0.0.0", length: 8 }],
    notSourceIps: [{ ip: "10.0.0.0", length: 8 }],
    destinationIps: [{ ip: "10.0.0.0", length: 8 }],
    notDestinationIps: [{ ip: "fd00::", length: 16 }],
    destinationPorts: [80],
    notDestinationPorts: [81],
    serviceAccounts: [{ namespace: "n", serviceAccount: "s" }],
    notServiceAccounts: [{ namespace: "n", serviceAccount: "t" }],
  });
});

describe("what cannot be understood", () => {
  const bad: MatchFixture[] = [
    { sourceIps: [{ address: new Uint8Array(3), length: 8 }] },
    { sourceIps: [{ address: ipToBytes("10.0.0.0"), length: 33 }] },
    { principals: [{}] },
    { notDestinationPorts: [70_000] },
    { extensions: [{ name: "unknown" }] },
  ];
  test.each(bad)("makes an ALLOW match nothing: %j", (match) => {
    const converted = matchOf(Action.ALLOW, { ...match, destinationPorts: [80] });
    // The engine skips a match without any condition.
    expect(Object.values(converted ?? {}).flat()).toEqual([]);
  });

  test.each(bad)("makes a DENY match more: %j", (match) => {
    expect(matchOf(Action.DENY, { ...match, destinationPorts: [80] })).toMatchObject({ destinationPorts: [80] });
    // Nothing else left: then it denies everything rather than nothing.
    expect(matchOf(Action.DENY, match)).toMatchObject({ notDestinationPorts: [0] });
  });

  test("rejects a resource of an unknown action or scope", () => {
    expect(() => convertAuthorization(authorization({ name: "p", action: 7 as Action }))).toThrow("action: unknown");
    expect(() => convertAuthorization(authorization({ name: "p", scope: 7 as Scope }))).toThrow("scope: unknown");
    expect(() => convertAuthorization(authorization({}))).toThrow("name: empty");
  });
});
