/** The command line's evaluation of policies against the engine's own, on random policies and random peers. */
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { loadAddonFile } from "#lib/addon.ts";
import {
  Policy_Action as Action,
  PolicyCondition_Key as Key,
  type Policy,
  PolicyConditionSchema,
  PolicySchema,
  StringMatchSchema,
} from "#proto/l7_pb.ts";
import type { PolicyAnswer, PolicyPeer } from "../../agent/src/native.ts";
import { evaluate, type NamedPolicy } from "../../agent/src/policy/evaluate.ts";
import {
  decideAnyRequest,
  decidePolicies,
  type HttpDecision,
  type HttpSubject,
} from "../../control/src/l7/security/evaluate-policies.ts";

const engine = loadAddonFile() as {
  evaluatePolicies(policies: readonly NamedPolicy[], peer: PolicyPeer): PolicyAnswer;
  decideHttpPolicies(policies: readonly Uint8Array[], subject: HttpSubject, dryRun: boolean): HttpDecision;
};

const RUNS = 3_000;
const few = <T>(value: fc.Arbitrary<T>) => fc.array(value, { maxLength: 2 });
/** Lists are mostly empty, or nothing would ever match. */
const rarely = <T>(value: fc.Arbitrary<T>) => fc.oneof({ weight: 4, arbitrary: fc.constant([] as T[]) }, few(value));
const ipv4 = fc.constantFrom("10.0.0.1", "10.0.1.1", "10.128.0.1", "192.0.2.1", "0.0.0.0");
const ipv6 = fc.constantFrom("fd00::1", "fd00::2", "fe80::1", "::", "::1");
const ip = fc.oneof(ipv4, ipv6);
const range = fc.oneof(
  fc.record({ ip: ipv4, length: fc.integer({ min: 0, max: 32 }) }),
  fc.record({ ip: ipv6, length: fc.integer({ min: 0, max: 128 }) }),
);
const namespace = fc.constantFrom("shop", "shop-2", "db", "a");
const account = fc.constantFrom("web", "db", "a");
const identity = fc
  .tuple(fc.constantFrom("cluster.local", "other"), namespace, account)
  .map(([domain, ns, sa]) => `spiffe://${domain}/ns/${ns}/sa/${sa}`);
const principalText = identity.map((id) => id.slice("spiffe://".length));
const port = fc.constantFrom(80, 81, 443, 65_535);
const piece = (text: fc.Arbitrary<string>) =>
  fc
    .tuple(text, fc.nat({ max: 8 }), fc.boolean())
    .map(([whole, at, front]) => (front ? whole.slice(0, at) : whole.slice(-at - 1)));

// ---- L4 -----------------------------------------------------------------------------------------------------------

const l4Text = (text: fc.Arbitrary<string>) =>
  fc.oneof(
    fc.record({ kind: fc.constant("exact" as const), value: text }),
    fc.record({ kind: fc.constantFrom("prefix" as const, "suffix" as const), value: piece(text) }),
    fc.constant({ kind: "presence" as const, value: "" }),
  );
const accountMatch = fc.record({ namespace, serviceAccount: account });
const l4Match = fc.record({
  namespaces: rarely(l4Text(namespace)),
  notNamespaces: rarely(l4Text(namespace)),
  principals: rarely(l4Text(principalText)),
  notPrincipals: rarely(l4Text(principalText)),
  sourceIps: rarely(range),
  notSourceIps: rarely(range),
  destinationIps: rarely(range),
  notDestinationIps: rarely(range),
  destinationPorts: rarely(port),
  notDestinationPorts: rarely(port),
  serviceAccounts: rarely(accountMatch),
  notServiceAccounts: rarely(accountMatch),
});
const l4Policy = fc.record({
  action: fc.constantFrom("allow" as const, "deny" as const),
  dryRun: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
  rules: few(few(few(l4Match))),
});
const peer = fc.record({ sourceIp: ip, destinationIp: ip, port, identity: fc.option(identity, { nil: undefined }) });

test("L4: both say the same, of every policy and peer", () => {
  const seen = { allowed: 0, denied: 0, named: 0, dryRun: 0 };
  fc.assert(
    fc.property(fc.array(l4Policy, { maxLength: 4 }), peer, (policies, { identity: id, ...rest }) => {
      const named = policies.map((policy, i) => ({ name: `shop/p${i}`, policy }));
      const one: PolicyPeer = { ...rest, ...(id === undefined ? {} : { identity: id }) };
      const answer = evaluate(named, one);
      seen[answer.allowed ? "allowed" : "denied"]++;
      if (answer.policy !== undefined) seen.named++;
      if (answer.dryRun.length > 0) seen.dryRun++;
      expect(answer).toEqual(
        engine.evaluatePolicies(
          named.map((each) => ({ ...each })),
          one,
        ),
      );
    }),
    { numRuns: RUNS },
  );
  // Not a property of nothing.
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(RUNS / 50);
});

// ---- L7 -----------------------------------------------------------------------------------------------------------

const text7 = (text: fc.Arbitrary<string>, ignoreCase = false) =>
  fc
    .oneof(
      text.map((value) => ({ case: "exact" as const, value })),
      piece(text).map((value) => ({ case: "prefix" as const, value })),
      piece(text).map((value) => ({ case: "suffix" as const, value })),
      fc.constantFrom("/a/.*", "sh.*", "[a-z]+", "/[^/]+/b", "G.T").map((value) => ({ case: "regex" as const, value })),
      fc.constant({ case: "present" as const, value: true }),
    )
    .map((kind) => create(StringMatchSchema, { kind, ignoreCase }));
const path = fc.constantFrom("/", "/a", "/a/b", "/a?b=c", "/A", "/a/b/c", "");
const method = fc.constantFrom("GET", "POST", "get");
const host = fc.constantFrom("web", "web:80", "WEB.example", "web.example");
const headerName = fc.constantFrom("x-a", "x-b", "host", ":method", ":path", ":authority");
const value = fc.constantFrom("1", "2", "1,2", "", "abc");
const tokenPrincipal = fc.constantFrom("issuer/me", "issuer/you");
const cidr7 = range;
const source = fc.record({
  principals: rarely(text7(principalText)),
  notPrincipals: rarely(text7(principalText)),
  namespaces: rarely(text7(namespace)),
  notNamespaces: rarely(text7(namespace)),
  requestPrincipals: rarely(text7(tokenPrincipal)),
  notRequestPrincipals: rarely(text7(tokenPrincipal)),
  ipBlocks: rarely(cidr7),
  notIpBlocks: rarely(cidr7),
  remoteIpBlocks: rarely(cidr7),
  notRemoteIpBlocks: rarely(cidr7),
  trustDomains: rarely(text7(fc.constantFrom("cluster.local", "other"))),
  notTrustDomains: rarely(text7(fc.constantFrom("cluster.local", "other"))),
  serviceAccounts: rarely(fc.tuple(namespace, account).map((parts) => parts.join("/"))),
  notServiceAccounts: rarely(fc.tuple(namespace, account).map((parts) => parts.join("/"))),
});
const operation = fc.record({
  hosts: rarely(text7(host, true)),
  notHosts: rarely(text7(host, true)),
  ports: rarely(port),
  notPorts: rarely(port),
  methods: rarely(text7(method)),
  notMethods: rarely(text7(method)),
  paths: rarely(text7(path)),
  notPaths: rarely(text7(path)),
});
const anyText = fc.oneof(value, path, namespace, principalText, tokenPrincipal, host);
const keys = Object.values(Key).filter((each) => typeof each === "number");
const condition = fc
  .record({
    key: fc.constantFrom(...keys),
    header: headerName,
    claim: fc.constant(["role"]),
    values: few(text7(anyText)),
    notValues: few(text7(anyText)),
    cidrs: few(cidr7),
    notCidrs: rarely(cidr7),
    ports: few(port),
    notPorts: rarely(port),
  })
  .map(({ claim, ...from }) => create(PolicyConditionSchema, { ...from, claim: [...claim] }));
const rule = fc.record({ from: rarely(source), to: rarely(operation), when: rarely(condition) });
const policy = fc
  .record({
    action: fc.constantFrom(Action.ALLOW, Action.ALLOW, Action.DENY, Action.AUDIT, Action.CUSTOM),
    dryRun: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
    rules: few(rule),
  })
  .map((from): Policy => create(PolicySchema, from));
const subject = fc.record({
  identity: fc.oneof(identity, fc.constantFrom("", "spiffe://cluster.local/odd", "spiffe://")),
  sourceIp: ip,
  remoteIp: ip,
  destinationIp: ip,
  port,
  sni: fc.constantFrom("", "web", "web.example"),
  request: fc.option(
    fc.record({ method, authority: host, path, headers: few(fc.tuple(fc.constantFrom("x-a", "x-b"), value)) }),
    { nil: undefined, freq: 4 },
  ),
  token: fc.option(
    fc.record({
      principal: tokenPrincipal,
      presenter: fc.constantFrom("", "app"),
      audiences: few(value),
      claims: few(fc.tuple(fc.constantFrom("role", "other"), value)),
    }),
    { nil: undefined },
  ),
});

test("L7: both decide the same, by the same rule of the same policy", () => {
  const seen = { allowed: 0, denied: 0, named: 0 };
  fc.assert(
    fc.property(fc.array(policy, { maxLength: 4 }), subject, fc.boolean(), (policies, about, dryRun) => {
      const named = policies.map((each, i) => ({ ...each, name: `shop/p${i}`, namespace: "shop" }));
      const decision = decidePolicies(named, about, dryRun);
      seen[decision.allowed ? "allowed" : "denied"]++;
      if (decision.policy !== undefined) seen.named++;
      expect(decision).toEqual(
        engine.decideHttpPolicies(
          named.map((each) => toBinary(PolicySchema, each)),
          about,
          dryRun,
        ),
      );
    }),
    { numRuns: RUNS },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(RUNS / 50);
});

test("L7: what is said before there is a request holds for each of them", () => {
  const seen = { allowed: 0, denied: 0, depends: 0 };
  fc.assert(
    fc.property(fc.array(policy, { maxLength: 4 }), subject, (policies, about) => {
      if (about.request === undefined) return;
      const named = policies.map((each, i) => ({ ...each, name: `shop/p${i}`, namespace: "shop" }));
      const any = decideAnyRequest(named, about);
      seen[any.depends ? "depends" : any.allowed ? "allowed" : "denied"]++;
      if (!any.depends) expect(decidePolicies(named, about).allowed).toBe(any.allowed);
    }),
    { numRuns: RUNS },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(RUNS / 50);
});
