import { toJson } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { PolicySchema } from "#proto/l7_pb.ts";
import type { Problem } from "../../model/fields.ts";
import { waypointPolicyFacts } from "./waypoint-policy.ts";

const ROOT_NAMESPACE = "istio-system";
const REF = { targetRefs: [{ kind: "Service", group: "", name: "s" }] };

function read(spec: object, more: { namespace?: string; annotations?: Record<string, string> } = {}) {
  const problems: Problem[] = [];
  const { namespace = "shop", annotations = {} } = more;
  const facts = waypointPolicyFacts(
    { metadata: { namespace, name: "p", annotations }, spec },
    ROOT_NAMESPACE,
    problems,
  );
  return { facts, problems, policy: facts && (toJson(PolicySchema, facts.policy) as Record<string, unknown>) };
}

/** Rules of a policy that must be free of problems. */
function rules(spec: object): unknown {
  const { policy, problems } = read({ ...REF, ...spec });
  expect(problems).toEqual([]);
  return policy?.rules;
}

const from = (source: object) => ({ rules: [{ from: [{ source }] }] });
const to = (operation: object) => ({ rules: [{ to: [{ operation }] }] });
const when = (key: string, ...values: string[]) => ({ rules: [{ when: [{ key, values }] }] });

describe("AuthorizationPolicy for waypoints", () => {
  it("is one with targets, whatever a selector would select", () => {
    expect(read({ rules: [{}] }).facts).toBeUndefined();
    expect(read({ selector: { matchLabels: { a: "b" } } }).facts).toBeUndefined();
    expect(read({ ...REF, selector: {} }).problems.map(({ field }) => field)).toEqual(["spec.selector"]);
    expect(read(REF).facts?.targets).toEqual([{ kind: "Service", namespace: "shop", name: "s" }]);
  });

  it("takes Services, ServiceEntries and Gateways of its own namespace, GatewayClasses from the root namespace", () => {
    const gateway = { kind: "Gateway", group: "gateway.networking.k8s.io", name: "w" };
    const entry = { kind: "ServiceEntry", group: "networking.istio.io", name: "e" };
    const of = (ref: object, namespace?: string) =>
      read({ targetRefs: [ref] }, namespace === undefined ? {} : { namespace });
    expect(of(gateway).facts?.targets).toEqual([{ kind: "Gateway", namespace: "shop", name: "w" }]);
    expect(of(entry).problems).toEqual([]);
    expect(of({ ...gateway, namespace: "other" }).problems).toHaveLength(1);
    expect(of({ kind: "Pod", name: "x" }).problems).toHaveLength(1);
    const cls = { ...gateway, kind: "GatewayClass", name: "istio-waypoint" };
    expect(of(cls).problems).toHaveLength(1);
    expect(of(cls, "istio-system").facts?.targets).toEqual([
      { kind: "GatewayClass", namespace: "", name: "istio-waypoint" },
    ]);
  });

  it("allows nothing without rules and everything with an empty one", () => {
    expect(rules({})).toBeUndefined();
    expect(rules({ rules: [{}] })).toEqual([{}]);
    expect(read({ ...REF, action: "DENY" }).problems).toHaveLength(1);
  });

  it("reads every field of a source", () => {
    const source = {
      namespaces: ["a*z", "b*"],
      notNamespaces: ["c"],
      requestPrincipals: ["iss/sub"],
      ipBlocks: ["10.0.0.0/8"],
      notIpBlocks: ["::1"],
      remoteIpBlocks: ["1.2.3.4"],
      trustDomains: ["t"],
    };
    expect(rules(from(source))).toEqual([
      {
        from: [
          {
            namespaces: [{ regex: "a.*z" }, { prefix: "b" }],
            notNamespaces: [{ exact: "c" }],
            requestPrincipals: [{ exact: "iss/sub" }],
            ipBlocks: [{ ip: "10.0.0.0", length: 8 }],
            notIpBlocks: [{ ip: "::1", length: 128 }],
            remoteIpBlocks: [{ ip: "1.2.3.4", length: 32 }],
            trustDomains: [{ exact: "t" }],
          },
        ],
      },
    ]);
    expect(rules(from({ serviceAccounts: ["x", "ns/y"], notServiceAccounts: ["z"] }))).toEqual([
      { from: [{ serviceAccounts: ["shop/x", "ns/y"], notServiceAccounts: ["shop/z"] }] },
    ]);
    expect(read({ ...REF, ...from({ serviceAccounts: ["x"], namespaces: ["y"] }) }).problems).toHaveLength(1);
  });

  it("reads every field of an operation", () => {
    expect(
      rules(to({ hosts: ["A.com", "a.com:*"], methods: ["GET"], notPorts: ["80"], paths: ["/x*", "/a/{*}/{**}"] })),
    ).toEqual([
      {
        to: [
          {
            hosts: [
              { exact: "A.com", ignoreCase: true },
              { prefix: "a.com:", ignoreCase: true },
            ],
            methods: [{ exact: "GET" }],
            notPorts: [80],
            paths: [{ prefix: "/x" }, { regex: "/a/[^/]+/.*" }],
          },
        ],
      },
    ]);
  });

  it.each([
    ["request.headers[X-Token]", { header: "x-token", values: [{ exact: "1" }] }],
    [
      "request.auth.claims[realm][roles]",
      { key: "REQUEST_CLAIM", claim: ["realm", "roles"], values: [{ exact: "1" }] },
    ],
    ["request.auth.audiences", { key: "REQUEST_AUDIENCE", values: [{ exact: "1" }] }],
    ["connection.sni", { key: "CONNECTION_SNI", values: [{ exact: "1" }] }],
    ["destination.port", { key: "DESTINATION_PORT", ports: [1] }],
    ["source.serviceAccount", { key: "SOURCE_SERVICE_ACCOUNT", values: [{ exact: "shop/1" }] }],
  ])("knows the condition %s", (key, condition) => {
    expect(rules(when(key, "1"))).toEqual([{ when: [condition] }]);
  });

  it("leaves out an ALLOW rule that it does not understand, and keeps the rest of a DENY rule", () => {
    const bad = { from: [{ source: { ipBlocks: ["x"] } }], to: [{ operation: { methods: ["GET"] } }] };
    expect(read({ ...REF, rules: [bad] }).policy?.rules).toBeUndefined();
    expect(read({ ...REF, action: "DENY", rules: [bad] }).policy?.rules).toEqual([
      { to: [{ methods: [{ exact: "GET" }] }] },
    ]);
    const nothingLeft = { rules: [{ when: [{ key: "moon.phase", values: ["full"] }] }] };
    expect(read({ ...REF, action: "DENY", ...nothingLeft }).policy?.rules).toBeUndefined();
    expect(read({ ...REF, ...nothingLeft }).problems[0]?.reason).toMatch(/no key/);
  });

  it("says who is asked, and what is only tried", () => {
    expect(read({ ...REF, action: "CUSTOM", provider: { name: "opa" }, rules: [{}] }).facts?.provider).toBe("opa");
    expect(read({ ...REF, action: "CUSTOM", rules: [{}] }).problems).toHaveLength(1);
    const annotations = { "istio.io/dry-run": "true" };
    expect(read({ ...REF, rules: [{}] }, { annotations }).policy?.dryRun).toBe(true);
  });
});
