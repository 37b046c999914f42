import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { KubeObject } from "#lib/kube/types.ts";
import { MESH_SETTINGS } from "../../../test/helpers/mesh-settings.ts";
import { analyze } from "./analyze.ts";
import { readManifests } from "./manifests.ts";
import { formatMessage, isAtLeast, messageRecord } from "./message.ts";
import { isSuppressed, parseSuppression } from "./suppression.ts";

const TEXT = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: web
  namespace: shop
spec:
  host: web
---
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: web
  namespace: shop
spec:
  hosts: [web]
  http:
  - route:
    - destination:
        host: gone
`;

describe("messages", () => {
  const messages = analyze(readManifests(TEXT, "shop.yaml"), MESH_SETTINGS);

  it("are the worst first, in Istio's line format, with file and line", () => {
    expect(messages.map(formatMessage)).toEqual([
      'Error [IST0101] (VirtualService shop/web shop.yaml:22) Referenced host not found: "gone.shop.svc.cluster.local"',
      "Warning [IST0167] (VirtualService shop/web shop.yaml:20) No service has a host of this VirtualService (web.shop.svc.cluster.local): it has no effect",
      'Warning [IST0174] (DestinationRule shop/web shop.yaml:7) No service has the host "web.shop.svc.cluster.local"',
      "Info [IST0102] (Namespace shop shop.yaml:12) The namespace is not in the mesh. Run 'kubectl label namespace shop istio.io/dataplane-mode=ambient' to bring it in, or with =none to say that it stays out",
    ]);
  });

  it("are records for machines", () => {
    expect(messages.map(messageRecord)[0]).toEqual({
      code: "IST0101",
      level: "Error",
      origin: "VirtualService shop/web",
      reference: "shop.yaml:22",
      message: 'Referenced host not found: "gone.shop.svc.cluster.local"',
    });
  });

  it("are left out where the object says so", () => {
    const quiet = TEXT.replaceAll(
      /namespace: shop/g,
      "namespace: shop\n  annotations: {galley.istio.io/analyze-suppress: 'IST0101, IST0167'}",
    );
    expect(analyze(readManifests(quiet, "f"), MESH_SETTINGS).map(({ code }) => code)).toEqual(["IST0174", "IST0102"]);
    const silent = TEXT.replaceAll(
      /namespace: shop/g,
      "namespace: shop\n  annotations: {galley.istio.io/analyze-suppress: '*'}",
    );
    expect(analyze(readManifests(silent, "f"), MESH_SETTINGS).map(({ code }) => code)).toEqual(["IST0102"]);
  });

  it("are left out by code and object", () => {
    const left = (text: string) => {
      const suppression = parseSuppression(text);
      return messages.filter((message) => suppression === undefined || !isSuppressed(message, [suppression])).length;
    };
    expect(left("IST0101=VirtualService shop/web")).toBe(3);
    expect(left("IST0101=VirtualService shop/*")).toBe(3);
    expect(left("IST0101=VirtualService other/web")).toBe(4);
    expect(left("IST0102=Namespace *")).toBe(3);
    for (const text of ["IST0101", "IST9999=Namespace a", "IST0101=", ""])
      expect(parseSuppression(text)).toBeUndefined();
  });

  it("have levels that are one above the other", () => {
    expect(isAtLeast("Error", "Warning")).toBe(true);
    expect(isAtLeast("Warning", "Warning")).toBe(true);
    expect(isAtLeast("Info", "Warning")).toBe(false);
  });
});

describe("analysis", () => {
  const kinds = [
    ["v1", "Service"],
    ["v1", "Pod"],
    ["v1", "Namespace"],
    ["v1", "ConfigMap"],
    ["discovery.k8s.io/v1", "EndpointSlice"],
    ["apps/v1", "Deployment"],
    ["networking.istio.io/v1", "VirtualService"],
    ["networking.istio.io/v1", "DestinationRule"],
    ["networking.istio.io/v1", "ServiceEntry"],
    ["networking.istio.io/v1", "WorkloadEntry"],
    ["security.istio.io/v1", "AuthorizationPolicy"],
    ["security.istio.io/v1", "PeerAuthentication"],
    ["security.istio.io/v1", "RequestAuthentication"],
    ["telemetry.istio.io/v1", "Telemetry"],
    ["gateway.networking.k8s.io/v1", "Gateway"],
    ["gateway.networking.k8s.io/v1", "HTTPRoute"],
    ["gateway.networking.k8s.io/v1", "TCPRoute"],
    ["admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"],
  ] as const;

  const FIELDS = [
    "hosts",
    "http",
    "host",
    "ports",
    "selector",
    "rules",
    "from",
    "to",
    "mtls",
    "parentRefs",
    "listeners",
    "endpoints",
  ];
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom("", "*", "a", "web", "10.0.0.1", "STRICT", 0, 80, -1, true, null),
      fc.array(tie("any"), { maxLength: 3 }),
      fc.dictionary(
        fc.constantFrom(...FIELDS, "match", "route", "destination", "name", "number", "metadata", "labels"),
        tie("any"),
        { maxKeys: 4 },
      ),
    ),
  })).any;

  it("says something of whatever anybody writes, and never fails by itself", () => {
    const object = fc
      .tuple(fc.constantFrom(...kinds), fc.constantFrom("a", "b"), value, value)
      .map(([[apiVersion, kind], name, spec, status]) => {
        return { apiVersion, kind, metadata: { name, namespace: "shop" }, spec, status, webhooks: spec } as KubeObject;
      });
    fc.assert(
      fc.property(fc.array(object, { maxLength: 6 }), (objects) => {
        const messages = analyze(
          objects.map((each) => ({ object: each })),
          MESH_SETTINGS,
        );
        expect(messages.filter(({ code }) => code === "IST0001")).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});
