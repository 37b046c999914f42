import { describe, expect, it } from "vitest";
import { readManifests } from "../../../control/src/analysis/manifests.ts";
import { meshSettings } from "../cluster/mesh-objects.ts";
import { podEffects, podFactsText } from "./describe-pod.ts";
import { serviceEffects, serviceFacts } from "./describe-service.ts";
import type { Effect } from "./effect.ts";
import { findParty } from "./parties.ts";
import { MeshPicture } from "./picture.ts";

const SHOP = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: shop
  labels: {app: web, version: v1}
  annotations: {ambient.istio.io/redirection: enabled}
spec: {nodeName: n1, serviceAccountName: web}
status: {phase: Running, podIP: 10.1.0.1, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {istio.io/use-waypoint: waypoint}}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80, targetPort: 8080}], selector: {app: web}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: PERMISSIVE}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: from-shop, namespace: shop}
spec: {rules: [{from: [{source: {namespaces: [shop]}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /a}, method: {exact: GET}}]
    route: [{destination: {host: web, subset: v1}}]
    timeout: 2s
  - directResponse: {status: 418}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  trafficPolicy: {connectionPool: {tcp: {maxConnections: 5}}}
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
`;
const WAYPOINT = `
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: weft-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reads, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules: [{to: [{operation: {methods: [GET], paths: ["/a/*"]}}], when: [{key: "request.headers[x-a]", values: [b]}]}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec: {targetRefs: [{group: "", kind: Service, name: web}], jwtRules: [{issuer: "https://issuer.example"}]}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: logs, namespace: shop}
spec: {accessLogging: [{providers: [{name: envoy}]}]}
`;

function picture(text: string): MeshPicture {
  const objects = readManifests(text, "f").map(({ object }) => object);
  return new MeshPicture(objects, meshSettings(objects, "istio-system"));
}

const lines = (effects: readonly Effect[]) => effects.map(({ kind, name, does }) => `${kind} ${name}: ${does}`);

describe("a Service", () => {
  it("is described by all that its waypoint executes", () => {
    const mesh = picture(SHOP + WAYPOINT);
    const { service } = findParty(mesh, "web", "shop");
    if (service === undefined) throw new Error("no service");
    expect(lines(serviceEffects(mesh, service))).toEqual([
      "Gateway shop/waypoint: bound to waypoint shop/waypoint",
      "VirtualService shop/web: #0: GET, prefix /a → web.shop.svc.cluster.local subset v1 with timeoutMs; #1: everything → answer 418",
      "DestinationRule shop/web: sets pool; subset v1 (version=v1) has 1 workload(s); subset v2 (version=v2) has 0 workload(s)",
      "AuthorizationPolicy shop/reads: ALLOW at the waypoint, by Service shop/web: to methods GET and paths /a/* and when request_header[x-a] values b",
      "RequestAuthentication shop/tokens: checks tokens of https://issuer.example; requests without one pass",
      "Telemetry shop/logs: says something of logging at the waypoint",
    ]);
    expect(serviceFacts(mesh, service)).toEqual([
      ["Host", "web.shop.svc.cluster.local"],
      ["Addresses", "10.96.0.1"],
      ["Ports", "80 (http) → 8080, HTTP11"],
      ["Workloads", "1, 1 of them ready"],
    ]);
  });

  it("is told that nobody executes what is for it without a waypoint", () => {
    const mesh = picture(SHOP.replace("istio.io/use-waypoint: waypoint", "a: b"));
    const { service } = findParty(mesh, "svc/web", "shop");
    if (service === undefined) throw new Error("no service");
    const effects = serviceEffects(mesh, service);
    expect(effects.map(({ kind }) => kind)).toEqual(["VirtualService", "DestinationRule"]);
    for (const { does } of effects) expect(does).toMatch(/^no effect, for the service is behind no waypoint: /);
  });
});

describe("a pod", () => {
  it("is described by its place in the mesh, its policies and its services", () => {
    const mesh = picture(SHOP + WAYPOINT);
    const { pods } = findParty(mesh, "pod/web-1", "shop");
    const [pod] = pods;
    if (pod === undefined) throw new Error("no pod");
    expect(podFactsText(mesh, pod)).toEqual([
      ["Node", "n1"],
      ["Addresses", "10.1.0.1"],
      ["Mesh", "in the mesh, captured by its node's agent"],
      ["Identity", "spiffe://cluster.local/ns/shop/sa/web"],
      ["Mutual TLS", "STRICT: who has no identity is refused; port 9090 PERMISSIVE"],
    ]);
    expect(lines(podEffects(mesh, pod)).slice(0, 4)).toEqual([
      "Namespace shop: says istio.io/dataplane-mode=ambient",
      "PeerAuthentication shop/strict: sets mode STRICT for selected workloads, port 9090 PERMISSIVE",
      "AuthorizationPolicy shop/from-shop: ALLOW at the agent, for namespace shop: namespaces shop",
      "Service shop/web: sends traffic for web.shop.svc.cluster.local here (80 → 8080), by way of waypoint shop/waypoint",
    ]);
  });
});
