import { toJson } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { AuthorizationSchema } from "#proto/authorization_pb.ts";
import type { Problem } from "./fields.ts";
import {
  convertedPolicy,
  type PeerAuthenticationFacts,
  peerAuthenticationFacts,
  staticStrict,
} from "./peer-authentication.ts";
import { PolicyIndex } from "./policy-index.ts";

const ROOT = "istio-system";
const STATIC = "istio-system/istio_converted_static_strict";
const NOBODY = { notPrincipals: [{ presence: {} }] };

interface Wanted {
  namespace?: string;
  name?: string;
  createdAt?: string;
  app?: string;
  mode?: string;
  ports?: Record<string, string>;
}

function peer({
  namespace = "a",
  name = "p",
  createdAt = "2026-01-01T00:00:01Z",
  app,
  mode,
  ports,
}: Wanted): PeerAuthenticationFacts {
  const problems: Problem[] = [];
  const spec = {
    ...(app === undefined ? {} : { selector: { matchLabels: { app } } }),
    ...(mode === undefined ? {} : { mtls: { mode } }),
    ...(ports === undefined
      ? {}
      : { portLevelMtls: Object.fromEntries(Object.entries(ports).map(([port, of]) => [port, { mode: of }])) }),
  };
  const facts = peerAuthenticationFacts(
    { metadata: { namespace, name, creationTimestamp: createdAt }, spec },
    problems,
  );
  expect(problems).toEqual([]);
  return facts;
}

function namesFor(policies: readonly Wanted[], namespace = "a", app = "x"): string[] {
  const index = new PolicyIndex(ROOT);
  for (const policy of policies) index.setPeerAuthentication(undefined, peer(policy));
  return index.namesFor(namespace, { app });
}

function rules(policy: PeerAuthenticationFacts, above: "STRICT" | "PERMISSIVE"): unknown {
  const converted = convertedPolicy(policy, above, ROOT);
  return converted && (toJson(AuthorizationSchema, converted) as { rules?: unknown }).rules;
}

describe("PeerAuthentication for node agents", () => {
  it("refuses peers without identity by one static policy in the root namespace", () => {
    expect(toJson(AuthorizationSchema, staticStrict(ROOT))).toEqual({
      name: "istio_converted_static_strict",
      namespace: ROOT,
      scope: "WORKLOAD_SELECTOR",
      action: "DENY",
      rules: [{ clauses: [{ matches: [NOBODY] }] }],
    });
  });

  it.each<[string, Wanted[], string[]]>([
    ["nothing", [], []],
    ["mesh STRICT", [{ namespace: ROOT, mode: "STRICT" }], [STATIC]],
    ["namespace over mesh", [{ namespace: ROOT, mode: "STRICT" }, { mode: "PERMISSIVE" }], []],
    ["namespace UNSET inherits", [{ namespace: ROOT, mode: "STRICT" }, { mode: "UNSET" }], [STATIC]],
    [
      "workload over namespace",
      [
        { name: "ns", mode: "STRICT" },
        { app: "x", mode: "DISABLE" },
      ],
      [],
    ],
    [
      "workload UNSET inherits",
      [
        { name: "ns", mode: "STRICT" },
        { app: "x", mode: "UNSET" },
      ],
      [STATIC],
    ],
    ["workload without mtls inherits", [{ name: "ns", mode: "STRICT" }, { app: "x" }], [STATIC]],
    ["another workload's", [{ app: "y", mode: "STRICT" }], []],
    ["another namespace's", [{ namespace: "b", mode: "STRICT" }], []],
    ["a selector in the root namespace", [{ namespace: ROOT, app: "x", mode: "STRICT" }], []],
    [
      "the oldest of a level",
      [
        { name: "new", mode: "PERMISSIVE", createdAt: "2026-01-01T00:00:09Z" },
        { name: "old", mode: "STRICT", createdAt: "2026-01-01T00:00:02Z" },
      ],
      [STATIC],
    ],
    [
      "ports that differ, by a policy of their own in place of the static one",
      [
        { name: "ns", mode: "STRICT" },
        { app: "x", ports: { "80": "PERMISSIVE" } },
      ],
      ["a/converted_peer_authentication_p"],
    ],
    [
      "ports that do not differ, as if they were not there",
      [
        { name: "ns", mode: "STRICT" },
        { app: "x", ports: { "80": "STRICT", "81": "UNSET" } },
      ],
      [STATIC],
    ],
    [
      "a strict port of a permissive workload",
      [{ app: "x", ports: { "80": "STRICT" } }],
      ["a/converted_peer_authentication_p"],
    ],
  ])("counts %s", (_, policies, names) => {
    expect(namesFor(policies)).toEqual(names);
  });

  it("applies a selector in the root namespace to workloads there", () => {
    expect(namesFor([{ namespace: ROOT, app: "x", mode: "STRICT" }], ROOT)).toEqual([STATIC]);
  });

  it("has a rule for each strict port of a permissive workload", () => {
    expect(rules(peer({ app: "x", ports: { "81": "STRICT", "80": "STRICT", "82": "DISABLE" } }), "PERMISSIVE")).toEqual(
      [
        { clauses: [{ matches: [{ ...NOBODY, destinationPorts: [80] }] }] },
        { clauses: [{ matches: [{ ...NOBODY, destinationPorts: [81] }] }] },
      ],
    );
  });

  it("has one rule with the exempt ports of a strict workload", () => {
    const policy = peer({ app: "x", mode: "STRICT", ports: { "80": "PERMISSIVE", "81": "DISABLE", "82": "STRICT" } });
    expect(rules(policy, "PERMISSIVE")).toEqual([
      {
        clauses: [
          { matches: [{ notDestinationPorts: [80] }] },
          { matches: [{ notDestinationPorts: [81] }] },
          { matches: [NOBODY] },
        ],
      },
    ]);
  });

  it("converts nothing that changes nothing, nor anything of the root namespace", () => {
    expect(rules(peer({ app: "x", mode: "PERMISSIVE", ports: { "80": "DISABLE" } }), "STRICT")).toBeUndefined();
    expect(rules(peer({ namespace: ROOT, app: "x", ports: { "80": "STRICT" } }), "PERMISSIVE")).toBeUndefined();
  });

  it("reads a mode that it does not know as STRICT, and says so", () => {
    const problems: Problem[] = [];
    const metadata = { namespace: "a", name: "p" };
    const spec = { mtls: { mode: "STRICTT" }, portLevelMtls: { http: {} } };
    expect(peerAuthenticationFacts({ metadata, spec }, problems).mode).toBe("STRICT");
    expect(problems.map(({ field }) => field)).toEqual(["spec.mtls.mode", "spec.portLevelMtls.http"]);
  });
});
