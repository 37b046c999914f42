import { fromBinary, toJson } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { KubeObject } from "#lib/kube/types.ts";
import { AddressSchema, ServiceSchema, WorkloadSchema } from "#proto/workload_pb.ts";
import { MESH_SETTINGS } from "../../../test/helpers/mesh-settings.ts";
import { modelInputs } from "../kube/inputs.ts";
import { MeshModel } from "./mesh-model.ts";

/** A model of the given objects, each with a `kind`. */
function build(...objects: (KubeObject & { kind: string; [field: string]: unknown })[]) {
  const model = new MeshModel(MESH_SETTINGS);
  const problems: string[] = [];
  const note = (verdict: { problems: readonly { field: string }[] }) => {
    problems.push(...verdict.problems.map(({ field }) => field));
  };
  const verdicts = { authorizationPolicy: note, peerAuthentication: note, serviceEntry: note, workloadEntry: note };
  const inputs = new Map(modelInputs(model, verdicts).map((input) => [input.type.kind, input]));
  for (const object of objects) inputs.get(object.kind)?.handler.upsert(object);
  model.flush();
  const get = (name: string): Record<string, unknown> | undefined => {
    const message = model.addresses.get(name)?.message;
    if (message === undefined) return undefined;
    const { type } = fromBinary(AddressSchema, message);
    if (type.case === "workload") return toJson(WorkloadSchema, type.value) as Record<string, unknown>;
    if (type.case === "service") return toJson(ServiceSchema, type.value) as Record<string, unknown>;
    return undefined;
  };
  return { model, problems, get, names: [...model.addresses.names()].sort() };
}

const base64 = (...bytes: number[]) => Buffer.from(bytes).toString("base64");
const meta = (name: string, more: object = {}) => ({ namespace: "a", name, ...more });
const running = { phase: "Running", podIP: "10.0.0.1", conditions: [{ type: "Ready", status: "True" as const }] };
const POD = "Kubernetes//Pod/a/p";
const WEB = "a/web.a.svc.cluster.local";

function pod(more: { metadata?: object; spec?: object; status?: object } = {}) {
  return {
    kind: "Pod",
    metadata: meta("p", { labels: { app: "web" }, ...more.metadata }),
    spec: { nodeName: "n", serviceAccountName: "sa", containers: [], ...more.spec },
    status: { ...running, ...more.status },
  };
}

function service(spec: object = {}, metadata: object = {}) {
  const basis = { clusterIPs: ["10.96.0.1"], selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] };
  return { kind: "Service", metadata: meta("web", metadata), spec: { ...basis, ...spec } };
}

describe("Pod to Workload", () => {
  it("carries identity, node, addresses and health", () => {
    const { get } = build(pod({ status: { podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }] } }));
    expect(get(POD)).toEqual({
      uid: POD,
      name: "p",
      namespace: "a",
      addresses: [base64(10, 0, 0, 1), base64(0xfd, ...Array<number>(14).fill(0), 1)],
      serviceAccount: "sa",
      node: "n",
      clusterId: "Kubernetes",
      workloadName: "p",
      workloadType: "POD",
      canonicalName: "web",
      canonicalRevision: "latest",
    });
  });

  it.each([
    ["succeeded", { status: { phase: "Succeeded" } }],
    ["failed", { status: { phase: "Failed" } }],
    ["without address", { status: { podIP: "" } }],
  ])("leaves out a pod that is %s", (_, more) => {
    expect(build(pod(more)).names).toEqual([]);
  });

  it.each([
    ["pending with an address", { status: { phase: "Pending", conditions: [] } }, "UNHEALTHY"],
    ["not ready", { status: { conditions: [{ type: "Ready", status: "False" }] } }, "UNHEALTHY"],
    ["being deleted", { metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } }, "UNHEALTHY"],
    ["ready", {}, undefined],
  ])("knows the health of a pod that is %s", (_, more, status) => {
    expect(build(pod(more)).get(POD)?.status).toBe(status);
  });

  it.each([
    ["captured", { metadata: { annotations: { "ambient.istio.io/redirection": "enabled" } } }, "HBONE", undefined],
    [
      "about to be captured",
      { metadata: { annotations: { "ambient.istio.io/redirection": "pending" } } },
      undefined,
      undefined,
    ],
    ["speaking tunnels itself", { metadata: { labels: { "networking.istio.io/tunnel": "http" } } }, "HBONE", true],
    ["plain", {}, undefined, undefined],
  ])("takes tunnels when %s", (_, more, tunnelProtocol, nativeTunnel) => {
    const workload = build(pod(more)).get(POD);
    expect([workload?.tunnelProtocol, workload?.nativeTunnel]).toEqual([tunnelProtocol, nativeTunnel]);
  });

  const owner = (kind: string, name: string) => [{ apiVersion: "v1", kind, name, uid: "u", controller: true }];
  it.each([
    [
      "a Deployment",
      { labels: { "pod-template-hash": "abc12" }, ownerReferences: owner("ReplicaSet", "web-abc12") },
      "web",
    ],
    ["a bare ReplicaSet", { ownerReferences: owner("ReplicaSet", "rs-1") }, "rs-1"],
    ["a CronJob", { ownerReferences: owner("Job", "nightly-28765432") }, "nightly"],
    ["a Job", { ownerReferences: owner("Job", "once") }, "once"],
    ["a StatefulSet", { ownerReferences: owner("StatefulSet", "db") }, "db"],
    ["a label", { labels: { "service.istio.io/workload-name": "mine" }, ownerReferences: owner("Job", "x") }, "mine"],
  ])("is named after %s", (_, metadata, name) => {
    const workload = build(pod({ metadata })).get(POD);
    expect(workload?.workloadName).toBe(name);
  });

  it("prefers the canonical name and revision labels in their order", () => {
    const labels = { app: "3", "app.kubernetes.io/name": "2", version: "3", "app.kubernetes.io/version": "2" };
    expect(build(pod({ metadata: { labels } })).get(POD)).toMatchObject({ canonicalName: "2", canonicalRevision: "2" });
    const first = { ...labels, "service.istio.io/canonical-name": "1", "service.istio.io/canonical-revision": "1" };
    expect(build(pod({ metadata: { labels: first } })).get(POD)).toMatchObject({
      canonicalName: "1",
      canonicalRevision: "1",
    });
  });

  it("has its node's locality, the root namespace's network, and HOST_NETWORK when it uses the node's", () => {
    const labels = {
      "topology.kubernetes.io/region": "r",
      "topology.kubernetes.io/zone": "z",
      "topology.istio.io/subzone": "s",
    };
    const { get } = build(
      pod({ spec: { hostNetwork: true } }),
      { kind: "Node", metadata: { name: "n", labels } },
      { kind: "Namespace", metadata: { name: "istio-system", labels: { "topology.istio.io/network": "net" } } },
    );
    expect(get(POD)).toMatchObject({
      locality: { region: "r", zone: "z", subzone: "s" },
      network: "net",
      networkMode: "HOST_NETWORK",
    });
  });

  it("resolves named target ports, also of native sidecars, and leaves out what it cannot", () => {
    const ports = [
      { port: 80, name: "web", targetPort: "http" },
      { port: 81, name: "side", targetPort: "proxy" },
      { port: 82, name: "none", targetPort: "nobody" },
      { port: 83, name: "same" },
      { port: 53, name: "dns", protocol: "UDP" },
    ];
    const spec = {
      containers: [{ name: "c", ports: [{ name: "http", containerPort: 8000 }] }],
      initContainers: [
        { name: "i", restartPolicy: "Always", ports: [{ name: "proxy", containerPort: 9000 }] },
        { name: "j", ports: [{ name: "nobody", containerPort: 1 }] },
      ],
    };
    const { get } = build(pod({ spec }), service({ ports }));
    expect(get(POD)?.services).toEqual({
      [WEB]: {
        ports: [
          { servicePort: 80, targetPort: 8000 },
          { servicePort: 81, targetPort: 9000 },
          { servicePort: 83, targetPort: 83 },
        ],
      },
    });
    expect(get(WEB)?.ports).toMatchObject([
      { servicePort: 80 },
      { servicePort: 81 },
      { servicePort: 82 },
      { targetPort: 83 },
    ]);
  });

  it("names the policies that select it, sorted, then what PeerAuthentication comes to", () => {
    const policy = (namespace: string, name: string, spec: object) => ({
      kind: "AuthorizationPolicy",
      metadata: { namespace, name },
      spec,
    });
    const selector = { matchLabels: { app: "web" } };
    const { get } = build(
      pod(),
      policy("a", "z", { selector, rules: [{}] }),
      policy("istio-system", "root", { selector, rules: [{}] }),
      policy("a", "b", { selector, rules: [{}] }),
      policy("a", "whole-namespace", { rules: [{}] }),
      policy("a", "custom", { selector, action: "CUSTOM", rules: [{}] }),
      policy("b", "elsewhere", { selector, rules: [{}] }),
      { kind: "PeerAuthentication", metadata: meta("s"), spec: { mtls: { mode: "STRICT" } } },
    );
    expect(get(POD)?.authorizationPolicies).toEqual([
      "a/b",
      "a/z",
      "istio-system/root",
      "istio-system/istio_converted_static_strict",
    ]);
  });
});

describe("Service to Service", () => {
  it("carries addresses, ports and protocols", () => {
    const ports = [
      { port: 80, name: "http-web", targetPort: 8080 },
      { port: 443, name: "x", appProtocol: "https", targetPort: "tls" },
    ];
    const { get } = build(service({ ports, clusterIPs: ["10.96.0.1", "fd00::9"], ipFamilies: ["IPv4", "IPv6"] }));
    expect(get(WEB)).toEqual({
      name: "web",
      namespace: "a",
      hostname: "web.a.svc.cluster.local",
      addresses: [{ address: base64(10, 96, 0, 1) }, { address: base64(0xfd, ...Array<number>(14).fill(0), 9) }],
      ports: [
        { servicePort: 80, targetPort: 8080, appProtocol: "HTTP11" },
        { servicePort: 443, appProtocol: "TLS" },
      ],
      ipFamilies: "DUAL",
      canonical: true,
    });
  });

  it("has no address when headless, and is not there as an ExternalName", () => {
    expect(build(service({ clusterIPs: ["None"] })).get(WEB)?.addresses).toBeUndefined();
    expect(build(service({ type: "ExternalName" })).names).toEqual([]);
  });

  const zone = { mode: "FAILOVER", routingPreference: ["NETWORK", "REGION", "ZONE"] };
  const annotations = { "networking.istio.io/traffic-distribution": "PreferClose" };
  it.each<[string, object, object, object | undefined]>([
    ["nothing", {}, {}, undefined],
    ["PreferClose", { trafficDistribution: "PreferClose" }, {}, zone],
    ["PreferSameZone", { trafficDistribution: "PreferSameZone" }, {}, zone],
    [
      "PreferSameNode",
      { trafficDistribution: "PreferSameNode" },
      {},
      { mode: "FAILOVER", routingPreference: ["NETWORK", "REGION", "ZONE", "SUBZONE", "NODE"] },
    ],
    ["the annotation", {}, { annotations }, zone],
    ["the field over the annotation", { trafficDistribution: "Any" }, { annotations }, undefined],
    [
      "internalTrafficPolicy Local",
      { internalTrafficPolicy: "Local" },
      {},
      { mode: "STRICT", routingPreference: ["NODE"] },
    ],
    ["publishNotReadyAddresses", { publishNotReadyAddresses: true }, {}, { healthPolicy: "ALLOW_ALL" }],
  ])("balances as %s says", (_, spec, metadata, loadBalancing) => {
    expect(build(service(spec, metadata)).get(WEB)?.loadBalancing).toEqual(loadBalancing);
  });

  it("takes the namespace's traffic distribution when it has none", () => {
    const { get } = build(service(), { kind: "Namespace", metadata: { name: "a", annotations } });
    expect(get(WEB)?.loadBalancing).toEqual(zone);
  });
});

describe("ServiceEntry", () => {
  const entry = (spec: object, more: object = {}, status?: object) => ({
    kind: "ServiceEntry",
    metadata: meta("e", more),
    spec: { hosts: ["h.example"], ports: [{ number: 80, name: "http", protocol: "HTTP" }], ...spec },
    ...(status === undefined ? {} : { status }),
  });
  const UID = "Kubernetes/networking.istio.io/ServiceEntry/a/e";

  it("whose hosts were to be looked up for each request says that they are not", () => {
    const { problems, names } = build(entry({ hosts: ["*.h.example"], resolution: "DYNAMIC_DNS" }));
    expect(problems).toEqual(["spec.resolution"]);
    expect(names).toEqual(["a/*.h.example"]);
  });

  it("is one service per host, with inline endpoints as workloads", () => {
    const endpoints = [
      {
        address: "10.1.0.1",
        ports: { http: 8080 },
        serviceAccount: "sa",
        weight: 5,
        locality: "r/z",
        network: "n2",
        labels: { app: "x" },
      },
      { address: "backend.example" },
      { address: "unix:///run/x" },
    ];
    const { get, names, problems } = build(
      entry({
        hosts: ["h.example", "i.example"],
        resolution: "STATIC",
        endpoints,
        addresses: ["10.9.0.1"],
        subjectAltNames: ["spiffe://x/ns/a/sa/b"],
      }),
    );
    expect(problems).toEqual([]);
    expect(names).toEqual([`${UID}/10.1.0.1`, `${UID}/backend.example`, "a/h.example", "a/i.example"]);
    expect(get("a/h.example")).toEqual({
      name: "e",
      namespace: "a",
      hostname: "h.example",
      addresses: [{ address: base64(10, 9, 0, 1) }],
      ports: [{ servicePort: 80, targetPort: 80, appProtocol: "HTTP11" }],
      subjectAltNames: ["spiffe://x/ns/a/sa/b"],
      canonical: true,
    });
    expect(get(`${UID}/10.1.0.1`)).toMatchObject({
      addresses: [base64(10, 1, 0, 1)],
      network: "n2",
      serviceAccount: "sa",
      capacity: 5,
      locality: { region: "r", zone: "z" },
      canonicalName: "x",
      services: {
        "a/h.example": { ports: [{ servicePort: 80, targetPort: 8080 }] },
        "a/i.example": { ports: [{ servicePort: 80, targetPort: 8080 }] },
      },
    });
    expect(get(`${UID}/backend.example`)).toMatchObject({ hostname: "backend.example" });
  });

  it("passes through when there is no resolution", () => {
    const { get } = build(entry({ addresses: ["10.9.0.0/16"] }));
    expect(get("a/h.example")).toMatchObject({
      addresses: [{ address: base64(10, 9, 0, 0), length: 16 }],
      loadBalancing: { mode: "PASSTHROUGH", healthPolicy: "ALLOW_ALL" },
    });
  });

  it("resolves its own host when DNS has no endpoints", () => {
    const { get } = build(entry({ resolution: "DNS" }));
    expect(get(`${UID}/h.example`)).toMatchObject({
      hostname: "h.example",
      services: { "a/h.example": { ports: [{ servicePort: 80, targetPort: 80 }] } },
    });
  });

  it("uses the addresses that were allocated, unless it has its own, no resolution, or opts out", () => {
    const status = {
      addresses: [
        { value: "240.240.0.5", host: "h.example" },
        { value: "240.240.0.6", host: "other" },
      ],
    };
    const addresses = (object: ReturnType<typeof entry>) => build(object).get("a/h.example")?.addresses;
    expect(addresses(entry({ resolution: "DNS" }, {}, status))).toEqual([{ address: base64(240, 240, 0, 5) }]);
    expect(addresses(entry({ resolution: "STATIC", addresses: ["1.1.1.1"] }, {}, status))).toEqual([
      { address: base64(1, 1, 1, 1) },
    ]);
    expect(addresses(entry({ resolution: "NONE" }, {}, status))).toBeUndefined();
    const labels = { "networking.istio.io/enable-autoallocate-ip": "false" };
    expect(addresses(entry({ resolution: "DNS" }, { labels }, status))).toBeUndefined();
  });

  it("selects pods and WorkloadEntries of its namespace by label", () => {
    const { get } = build(
      entry({
        resolution: "STATIC",
        workloadSelector: { labels: { app: "web" } },
        ports: [{ number: 80, name: "http", targetPort: 81 }],
      }),
      pod(),
      {
        kind: "WorkloadEntry",
        metadata: meta("we"),
        spec: { address: "10.2.0.1", labels: { app: "web" }, ports: { http: 82 } },
      },
    );
    expect(get(POD)?.services).toEqual({ "a/h.example": { ports: [{ servicePort: 80, targetPort: 81 }] } });
    expect(get("Kubernetes/networking.istio.io/WorkloadEntry/a/we")?.services).toEqual({
      "a/h.example": { ports: [{ servicePort: 80, targetPort: 82 }] },
    });
  });

  it("yields to a Kubernetes Service of its host, and to an older entry", () => {
    const host = "web.a.svc.cluster.local";
    const { get } = build(entry({ hosts: [host], resolution: "DNS" }), service());
    expect(get(WEB)).toMatchObject({ name: "web" });
    const other = (namespace: string, name: string, second: number) => ({
      ...entry({ resolution: "DNS" }),
      metadata: { namespace, name, creationTimestamp: `2026-01-01T00:00:0${second}Z` },
    });
    const many = build(other("b", "late", 5), other("a", "younger", 3), other("a", "older", 2));
    expect(many.get("a/h.example")).toMatchObject({ name: "older", canonical: true });
    expect(many.get("b/h.example")?.canonical).toBeUndefined();
    const foreign = { ...entry({ hosts: [host], resolution: "DNS" }), metadata: { namespace: "b", name: "e" } };
    expect(build(foreign, service()).get(`b/${host}`)?.canonical).toBeUndefined();
  });

  it("names what is wrong with it, and serves the rest", () => {
    const { problems, get } = build(
      entry({
        hosts: ["h.example", "*"],
        addresses: ["10.0.0.0/99"],
        ports: [{ number: 0, name: "x" }],
        resolution: "SOMEHOW",
        unknown: 1,
      }),
    );
    expect(problems.sort()).toEqual([
      "spec.addresses[0]",
      "spec.hosts[1]",
      "spec.ports[0].number",
      "spec.resolution",
      "spec.unknown",
    ]);
    expect(get("a/h.example")).toBeDefined();
  });
});

describe("WorkloadEntry", () => {
  const UID = "Kubernetes/networking.istio.io/WorkloadEntry/a/we";
  const entry = (spec: object, more: object = {}) => ({ kind: "WorkloadEntry", metadata: meta("we", more), spec });

  it("is a healthy workload, behind Kubernetes Services too", () => {
    const spec = {
      address: "10.2.0.1",
      labels: { app: "web" },
      serviceAccount: "vm",
      weight: 3,
      ports: { http: 8000 },
    };
    const ports = [
      { port: 80, name: "a", targetPort: 8080 },
      { port: 81, name: "b", targetPort: "http" },
      { port: 82, name: "http", targetPort: "other" },
    ];
    const { get } = build(entry(spec), service({ ports }));
    expect(get(UID)).toMatchObject({
      name: "we",
      serviceAccount: "vm",
      capacity: 3,
      services: {
        [WEB]: {
          ports: [
            { servicePort: 80, targetPort: 8080 },
            { servicePort: 81, targetPort: 8000 },
          ],
        },
      },
    });
    expect(get(UID)?.status).toBeUndefined();
  });

  it("may be a host name, and may take tunnels by itself", () => {
    const { get } = build(entry({ address: "vm.example", labels: { "networking.istio.io/tunnel": "http" } }));
    expect(get(UID)).toMatchObject({ hostname: "vm.example", tunnelProtocol: "HBONE", nativeTunnel: true });
  });

  it("needs an address or a network", () => {
    expect(build(entry({})).problems).toEqual(["spec.address"]);
    expect(build(entry({ network: "n2" })).get(UID)).toMatchObject({ network: "n2" });
  });
});

describe("EndpointSlice", () => {
  const slice = (endpoints: object[], labels: object = { "kubernetes.io/service-name": "web" }, more: object = {}) => ({
    kind: "EndpointSlice",
    metadata: meta("s", { labels }),
    addressType: "IPv4",
    ports: [{ name: "", port: 9000 }],
    endpoints,
    ...more,
  });
  const UID = "Kubernetes/discovery.k8s.io/EndpointSlice/a/s/10.3.0.1";
  const bare = service({ selector: undefined });

  it("makes host-network workloads without identity of hand-made endpoints", () => {
    const { get } = build(
      bare,
      slice([{ addresses: ["10.3.0.1"] }, { addresses: ["10.3.0.2"], conditions: { ready: false } }]),
    );
    expect(get(UID)).toMatchObject({
      networkMode: "HOST_NETWORK",
      services: { [WEB]: { ports: [{ servicePort: 80, targetPort: 9000 }] } },
    });
    expect(get(UID)?.tunnelProtocol).toBeUndefined();
    expect(get(UID.replace("0.1", "0.2"))?.status).toBe("UNHEALTHY");
  });

  it("puts pods that it names behind a Service without a selector, and only there", () => {
    const named = slice([{ addresses: ["10.0.0.1"], targetRef: { kind: "Pod", name: "p", namespace: "a" } }]);
    expect(build(bare, named, pod()).get(POD)?.services).toEqual({
      [WEB]: { ports: [{ servicePort: 80, targetPort: 9000 }] },
    });
    const unselected = pod({ metadata: { labels: { app: "other" } } });
    expect(build(service(), named, unselected).get(POD)?.services).toBeUndefined();
  });

  it.each([
    ["FQDN", slice([{ addresses: ["x.example"] }], undefined, { addressType: "FQDN" })],
    ["unlabelled", slice([{ addresses: ["10.3.0.1"] }], {})],
    ["another service's", slice([{ addresses: ["10.3.0.1"] }], { "kubernetes.io/service-name": "nobody" })],
  ])("ignores a slice that is %s", (_, object) => {
    expect(build(bare, object).names).toEqual([WEB]);
  });
});
