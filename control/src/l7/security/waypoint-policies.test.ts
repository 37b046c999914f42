import { describe, expect, it } from "vitest";
import type { IstioObject } from "#lib/kube/types.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { keyOf, metaOf } from "../../model/meta.ts";
import { serviceDefinition } from "../../model/service.ts";
import type { ServiceDefinition } from "../../model/service-definition.ts";
import { readAuthorizerProvider } from "./authorizer.ts";
import { sourceKey } from "./jwks.ts";
import { waypointFinding } from "./policy-finding.ts";
import { type Target, targetKey } from "./policy-target.ts";
import { requestAuthenticationFacts } from "./request-authentication.ts";
import { WaypointPolicies } from "./waypoint-policies.ts";
import { waypointPolicyFacts } from "./waypoint-policy.ts";

const SERVICE: Target = { kind: "Service", namespace: "shop", name: "s" };
const TARGETS = { targetRefs: [{ kind: "Service", name: "s" }] };

function object(name: string, spec: object): IstioObject {
  return { metadata: { namespace: "shop", name }, spec };
}

describe("policies of waypoints", () => {
  function setUp() {
    const told: string[] = [];
    const keys = new Map<string, string>();
    const opa = serviceDefinition(
      { metadata: { namespace: "auth", name: "opa" }, spec: { ports: [{ port: 9191 }] } },
      "cluster.local",
    ) as ServiceDefinition;
    const entry = {
      name: "opa",
      envoyExtAuthzGrpc: { service: "opa.auth.svc.cluster.local", port: 9191, timeout: "1.5s", failOpen: true },
    };
    const providers = [readAuthorizerProvider(new Fields(entry, "p", []))];
    const policies = new WaypointPolicies({
      services: {
        service: () => undefined,
        serviceEntry: () => [],
        host: (host) => (host === opa.hostname ? opa : undefined),
      },
      clusterDomain: "cluster.local",
      trustDomains: () => ["mesh.example", "old.example"],
      provider: (name) => providers.find((each) => each?.name === name),
      keys: { want: () => {}, keysOf: (source) => keys.get(sourceKey(source)) },
      onTarget: (target) => told.push(targetKey(target)),
      onPolicy: (name) => told.push(`policy ${name}`),
      onJwt: (name) => told.push(`jwt ${name}`),
    });
    const putPolicy = (name: string, spec: object) => {
      const facts = waypointPolicyFacts(object(name, spec), "istio-system", []);
      if (facts !== undefined) policies.authorizationPolicies.upsert(facts);
    };
    const putJwt = (name: string, spec: object) => {
      const facts = requestAuthenticationFacts(object(name, spec), "istio-system", []);
      if (facts !== undefined) policies.requestAuthentications.upsert(facts);
    };
    return { policies, putPolicy, putJwt, told, keys };
  }
  const cluster = ({ hostname, port }: { hostname: string; port: number }) => `outbound|${port}||${hostname}`;

  it("are found by what they are for, and tell when that changes", () => {
    const { policies, putPolicy, told } = setUp();
    putPolicy("b", { ...TARGETS, rules: [{}] });
    putPolicy("a", { ...TARGETS, rules: [{}] });
    expect(policies.policiesFor(SERVICE)).toEqual(["shop/a", "shop/b"]);
    expect(told).toEqual(["Service/shop/s", "policy shop/b", "Service/shop/s", "policy shop/a"]);
    told.length = 0;
    putPolicy("a", { targetRefs: [{ kind: "Service", name: "other" }] });
    expect(told).toEqual(["Service/shop/s", "Service/shop/other", "policy shop/a"]);
    policies.authorizationPolicies.remove("shop/b");
    expect(policies.policiesFor(SERVICE)).toEqual([]);
    expect(policies.policy("shop/b", cluster)).toBeUndefined();
  });

  it("know the mesh's principals by each of its trust domains", () => {
    const { policies, putPolicy } = setUp();
    const principals = ["cluster.local/ns/a/sa/b", "old.example/ns/c/*", "other/ns/a/sa/b", "*/sa/b", "*"];
    const when = [{ key: "source.principal", notValues: ["mesh.example/ns/x/sa/y"] }];
    putPolicy("p", { ...TARGETS, rules: [{ from: [{ source: { principals } }], when }] });
    const [rule] = policies.policy("shop/p", cluster)?.rules ?? [];
    expect(rule?.from[0]?.principals.map(({ kind }) => kind.value)).toEqual([
      "mesh.example/ns/a/sa/b",
      "old.example/ns/a/sa/b",
      "mesh.example/ns/c/",
      "old.example/ns/c/",
      "other/ns/a/sa/b",
      "/sa/b",
      true,
    ]);
    expect(rule?.when[0]?.notValues.map(({ kind }) => kind.value)).toEqual([
      "mesh.example/ns/x/sa/y",
      "old.example/ns/x/sa/y",
    ]);
  });

  it("ask the provider that the mesh names, and deny when there is none", () => {
    const { policies, putPolicy } = setUp();
    putPolicy("known", { ...TARGETS, action: "CUSTOM", provider: { name: "opa" }, rules: [{}] });
    putPolicy("unknown", { ...TARGETS, action: "CUSTOM", provider: { name: "nobody" }, rules: [{}] });
    expect(policies.policy("shop/known", cluster)?.authorizer).toMatchObject({
      cluster: "outbound|9191||opa.auth.svc.cluster.local",
      grpc: true,
      timeoutMs: 1_500n,
      failOpen: true,
    });
    expect(policies.policy("shop/unknown", cluster)?.authorizer).toBeUndefined();
  });

  it("give token rules the keys that were fetched, and say so while there are none", () => {
    const { policies, putJwt, told, keys } = setUp();
    putJwt("j", {
      ...TARGETS,
      jwtRules: [
        { issuer: "z", jwksUri: "https://z.example/keys", fromHeaders: [{ name: "X-Jwt", prefix: "Bearer " }] },
        { issuer: "https://a.example" },
      ],
    });
    expect(policies.jwtFor(SERVICE)).toEqual(["shop/j"]);
    expect(policies.jwt("shop/j")?.rules.map(({ issuer, jwksMissing }) => [issuer, jwksMissing])).toEqual([
      ["https://a.example", true],
      ["z", true],
    ]);
    told.length = 0;
    keys.set("https://z.example/keys", "{}");
    policies.keysChanged("https://z.example/keys");
    expect(told).toEqual(["jwt shop/j"]);
    expect(policies.jwt("shop/j")?.rules[1]).toMatchObject({
      jwks: "{}",
      jwksMissing: false,
      fromHeaders: [{ name: "x-jwt", prefix: "Bearer " }],
    });
  });
});

describe("RequestAuthentication for waypoints", () => {
  it("names what it does not understand and accepts no token by it", () => {
    const problems: Problem[] = [];
    const jwtRules = [{ issuer: "a", jwks: "{}" }, { issuer: "not an address" }, { jwksUri: "ftp://x/y" }, { odd: 1 }];
    const facts = requestAuthenticationFacts(object("j", { ...TARGETS, jwtRules }), "istio-system", problems);
    expect(facts?.rules.every(({ rule }) => rule.jwksMissing)).toBe(true);
    expect(new Set(problems.map(({ field }) => field.slice(0, "spec.jwtRules[0]".length)))).toEqual(
      new Set([0, 1, 2, 3].map((index) => `spec.jwtRules[${index}]`)),
    );
  });
});

describe("WaypointAccepted", () => {
  function condition(problems: Problem[], states: ("bound" | "not found" | "not bound")[], extra?: string) {
    const targets = states.map((_, index): Target => ({ ...SERVICE, name: String(index) }));
    const target = object("p", {});
    const facts = { ...metaOf(target), targets };
    expect(keyOf(facts)).toBe("shop/p");
    const verdict = { object: target, problems, keptLastGood: false, facts };
    return waypointFinding(verdict, ({ name }) => states[Number(name)] ?? "not found", extra)?.condition;
  }

  it("tells where a policy is not in force, and why", () => {
    expect(condition([], ["bound"])).toMatchObject({ status: "True", reason: "Accepted" });
    expect(condition([], ["not found"])).toMatchObject({ status: "False", reason: "TargetNotFound" });
    expect(condition([], ["not bound", "not found"])).toMatchObject({ status: "False", reason: "AncestorNotBound" });
    expect(condition([], ["bound", "not found"])).toMatchObject({ status: "True", reason: "PartiallyInvalid" });
    expect(condition([{ field: "f", reason: "r" }], ["bound"])).toMatchObject({ status: "False", reason: "Invalid" });
    expect(condition([], ["bound"], "no such provider")).toMatchObject({ status: "False", reason: "Invalid" });
  });
});
