/** One object or set that each code is given for, and one like it for which it is not. */
import { describe, expect, it } from "vitest";
import { MESH_SETTINGS } from "../../../test/helpers/mesh-settings.ts";
import { analyze } from "./analyze.ts";
import { CODES, type Code } from "./codes.ts";
import { readManifests } from "./manifests.ts";

function codesOf(yaml: string): Code[] {
  return analyze(readManifests(yaml, "test.yaml"), MESH_SETTINGS).map(({ code }) => code);
}

/** Objects in short: `Kind name {spec}`, in namespace shop. */
function object(apiVersion: string, kind: string, name: string, rest: object, metadata: object = {}): string {
  return JSON.stringify({ apiVersion, kind, metadata: { name, namespace: "shop", ...metadata }, ...rest });
}

const all = (...objects: string[]) => objects.join("\n---\n");
const ANY_PORT = [{ name: "http", port: 80 }];
const namespace = (labels: object) =>
  JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: "shop", labels } });
const service = (name: string, spec: object = {}, metadata: object = {}) =>
  object(
    "v1",
    "Service",
    name,
    { spec: { clusterIP: "10.0.0.1", ports: ANY_PORT, selector: { app: name }, ...spec } },
    metadata,
  );
const bound = (name: string, spec: object = {}) =>
  service(name, spec, { labels: { "istio.io/use-waypoint": "waypoint" } });
const shared = (weight: string) =>
  service(
    "web",
    {},
    {
      labels: { "istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-canary": "canary" },
      annotations: { "istio.io/use-waypoint-canary-weight": weight },
    },
  );
const pod = (name: string, labels: object, extra: object = {}) =>
  object(
    "v1",
    "Pod",
    name,
    { spec: { nodeName: "n1" }, status: { phase: "Running", podIP: "10.1.0.1" } },
    { labels, ...extra },
  );
const deployment = (name: string, labels: object) =>
  object("apps/v1", "Deployment", name, { spec: { template: { metadata: { labels } } } });
const waypoint = object("gateway.networking.k8s.io/v1", "Gateway", "waypoint", {
  spec: { gatewayClassName: "weft-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
});
const virtualService = (name: string, spec: object) =>
  object("networking.istio.io/v1", "VirtualService", name, { spec: { hosts: ["web"], ...spec } });
const to = (host: string, more: object = {}) => ({ route: [{ destination: { host, ...more } }] });
const rule = (name: string, spec: object) =>
  object("networking.istio.io/v1", "DestinationRule", name, { spec: { host: "web", ...spec } });
const policy = (spec: object, metadata: object = {}) =>
  object("security.istio.io/v1", "AuthorizationPolicy", "policy", { spec }, metadata);
const entry = (name: string, spec: object, metadata: object = {}) =>
  object("networking.istio.io/v1", "ServiceEntry", name, { spec: { hosts: ["db.example"], ...spec } }, metadata);
const telemetry = (name: string, spec: object) => object("telemetry.istio.io/v1", "Telemetry", name, { spec });
const forWeb = { targetRefs: [{ kind: "Service", name: "web", group: "" }] };
const ALLOW_ALL = { rules: [{}] };
const httpRoute = (backend: string) =>
  object("gateway.networking.k8s.io/v1", "HTTPRoute", "route", {
    spec: {
      parentRefs: [{ group: "", kind: "Service", name: "web" }],
      rules: [{ backendRefs: [{ name: backend, port: 80 }] }],
    },
  });
const webhook = (name: string) =>
  JSON.stringify({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: "hooks" },
    webhooks: [{ name: "validation.istio.io", clientConfig: { service: { namespace: "shop", name } } }],
  });
const claimRule = { match: [{ headers: { "@request.auth.claims.role": { exact: "admin" } } }], ...to("web") };
/** A service behind a waypoint, as most objects need it to mean something. */
const shop = all(waypoint, bound("web"), deployment("web", { app: "web", version: "v1" }));

const CASES: readonly (readonly [what: string, code: Code, bad: string, good: string])[] = [
  [
    "a field that another has replaced",
    "IST0002",
    all(shop, virtualService("v", { http: [{ ...to("web"), mirror: { host: "web" }, mirrorPercent: 1 }] })),
    all(
      shop,
      virtualService("v", { http: [{ ...to("web"), mirror: { host: "web" }, mirrorPercentage: { value: 1 } }] }),
    ),
  ],
  [
    "a host that no service has",
    "IST0101",
    all(shop, virtualService("v", { http: [to("wbe")] })),
    all(shop, virtualService("v", { http: [to("web")] })),
  ],
  [
    "a subset that no DestinationRule has",
    "IST0101",
    all(
      shop,
      virtualService("v", { http: [to("web", { subset: "v2" })] }),
      rule("r", { subsets: [{ name: "v1", labels: { version: "v1" } }] }),
    ),
    all(
      shop,
      virtualService("v", { http: [to("web", { subset: "v1" })] }),
      rule("r", { subsets: [{ name: "v1", labels: { version: "v1" } }] }),
    ),
  ],
  [
    "a port that the service has not",
    "IST0101",
    all(shop, virtualService("v", { http: [to("web", { port: { number: 81 } })] })),
    all(shop, virtualService("v", { http: [to("web", { port: { number: 80 } })] })),
  ],
  [
    "a gateway that does not exist",
    "IST0101",
    all(shop, virtualService("v", { gateways: ["mesh", "edge"], http: [to("web")] })),
    all(
      shop,
      object("networking.istio.io/v1", "Gateway", "edge", { spec: {} }),
      virtualService("v", { gateways: ["mesh", "edge"], http: [to("web")] }),
    ),
  ],
  [
    "a delegate that does not exist",
    "IST0101",
    all(shop, virtualService("v", { http: [{ delegate: { name: "part" } }] })),
    all(
      shop,
      virtualService("v", { http: [{ delegate: { name: "part" } }] }),
      object("networking.istio.io/v1", "VirtualService", "part", { spec: { http: [to("web")] } }),
    ),
  ],
  ["a waypoint that does not exist", "IST0101", bound("web"), all(waypoint, bound("web"))],
  [
    "a waypoint of a namespace that does not exist",
    "IST0101",
    namespace({ "istio.io/use-waypoint": "waypoint" }),
    all(waypoint, namespace({ "istio.io/use-waypoint": "waypoint" })),
  ],
  [
    "a canary of waypoints that is not there",
    "IST0133",
    all(waypoint, shared("5")),
    all(waypoint, waypoint.replaceAll('"waypoint"', '"canary"'), shared("5")),
  ],
  ["a share that is none", "IST0125", shared("105"), shared("5")],
  [
    "the target of a policy that does not exist",
    "IST0101",
    all(waypoint, policy({ ...forWeb, ...ALLOW_ALL })),
    all(shop, policy({ ...forWeb, ...ALLOW_ALL })),
  ],
  [
    "a provider that the mesh has not",
    "IST0101",
    all(shop, policy({ ...forWeb, ...ALLOW_ALL, action: "CUSTOM", provider: { name: "opa" } })),
    all(
      shop,
      JSON.stringify({
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "istio", namespace: "istio-system" },
        data: {
          mesh: "extensionProviders: [{name: opa, envoyExtAuthzHttp: {service: web.shop.svc.cluster.local, port: 80}}]",
        },
      }),
      policy({ ...forWeb, ...ALLOW_ALL, action: "CUSTOM", provider: { name: "opa" } }),
    ),
  ],
  ["the backend of a route that does not exist", "IST0101", all(shop, httpRoute("wbe")), all(shop, httpRoute("web"))],
  [
    "a namespace that says nothing of the mesh",
    "IST0102",
    namespace({}),
    namespace({ "istio.io/dataplane-mode": "none" }),
  ],
  [
    "a pod that no agent has captured",
    "IST0103",
    all(namespace({ "istio.io/dataplane-mode": "ambient" }), pod("web", {})),
    all(
      namespace({ "istio.io/dataplane-mode": "ambient" }),
      pod("web", {}, { annotations: { "ambient.istio.io/redirection": "enabled" } }),
    ),
  ],
  [
    "a field that does not exist",
    "IST0106",
    all(shop, virtualService("v", { htpp: [], http: [to("web")] })),
    all(shop, virtualService("v", { http: [to("web")] })),
  ],
  [
    "an annotation on the wrong kind",
    "IST0107",
    service("web", {}, { annotations: { "istio.io/dry-run": "true" } }),
    policy(ALLOW_ALL, { annotations: { "istio.io/dry-run": "true" } }),
  ],
  [
    "an annotation that does not exist",
    "IST0108",
    service("web", {}, { annotations: { "networking.istio.io/exprtTo": "." } }),
    service("web", {}, { annotations: { "networking.istio.io/exportTo": "." } }),
  ],
  [
    "two VirtualServices for one host",
    "IST0109",
    all(shop, virtualService("v", { http: [to("web")] }), virtualService("w", { http: [to("web")] })),
    all(shop, virtualService("v", { http: [to("web")] }), virtualService("w", { hosts: ["other"], http: [to("web")] })),
  ],
  [
    "a destination with several ports and none chosen",
    "IST0112",
    all(
      waypoint,
      bound("web", { ports: [...ANY_PORT, { name: "grpc", port: 81 }] }),
      virtualService("v", { http: [to("web")] }),
    ),
    all(
      waypoint,
      bound("web", { ports: [...ANY_PORT, { name: "grpc", port: 81 }] }),
      virtualService("v", { http: [to("web", { port: { number: 81 } })] }),
    ),
  ],
  [
    "one port with two protocols for one workload",
    "IST0116",
    all(
      deployment("web", { app: "web" }),
      service("a", { selector: { app: "web" } }),
      service("b", { selector: { app: "web" }, ports: [{ name: "tcp", port: 80 }] }),
    ),
    all(
      deployment("web", { app: "web" }),
      service("a", { selector: { app: "web" } }),
      service("b", { selector: { app: "web" } }),
    ),
  ],
  [
    "a port that tells no protocol",
    "IST0118",
    service("web", { ports: [{ name: "web", port: 80 }] }),
    service("web", { ports: [{ name: "web", port: 80, appProtocol: "http" }] }),
  ],
  [
    "sidecars and none at once",
    "IST0123",
    namespace({ "istio-injection": "enabled", "istio.io/dataplane-mode": "ambient" }),
    namespace({ "istio-injection": "disabled", "istio.io/dataplane-mode": "ambient" }),
  ],
  [
    "an annotation without sense",
    "IST0125",
    policy(ALLOW_ALL, { annotations: { "istio.io/dry-run": "yes" } }),
    policy(ALLOW_ALL, { annotations: { "istio.io/dry-run": "true" } }),
  ],
  [
    "a selector that matches nothing",
    "IST0127",
    all(deployment("web", { app: "web" }), policy({ ...ALLOW_ALL, selector: { matchLabels: { app: "wbe" } } })),
    all(deployment("web", { app: "web" }), policy({ ...ALLOW_ALL, selector: { matchLabels: { app: "web" } } })),
  ],
  [
    "TLS that verifies nothing",
    "IST0128",
    all(shop, rule("r", { trafficPolicy: { tls: { mode: "SIMPLE", insecureSkipVerify: true } } })),
    all(shop, rule("r", { trafficPolicy: { tls: { mode: "SIMPLE" } } })),
  ],
  [
    "TLS that verifies nothing on one port",
    "IST0129",
    all(
      shop,
      rule("r", {
        trafficPolicy: {
          portLevelSettings: [{ port: { number: 80 }, tls: { mode: "SIMPLE", insecureSkipVerify: true } }],
        },
      }),
    ),
    all(shop, rule("r", { trafficPolicy: { portLevelSettings: [{ port: { number: 80 }, tls: { mode: "SIMPLE" } }] } })),
  ],
  [
    "a rule behind one that takes everything",
    "IST0130",
    all(shop, virtualService("v", { http: [to("web"), { match: [{ uri: { prefix: "/a" } }], ...to("web") }] })),
    all(shop, virtualService("v", { http: [{ match: [{ uri: { prefix: "/a" } }], ...to("web") }, to("web")] })),
  ],
  [
    "a rule whose every match is taken",
    "IST0130",
    all(
      shop,
      virtualService("v", {
        http: [
          { match: [{ uri: { prefix: "/a" } }], ...to("web") },
          { match: [{ uri: { exact: "/ab" } }], ...to("web") },
        ],
      }),
    ),
    all(
      shop,
      virtualService("v", {
        http: [
          { match: [{ uri: { prefix: "/a" }, method: { exact: "GET" } }], ...to("web") },
          { match: [{ uri: { exact: "/ab" } }], ...to("web") },
        ],
      }),
    ),
  ],
  [
    "one match of several that is taken",
    "IST0131",
    all(
      shop,
      virtualService("v", {
        http: [
          { match: [{ uri: { prefix: "/a" } }], ...to("web") },
          { match: [{ uri: { prefix: "/a/b" } }, { uri: { prefix: "/c" } }], ...to("web") },
        ],
      }),
    ),
    all(
      shop,
      virtualService("v", {
        http: [
          { match: [{ uri: { prefix: "/a/" } }], ...to("web") },
          { match: [{ uri: { prefix: "/a" } }, { uri: { prefix: "/c" } }], ...to("web") },
        ],
      }),
    ),
  ],
  [
    "a match that a waypoint cannot make",
    "IST0133",
    all(shop, virtualService("v", { http: [{ match: [{ sourceLabels: { app: "a" } }], ...to("web") }] })),
    all(shop, virtualService("v", { http: [{ match: [{ sourceNamespace: "a" }], ...to("web") }] })),
  ],
  [
    "mutual TLS that cannot be refused",
    "IST0133",
    object("security.istio.io/v1", "PeerAuthentication", "p", { spec: { mtls: { mode: "DISABLE" } } }),
    object("security.istio.io/v1", "PeerAuthentication", "p", { spec: { mtls: { mode: "PERMISSIVE" } } }),
  ],
  [
    "a rule that node agents cannot tell",
    "IST0133",
    policy({ action: "DENY", rules: [{ to: [{ operation: { methods: ["GET"] } }] }] }),
    policy({ action: "DENY", rules: [{ to: [{ operation: { ports: ["80"] } }] }] }),
  ],
  [
    "plain TCP without an address",
    "IST0134",
    entry("e", { resolution: "NONE", ports: [{ number: 5432, name: "tcp", protocol: "TCP" }] }),
    entry("e", { resolution: "DNS", ports: [{ number: 5432, name: "tcp", protocol: "TCP" }] }),
  ],
  [
    "an annotation that a label has replaced",
    "IST0135",
    pod("web", {}, { annotations: { "sidecar.istio.io/inject": "false" } }),
    pod("web", { "sidecar.istio.io/inject": "false" }),
  ],
  [
    "one port of a workload behind several of Services",
    "IST0137",
    all(
      deployment("web", { app: "web" }),
      service("a", { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: 8080 }] }),
      service("b", { selector: { app: "web" }, ports: [{ name: "http", port: 81, targetPort: 8080 }] }),
    ),
    all(
      deployment("web", { app: "web" }),
      service("a", { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: 8080 }] }),
      service("b", { selector: { app: "web" }, ports: [{ name: "http", port: 81, targetPort: 8081 }] }),
    ),
  ],
  ["a webhook without its Service", "IST0139", webhook("gone"), all(webhook("web"), service("web"))],
  [
    "claims that nobody checks",
    "IST0149",
    all(shop, virtualService("v", { http: [claimRule] })),
    all(
      shop,
      virtualService("v", { http: [claimRule] }),
      object("security.istio.io/v1", "RequestAuthentication", "r", {
        spec: { ...forWeb, jwtRules: [{ issuer: "https://issuer.example" }] },
      }),
    ),
  ],
  [
    "a provider of telemetry that the mesh has not",
    "IST0157",
    telemetry("t", { accessLogging: [{ providers: [{ name: "loki" }] }] }),
    telemetry("t", { accessLogging: [{ providers: [{ name: "envoy" }] }] }),
  ],
  [
    "two Telemetries for one namespace",
    "IST0160",
    all(telemetry("a", { accessLogging: [{}] }), telemetry("b", { accessLogging: [{}] })),
    all(shop, telemetry("a", { accessLogging: [{}] }), telemetry("b", { ...forWeb, accessLogging: [{}] })),
  ],
  [
    "a selector that matches a waypoint",
    "IST0166",
    all(
      pod("w", { "gateway.networking.k8s.io/gateway-name": "waypoint" }),
      policy({ ...ALLOW_ALL, selector: { matchLabels: { "gateway.networking.k8s.io/gateway-name": "waypoint" } } }),
    ),
    all(pod("w", { app: "w" }), policy({ ...ALLOW_ALL, selector: { matchLabels: { app: "w" } } })),
  ],
  [
    "a VirtualService for what is behind no waypoint",
    "IST0167",
    all(service("web"), virtualService("v", { http: [to("web")] })),
    all(shop, virtualService("v", { http: [to("web")] })),
  ],
  [
    "a DestinationRule for what is behind no waypoint",
    "IST0167",
    all(service("web"), rule("r", { trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } })),
    all(shop, rule("r", { trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } })),
  ],
  [
    "a route for what is behind no waypoint",
    "IST0167",
    all(service("web"), httpRoute("web")),
    all(shop, httpRoute("web")),
  ],
  [
    "a policy for what is behind no waypoint",
    "IST0167",
    all(service("web"), policy({ ...forWeb, ...ALLOW_ALL })),
    all(shop, policy({ ...forWeb, ...ALLOW_ALL })),
  ],
  [
    "token rules without a waypoint",
    "IST0167",
    object("security.istio.io/v1", "RequestAuthentication", "r", {
      spec: { jwtRules: [{ issuer: "https://issuer.example" }] },
    }),
    all(
      shop,
      object("security.istio.io/v1", "RequestAuthentication", "r", {
        spec: { ...forWeb, jwtRules: [{ issuer: "https://issuer.example" }] },
      }),
    ),
  ],
  [
    "a filter for other proxies",
    "IST0167",
    object("networking.istio.io/v1alpha3", "EnvoyFilter", "f", {
      spec: { workloadSelector: { labels: { a: "b" } }, configPatches: [] },
    }),
    all(shop, object("networking.istio.io/v1alpha3", "EnvoyFilter", "f", { spec: { ...forWeb, configPatches: [] } })),
  ],
  [
    "a kind that nobody executes",
    "IST0167",
    object("networking.istio.io/v1", "Sidecar", "default", { spec: {} }),
    object("networking.istio.io/v1", "WorkloadEntry", "vm", { spec: { address: "10.9.9.9" } }),
  ],
  [
    "what a controller says is wrong",
    "IST0171",
    object("gateway.networking.k8s.io/v1", "Gateway", "g", {
      spec: { gatewayClassName: "other" },
      status: { conditions: [{ type: "Programmed", status: "False", reason: "Invalid", message: "no" }] },
    }),
    object("gateway.networking.k8s.io/v1", "Gateway", "g", {
      spec: { gatewayClassName: "other" },
      status: { conditions: [{ type: "Programmed", status: "True" }] },
    }),
  ],
  [
    "a subset that selects nothing",
    "IST0173",
    all(shop, rule("r", { subsets: [{ name: "v2", labels: { version: "v2" } }] })),
    all(shop, rule("r", { subsets: [{ name: "v1", labels: { version: "v1" } }] })),
  ],
  [
    "a DestinationRule's host that no service has",
    "IST0174",
    all(shop, rule("r", { host: "wbe", subsets: [{ name: "v1", labels: { version: "v1" } }] })),
    all(shop, rule("r", { host: "*.shop.svc.cluster.local", subsets: [{ name: "v1", labels: { version: "v1" } }] })),
  ],
  [
    "one host and port with two protocols",
    "IST0177",
    all(
      entry("a", { ports: [{ number: 80, name: "p", protocol: "HTTP" }] }),
      entry("b", { ports: [{ number: 80, name: "p", protocol: "TCP" }] }),
    ),
    all(
      entry("a", { ports: [{ number: 80, name: "p", protocol: "HTTP" }] }),
      entry("b", { ports: [{ number: 80, name: "p", protocol: "HTTP" }] }),
    ),
  ],
];

describe("each code has its reason", () => {
  it.each(CASES)("%s: %s", (_, code, bad, good) => {
    expect(codesOf(bad)).toContain(code);
    expect(codesOf(good)).not.toContain(code);
  });

  it("is shown for every code but those that need a cluster or a fault of ours", () => {
    const shown = new Set(CASES.map(([, code]) => code));
    expect(Object.keys(CODES).filter((code) => !shown.has(code as Code))).toEqual(["IST0001", "IST0141"]);
  });
});
