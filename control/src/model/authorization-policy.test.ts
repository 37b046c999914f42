import { toJson } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { type Authorization, AuthorizationSchema, Scope } from "#proto/authorization_pb.ts";
import { MESH_SETTINGS } from "../../../test/helpers/mesh-settings.ts";
import { authorizationPolicyFacts } from "./authorization-policy.ts";
import type { Problem } from "./fields.ts";
import type { MeshSettings } from "./settings.ts";

function read(spec: unknown, more: { namespace?: string; dryRun?: boolean; settings?: Partial<MeshSettings> } = {}) {
  const problems: Problem[] = [];
  const annotations = more.dryRun === true ? { "istio.io/dry-run": "true" } : {};
  const metadata = { namespace: more.namespace ?? "a", name: "p", annotations };
  return {
    facts: authorizationPolicyFacts({ metadata, spec }, { ...MESH_SETTINGS, ...more.settings }, problems),
    problems,
  };
}

function rules(authorization: Authorization | undefined): unknown {
  if (authorization === undefined) return undefined;
  return (toJson(AuthorizationSchema, authorization) as { rules?: unknown }).rules;
}

/** Rules of a policy that must be free of problems. */
function rulesOf(spec: unknown): unknown {
  const { facts, problems } = read(spec);
  expect(problems).toEqual([]);
  return rules(facts.authorization);
}

const from = (...sources: object[]) => sources.map((source) => ({ source }));
const to = (...operations: object[]) => operations.map((operation) => ({ operation }));
const exact = (text: string) => ({ exact: text });
const ip = (...bytes: number[]) => Buffer.from(bytes).toString("base64");

describe("AuthorizationPolicy for node agents", () => {
  it("has a rule per rule, with one clause for all `to`, one for all `from`, one per `when`", () => {
    const spec = {
      rules: [
        {
          from: from({ namespaces: ["x"] }, { principals: ["td/ns/y/sa/z"] }),
          to: to({ ports: ["80"] }, { ports: ["81"], notPorts: ["82"] }),
          when: [
            { key: "source.ip", values: ["10.0.0.1"], notValues: ["10.0.0.2"] },
            { key: "destination.port", values: ["90"] },
          ],
        },
        {},
      ],
    };
    expect(rulesOf(spec)).toEqual([
      {
        clauses: [
          { matches: [{ destinationPorts: [80] }, { destinationPorts: [81], notDestinationPorts: [82] }] },
          { matches: [{ namespaces: [exact("x")] }, { principals: [exact("td/ns/y/sa/z")] }] },
          {
            matches: [
              {
                sourceIps: [{ address: ip(10, 0, 0, 1), length: 32 }],
                notSourceIps: [{ address: ip(10, 0, 0, 2), length: 32 }],
              },
            ],
          },
          { matches: [{ destinationPorts: [90] }] },
        ],
      },
      {},
    ]);
  });

  it("knows exact, prefix, suffix and presence, and every not-form", () => {
    const source = {
      principals: ["*", "*x", "x*", "x"],
      notPrincipals: ["*"],
      notNamespaces: ["n"],
      serviceAccounts: ["ns/sa", "sa"],
      notServiceAccounts: ["b/c"],
      ipBlocks: ["10.0.0.0/8", "2001:db8::1"],
      notIpBlocks: ["10.1.0.0/16"],
    };
    expect(rulesOf({ rules: [{ from: from(source) }] })).toEqual([
      {
        clauses: [
          {
            matches: [
              {
                principals: [{ presence: {} }, { suffix: "x" }, { prefix: "x" }, { exact: "x" }],
                notPrincipals: [{ presence: {} }],
                notNamespaces: [exact("n")],
                serviceAccounts: [
                  { namespace: "ns", serviceAccount: "sa" },
                  { namespace: "a", serviceAccount: "sa" },
                ],
                notServiceAccounts: [{ namespace: "b", serviceAccount: "c" }],
                sourceIps: [
                  { address: ip(10, 0, 0, 0), length: 8 },
                  { address: ip(0x20, 0x01, 0x0d, 0xb8, ...Array<number>(11).fill(0), 1), length: 128 },
                ],
                notSourceIps: [{ address: ip(10, 1, 0, 0), length: 16 }],
              },
            ],
          },
        ],
      },
    ]);
  });

  it.each([
    ["a selector", "a", { selector: { matchLabels: { app: "x" } } }, Scope.WORKLOAD_SELECTOR],
    [
      "a selector in the root namespace",
      "istio-system",
      { selector: { matchLabels: { app: "x" } } },
      Scope.WORKLOAD_SELECTOR,
    ],
    ["an empty selector", "a", { selector: {} }, Scope.NAMESPACE],
    ["no selector", "a", {}, Scope.NAMESPACE],
    ["no selector in the root namespace", "istio-system", {}, Scope.GLOBAL],
  ])("takes its scope from %s", (_, namespace, spec, scope) => {
    expect(read(spec, { namespace }).facts.authorization?.scope).toBe(scope);
  });

  it("matches nothing without rules: an ALLOW policy then denies all", () => {
    expect(read({}).facts.authorization).toMatchObject({ action: 0, rules: [] });
    expect(read(undefined).facts.authorization).toMatchObject({ action: 0, rules: [] });
  });

  it.each([
    ["targetRefs", { targetRefs: [{ kind: "Service", name: "s" }], rules: [{}] }, true, ""],
    ["CUSTOM", { action: "CUSTOM", provider: { name: "p" }, rules: [{}] }, false, "CUSTOM"],
    ["AUDIT", { action: "AUDIT", rules: [{}] }, false, "AUDIT"],
  ])("is not sent with %s", (_, spec, targeted, unsupported) => {
    const { facts, problems } = read(spec);
    expect(problems).toEqual([]);
    expect(facts).toMatchObject({ targeted, unsupported: expect.stringContaining(unsupported) });
    expect(facts.authorization).toBeUndefined();
  });

  it("is sent for a dry run only when that is enabled", () => {
    expect(read({ rules: [{}] }, { dryRun: true }).facts.unsupported).toMatch(/dry-run/);
    const enabled = read({ rules: [{}] }, { dryRun: true, settings: { dryRunPolicies: true } });
    expect(enabled.facts.authorization?.dryRun).toBe(true);
  });

  describe("with what L4 cannot tell", () => {
    const http = [
      { to: to({ methods: ["GET"] }) },
      { to: to({ ports: ["80"] }, { notPaths: ["/x"] }) },
      { from: from({ requestPrincipals: ["*"] }) },
      { from: from({ remoteIpBlocks: ["10.0.0.0/8"], namespaces: ["x"] }) },
      { from: from({ trustDomains: ["td"] }) },
      { when: [{ key: "request.headers[x]", values: ["1"] }] },
      { when: [{ key: "source.serviceAccount", values: ["a/b"] }] },
    ];

    it.each(http.map((rule) => [JSON.stringify(rule), rule]))("drops the whole ALLOW rule: %s", (_, rule) => {
      const { facts, problems } = read({ rules: [rule, { from: from({ namespaces: ["y"] }) }] });
      expect(problems).toEqual([]);
      expect(rules(facts.authorization)).toEqual([{ clauses: [{ matches: [{ namespaces: [exact("y")] }] }] }]);
      expect(facts.unsupported).toMatch(/waypoint/);
    });

    it("drops only that part of a DENY rule, and enforces the rest", () => {
      const deny = (rule: object) => rulesOf({ action: "DENY", rules: [rule] });
      const onlyX = [{ clauses: [{ matches: [{ namespaces: [exact("x")] }] }] }];
      expect(deny({ from: from({ namespaces: ["x"] }), to: to({ methods: ["GET"] }) })).toEqual(onlyX);
      expect(deny({ from: from({ namespaces: ["x"], requestPrincipals: ["*"] }) })).toEqual(onlyX);
      const when = [{ key: "request.headers[x]", values: ["1"] }];
      expect(deny({ from: from({ namespaces: ["x"] }), when })).toEqual(onlyX);
    });

    it("makes a DENY rule with nothing else match nothing", () => {
      const deny = (rule: object) => rulesOf({ action: "DENY", rules: [rule] });
      expect(deny({ to: to({ methods: ["GET"] }) })).toEqual([{ clauses: [{ matches: [{}] }] }]);
      expect(deny({ to: to({ methods: ["GET"] }, { ports: ["80"] }) })).toEqual([
        { clauses: [{ matches: [{}, { destinationPorts: [80] }] }] },
      ]);
    });

    it("names it", () => {
      expect(read({ rules: http }).facts.unsupported).toMatch(
        /cannot tell methods, notPaths, requestPrincipals, remoteIpBlocks, trustDomains, request\.headers\[x\]/,
      );
    });
  });

  describe("that is not understood", () => {
    it.each([
      [
        "an unknown field of a source",
        [{ from: from({ namespaces: ["x"], nameSpaces: ["y"] }) }],
        "spec.rules[0].from[0].source.nameSpaces",
      ],
      ["an unknown field of a rule", [{ form: [] }], "spec.rules[0].form"],
      [
        "an address that is none",
        [{ from: from({ ipBlocks: ["10.0.0.0/8", "10.0.0.0/33"] }) }],
        "spec.rules[0].from[0].source.ipBlocks[1]",
      ],
      [
        "a negated address that is none",
        [{ from: from({ notIpBlocks: ["x"] }) }],
        "spec.rules[0].from[0].source.notIpBlocks[0]",
      ],
      ["a port that is none", [{ to: to({ ports: ["http"] }) }], "spec.rules[0].to[0].operation.ports[0]"],
      ["an empty source", [{ from: [{}] }], "spec.rules[0].from[0].source"],
      ["a condition without values", [{ when: [{ key: "source.ip" }] }], "spec.rules[0].when[0].values"],
      ["a text in place of a list", [{ from: from({ namespaces: "x" }) }], "spec.rules[0].from[0].source.namespaces"],
    ])("never allows anything: %s", (_, broken, field) => {
      const { facts, problems } = read({ rules: broken });
      expect(problems.map((problem) => problem.field)).toEqual([field]);
      expect(facts.authorization?.rules).toEqual([]);
    });

    it.each([
      ["selector", { selector: { matchLabels: { app: 1 } } }, "spec.selector.matchLabels.app"],
      ["scope", { selectr: {} }, "spec.selectr"],
      ["action", { action: "ALOW" }, "spec.action"],
      ["spec", { rules: {} }, "spec.rules"],
    ])("allows nothing when its %s is unclear", (_, part, field) => {
      const { facts, problems } = read({ rules: [{}], ...part });
      expect(problems.map((problem) => problem.field)).toContain(field);
      expect(facts.authorization).toMatchObject({ action: 0, rules: [] });
    });

    it("keeps what is understood of a DENY rule", () => {
      const { facts, problems } = read({ action: "DENY", rules: [{ from: from({ namespaces: ["x"] }), fro: 1 }] });
      expect(problems).toHaveLength(1);
      expect(rules(facts.authorization)).toEqual([{ clauses: [{ matches: [{ namespaces: [exact("x")] }] }] }]);
    });

    it("survives any JSON", () => {
      for (const spec of [null, [], "x", 1, { rules: [null, 1, []] }, { rules: [{ from: [null, { source: 1 }] }] }]) {
        expect(() => read(spec)).not.toThrow();
      }
    });
  });
});
