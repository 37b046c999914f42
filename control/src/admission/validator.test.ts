import { describe, expect, it } from "vitest";
import type { KubeObject } from "#lib/kube/types.ts";
import { MESH_SETTINGS } from "../../../test/helpers/mesh-settings.ts";
import { MeshSnapshot } from "../analysis/mesh-snapshot.ts";
import { parseReview, reviewAnswer } from "./review.ts";
import { decide } from "./validator.ts";

const object = (apiVersion: string, kind: string, spec: unknown, metadata: object = {}): KubeObject =>
  ({ apiVersion, kind, metadata: { namespace: "shop", name: "it", ...metadata }, spec }) as KubeObject;
const virtualService = (spec: unknown, metadata: object = {}) =>
  object("networking.istio.io/v1", "VirtualService", spec, metadata);
const rule = (trafficPolicy: unknown) =>
  object("networking.istio.io/v1", "DestinationRule", { host: "web", trafficPolicy });
const policy = (spec: unknown) => object("security.istio.io/v1", "AuthorizationPolicy", spec);
const to = (host: string) => ({ hosts: ["web"], http: [{ route: [{ destination: { host } }] }] });

/** What a control plane knows of namespace shop: one service behind a waypoint. */
const SHOP = new MeshSnapshot(
  [
    object(
      "gateway.networking.k8s.io/v1",
      "Gateway",
      { gatewayClassName: "weft-waypoint", listeners: [{ name: "mesh", port: 15_008, protocol: "HBONE" }] },
      { name: "waypoint" },
    ),
    object(
      "v1",
      "Service",
      { clusterIP: "10.0.0.1", ports: [{ name: "http", port: 80 }], selector: { app: "web" } },
      { name: "web", labels: { "istio.io/use-waypoint": "waypoint" } },
    ),
  ],
  MESH_SETTINGS,
);

function ask(of: KubeObject, oldObject?: KubeObject, around: MeshSnapshot | undefined = SHOP) {
  const operation = oldObject === undefined ? "CREATE" : "UPDATE";
  return decide({ uid: "u", operation, object: of, oldObject }, { settings: MESH_SETTINGS, around: () => around });
}

describe("an object", () => {
  it.each([
    ["a VirtualService without a rule", virtualService({ hosts: ["web"] }), /spec: needs http, tls or tcp/],
    [
      "weights that add up to nothing",
      virtualService({
        hosts: ["web"],
        http: [{ route: [{ destination: { host: "web" } }, { destination: { host: "web" } }] }],
      }),
      /weights must not all be 0/,
    ],
    ["a DENY policy without rules", policy({ action: "DENY" }), /spec\.rules/],
    [
      "targetRefs beside a selector",
      policy({ targetRefs: [{ group: "", kind: "Service", name: "web" }], selector: { matchLabels: { a: "b" } } }),
      /selector/,
    ],
    [
      "a port that is none",
      object("security.istio.io/v1", "PeerAuthentication", { portLevelMtls: { http: { mode: "STRICT" } } }),
      /portLevelMtls/,
    ],
    ["a ServiceEntry without hosts", object("networking.istio.io/v1", "ServiceEntry", { ports: [] }), /spec\.hosts/],
    [
      "a token rule without an issuer",
      object("security.istio.io/v1", "RequestAuthentication", {
        targetRefs: [{ group: "", kind: "Service", name: "web" }],
        jwtRules: [{}],
      }),
      /issuer/,
    ],
    [
      "an expression that is none",
      object("telemetry.istio.io/v1", "Telemetry", { accessLogging: [{ filter: { expression: "1 +" } }] }),
      /filter/,
    ],
  ])("is refused for %s", (_, bad, message) => {
    const { allowed, message: text } = ask(bad);
    expect(allowed).toBe(false);
    expect(text).toMatch(/^IST0106: /);
    expect(text).toMatch(message);
  });

  it("is taken without a word when all is well", () => {
    expect(ask(virtualService(to("web")))).toEqual({ allowed: true, message: "", warnings: [] });
    expect(ask(policy({ rules: [{}] }))).toEqual({ allowed: true, message: "", warnings: [] });
    expect(ask(object("example.org/v1", "Anything", { a: 1 }))).toEqual({ allowed: true, message: "", warnings: [] });
  });

  it("is taken with a warning when it names what is not there, which may come", () => {
    const { allowed, warnings } = ask(virtualService(to("gone")));
    expect([allowed, warnings]).toEqual([true, ['[IST0101] Referenced host not found: "gone.shop.svc.cluster.local"']]);
  });

  it("is taken with a warning when another mesh can do what this one cannot", () => {
    const { allowed, warnings } = ask(rule({ proxyProtocol: { version: "V1" } }));
    expect([allowed, warnings]).toEqual([
      true,
      [
        "[IST0167] spec.trafficPolicy.proxyProtocol.version: only V2 is supported; this version of the object is not in force here",
      ],
    ]);
  });

  it("is taken with a warning when it is a filter for other proxies", () => {
    const filter = object("networking.istio.io/v1alpha3", "EnvoyFilter", {
      workloadSelector: { labels: { istio: "ingressgateway" } },
      configPatches: [{ applyTo: "HTTP_FILTER", patch: { operation: "INSERT_BEFORE", value: {} } }],
    });
    const { allowed, warnings } = ask(filter);
    expect(allowed).toBe(true);
    expect(warnings[0]).toMatch(/^\[IST0167\] spec\.workloadSelector: /);
  });

  it("is told of Gateway API's problems, whose place is the status", () => {
    const parentRefs = [{ group: "", kind: "Service", name: "web" }];
    const route = object("gateway.networking.k8s.io/v1", "HTTPRoute", {
      parentRefs,
      rules: [{ backendRefs: [{ name: "gone", port: 80 }] }],
    });
    const { allowed, warnings } = ask(route);
    expect(allowed).toBe(true);
    expect(warnings.join()).toContain("[IST0101] Service shop/gone does not exist");
  });

  it("that was bad before may lose a finalizer or change its labels, not its spec", () => {
    const bad = virtualService({ hosts: ["web"] }, { finalizers: ["a/b"] });
    expect(ask(virtualService({ hosts: ["web"] }), bad).allowed).toBe(true);
    expect(ask(virtualService({ hosts: ["web", "db"] }), bad).allowed).toBe(false);
  });

  it("is judged by itself while nothing else is known", () => {
    expect(
      decide(
        { uid: "u", operation: "CREATE", object: virtualService(to("gone")), oldObject: undefined },
        { settings: MESH_SETTINGS, around: () => undefined },
      ).warnings,
    ).toEqual([]);
  });
});

describe("a review", () => {
  it("is read, or is none", () => {
    const request = { uid: "u", operation: "CREATE", object: policy({}) };
    expect(parseReview(JSON.stringify({ kind: "AdmissionReview", request }))?.request?.object.kind).toBe(
      "AuthorizationPolicy",
    );
    const removal = { uid: "u", operation: "DELETE", object: null, oldObject: policy({}) };
    expect(parseReview(JSON.stringify({ kind: "AdmissionReview", request: removal }))).toEqual({
      uid: "u",
      request: undefined,
    });
    for (const text of [
      "",
      "[]",
      "{}",
      '{"kind":"AdmissionReview"}',
      '{"kind":"AdmissionReview","request":{"uid":7}}',
    ]) {
      expect(parseReview(text)).toBeUndefined();
    }
  });

  it("is answered with no more warnings, and no longer ones, than an API server passes on", () => {
    const warnings = Array.from({ length: 40 }, () => "x".repeat(1_000));
    const { response } = JSON.parse(reviewAnswer("u", { allowed: true, message: "", warnings })) as {
      response: { warnings: string[] };
    };
    expect(response.warnings.join("").length).toBeLessThanOrEqual(4_096);
    expect(response.warnings.every((text) => text.length < 256)).toBe(true);
  });
});

it("is judged in bounded time, however many rules it has", () => {
  const match = (i: number) => [{ uri: { prefix: `/${i}` }, headers: { "x-a": { exact: String(i) } } }];
  const route = [{ destination: { host: "web" } }];
  const http = Array.from({ length: 8_000 }, (_, i) => ({ match: match(i), route }));
  const begun = performance.now();
  expect(ask(virtualService({ hosts: ["web"], http })).allowed).toBe(true);
  // Comparing all with all would take minutes.
  expect(performance.now() - begun).toBeLessThan(10_000);
});
