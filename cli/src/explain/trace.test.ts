import { describe, expect, it } from "vitest";
import { readManifests } from "../../../control/src/analysis/manifests.ts";
import { meshSettings } from "../cluster/mesh-objects.ts";
import { findDestination, findParty, findSource } from "./parties.ts";
import { MeshPicture } from "./picture.ts";
import { trace, type Way } from "./trace.ts";

interface PodSpec {
  readonly node?: string;
  readonly labels?: object;
  readonly captured?: boolean;
  readonly ready?: boolean;
  readonly account?: string;
}

const namespace = (name: string, labels: object = {}) => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels },
});
const pod = (
  name: string,
  ip: string,
  { node = "n1", labels = {}, captured = true, ready = true, account }: PodSpec = {},
) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name,
    namespace: "shop",
    uid: name,
    labels: { app: name, ...labels },
    annotations: captured ? { "ambient.istio.io/redirection": "enabled" } : {},
  },
  spec: {
    nodeName: node,
    serviceAccountName: account ?? name,
    containers: [{ name: "c", ports: [{ containerPort: 8080 }] }],
  },
  status: {
    phase: "Running",
    podIP: ip,
    podIPs: [{ ip }],
    conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
  },
});
const service = (name: string, clusterIP: string, labels: object = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: "shop", labels },
  spec: { clusterIP, ports: [{ name: "http", port: 80, targetPort: 8080 }], selector: { app: name } },
});
const policy = (name: string, spec: object, metadata: object = {}) => ({
  apiVersion: "security.istio.io/v1",
  kind: "AuthorizationPolicy",
  metadata: { name, namespace: "shop", ...metadata },
  spec,
});
const strict = {
  apiVersion: "security.istio.io/v1",
  kind: "PeerAuthentication",
  metadata: { name: "default", namespace: "shop" },
  spec: { mtls: { mode: "STRICT" } },
};
const waypoint = [
  {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name: "waypoint", namespace: "shop", uid: "g" },
    spec: { gatewayClassName: "weft-waypoint", listeners: [{ name: "mesh", port: 15_008, protocol: "HBONE" }] },
  },
  {
    ...service("waypoint", "10.96.0.9", { "gateway.istio.io/managed": "weft" }),
    spec: { clusterIP: "10.96.0.9", ports: [{ name: "hbone", port: 15_008 }], selector: { app: "waypoint" } },
  },
  pod("waypoint", "10.1.0.9", { labels: { "gateway.istio.io/managed": "weft" } }),
];
const SHOP = [
  namespace("shop", { "istio.io/dataplane-mode": "ambient" }),
  pod("web", "10.1.0.1"),
  pod("db", "10.1.0.2"),
  pod("far", "10.2.0.1", { node: "n2" }),
  pod("out", "10.1.0.7", { labels: { "istio.io/dataplane-mode": "none" }, captured: false }),
  service("db", "10.96.0.2"),
  service("far", "10.96.0.3"),
];
const bound = [
  ...SHOP.filter(({ kind, metadata }) => kind !== "Service" || metadata.name !== "db"),
  ...waypoint,
  service("db", "10.96.0.2", { "istio.io/use-waypoint": "waypoint" }),
];

function picture(...objects: readonly object[]): MeshPicture {
  const resources = readManifests(objects.map((each) => JSON.stringify(each)).join("\n---\n"), "f");
  const all = resources.map(({ object }) => object);
  return new MeshPicture(all, meshSettings(all, "istio-system"));
}

function ways(from: string, to: string, objects: readonly object[] = SHOP, request?: readonly [string, string]): Way[] {
  const mesh = picture(...objects);
  const source = findSource(mesh, from, "shop");
  const destination = findDestination(mesh, to, "shop", source);
  const [method = "", path = ""] = request ?? [];
  return trace({
    picture: mesh,
    source,
    destination,
    request: request && { method, path, authority: "db", headers: [] },
  });
}

const short = (all: readonly Way[]) => all.map(({ path, outcome, protection }) => [path, outcome, ...protection]);

describe("the way of a connection", () => {
  it.each([
    ["two pods of a node", "web", "db:80", ["P1", "reached", "kernel"]],
    ["two pods of a node, by address", "web", "10.1.0.2:8080", ["P1", "reached", "kernel"]],
    ["another node", "web", "far", ["P2", "reached", "mutual TLS"]],
    ["a pod outside the mesh", "web", "pod/out", ["P4", "reached", "plaintext"]],
    ["somewhere unknown", "web", "192.0.2.1:443", ["P4", "reached", "plaintext"]],
    ["itself", "web", "10.1.0.1:8080", ["P0", "reached", "plaintext"]],
    ["a name server", "web", "10.96.0.10:53", ["P7", "reached", "kernel"]],
    ["from outside in", "out", "db", ["P5", "reached", "plaintext"]],
    ["from nobody in", "192.0.2.7", "pod/db", ["P5", "reached", "plaintext"]],
    ["a probe", "kubelet", "pod/db", ["P6", "reached", "plaintext"]],
    ["a probe of a pod outside the mesh", "kubelet", "pod/out", ["P0", "reached", "plaintext"]],
    ["from outside to outside", "out", "192.0.2.1:80", ["P0", "reached", "plaintext"]],
  ])("%s", (_, from, to, expected) => {
    expect(short(ways(from, to))).toEqual([expected]);
  });

  it("is one for each endpoint of a service", () => {
    const objects = [...SHOP, pod("db-2", "10.2.0.2", { node: "n2", labels: { app: "db" } })];
    expect(short(ways("web", "db", objects)).sort()).toEqual([
      ["P1", "reached", "kernel"],
      ["P2", "reached", "mutual TLS"],
    ]);
  });

  it("ends at STRICT for who has no identity, and says whose word it is", () => {
    const [way] = ways("out", "db", [...SHOP, strict]);
    expect([way?.path, way?.outcome]).toEqual(["P5", "denied"]);
    expect(way?.checkpoints[0]?.policies[0]?.remark).toBe("PeerAuthentication with mode STRICT");
    expect(short(ways("web", "db", [...SHOP, strict]))).toEqual([["P1", "reached", "kernel"]]);
  });

  it("is refused where no endpoint is ready", () => {
    const objects = [
      ...SHOP.filter(({ metadata }) => metadata.name !== "far"),
      pod("far", "10.2.0.1", { ready: false }),
      service("far", "10.96.0.3"),
    ];
    const [way] = ways("web", "far", objects);
    expect(way?.outcome).toBe("refused");
    expect(way?.hops.at(-1)?.why).toContain("no_healthy_upstream");
  });

  it("goes by the waypoint, and on as the waypoint", () => {
    const [way] = ways("web", "db", bound);
    expect(short([way as Way])).toEqual([["P3", "reached", "mutual TLS", "mutual TLS"]]);
    expect(way?.checkpoints.map(({ peer }) => peer)).toEqual([
      "spiffe://cluster.local/ns/shop/sa/web",
      "spiffe://cluster.local/ns/shop/sa/waypoint",
    ]);
  });

  it("is refused at a waypoint of which no pod is ready", () => {
    const [way] = ways(
      "web",
      "db",
      bound.filter(({ kind, metadata }) => kind !== "Pod" || metadata.name !== "waypoint"),
    );
    expect([way?.outcome, way?.hops.at(-1)?.why]).toEqual([
      "refused",
      "no_waypoint: it is bound to a waypoint of which no pod is ready",
    ]);
  });
});

describe("who decides", () => {
  const onlyFar = policy("only-far", { rules: [{ from: [{ source: { serviceAccounts: ["far"] } }] }] });
  const forDb = { targetRefs: [{ group: "", kind: "Service", name: "db" }] };
  const reads = policy("reads", {
    ...forDb,
    rules: [{ to: [{ operation: { methods: ["GET"], paths: ["/items/*"] } }] }],
  });

  it("is an ALLOW policy that says nothing of the source", () => {
    const [way] = ways("web", "db", [...SHOP, onlyFar]);
    expect(way?.outcome).toBe("denied");
    expect(way?.checkpoints[0]).toMatchObject({
      verdict: "denied",
      why: "there are ALLOW policies (shop/only-far), and no rule of them matches spiffe://cluster.local/ns/shop/sa/web",
    });
    expect(way?.checkpoints[0]?.policies[0]).toMatchObject({
      action: "ALLOW",
      scope: "namespace shop",
      rules: ["serviceAccounts shop/far"],
    });
    expect(ways("far", "db", [...SHOP, onlyFar])[0]?.checkpoints[0]?.why).toBe(
      "ALLOW policy shop/only-far, rule #0 matches spiffe://cluster.local/ns/shop/sa/far",
    );
  });

  it("is the waypoint for a request", () => {
    const outcome = (method: string, path: string) => ways("web", "db", [...bound, reads], [method, path])[0]?.outcome;
    expect(outcome("GET", "/items/1?a=b")).toBe("reached");
    expect(outcome("POST", "/items/1")).toBe("denied");
    expect(outcome("GET", "/other")).toBe("denied");
    expect(ways("web", "db", [...bound, reads])[0]).toMatchObject({
      outcome: "depends",
      checkpoints: [{ why: "policy shop/reads, rule #0 asks for more than who connects: give METHOD and PATH" }, {}],
    });
  });

  it("is the waypoint before any request, where nothing of one matters", () => {
    const outcome = (spec: object) => ways("web", "db", [...bound, policy("p", { ...forDb, ...spec })])[0]?.outcome;
    const from = (account: string) => [{ source: { serviceAccounts: [account] } }];
    const get = [{ operation: { methods: ["GET"] } }];
    expect(outcome({ rules: [{ from: from("web") }] })).toBe("reached");
    expect(outcome({ rules: [{ from: from("far"), to: get }] })).toBe("denied");
    expect(outcome({ rules: [{ from: from("web"), to: get }] })).toBe("depends");
    expect(outcome({ action: "DENY", rules: [{ from: from("far"), to: get }] })).toBe("reached");
    expect(outcome({ action: "DENY", rules: [{ from: from("web") }] })).toBe("denied");
    expect(outcome({ action: "DENY", rules: [{ to: get }] })).toBe("depends");
  });

  it("meets the waypoint and not the client behind it", () => {
    const [way] = ways("web", "db", [
      ...bound,
      policy("only-web", { rules: [{ from: [{ source: { serviceAccounts: ["web"] } }] }] }),
    ]);
    expect(way?.outcome).toBe("denied");
    expect(way?.checkpoints.at(-1)?.peer).toBe("spiffe://cluster.local/ns/shop/sa/waypoint");
  });

  it("tells of what node agents cannot tell", () => {
    const get = policy("get", {
      action: "DENY",
      rules: [{ to: [{ operation: { methods: ["GET"], ports: ["8080"] } }] }],
    });
    const [way] = ways("web", "db", [...SHOP, get]);
    expect(way?.outcome).toBe("denied");
    expect(way?.checkpoints[0]?.policies[0]?.remark).toContain("node agents cannot tell methods");
  });
});

describe("names of parties", () => {
  const mesh = picture(...SHOP);
  const source = findSource(mesh, "web", "shop");

  it.each(["web", "pod/web", "shop/web", "pod/shop/web", "web.shop", "10.1.0.1"])("%s is the pod", (text) => {
    expect(findSource(mesh, text, text.includes("shop") ? "default" : "shop")).toMatchObject({
      kind: "pod",
      ips: ["10.1.0.1"],
    });
  });

  it.each([
    ["db", { ip: "10.96.0.2", port: 80 }],
    ["svc/shop/db:80", { ip: "10.96.0.2", port: 80 }],
    ["db.shop.svc.cluster.local:80", { ip: "10.96.0.2", port: 80 }],
    ["pod/db", { ip: "10.1.0.2", port: 8080 }],
    ["[fd00::1]:443", { ip: "fd00::1", port: 443 }],
  ])("%s is an address and a port", (text, expected) => {
    expect(findDestination(mesh, text, "shop", source)).toMatchObject(expected);
  });

  it("that nobody has are told of, with those that there are", () => {
    expect(() => findSource(mesh, "wbe", "shop")).toThrow(
      'there is no pod "wbe" in namespace shop; pods there: web, db, far, out',
    );
    expect(() => findDestination(mesh, "192.0.2.1", "shop", source)).toThrow("192.0.2.1: say which port");
    expect(() => findParty(mesh, "svc/gone", "shop")).toThrow('there is no Service "gone" in namespace shop');
    expect(() => findSource(mesh, "svc/db", "shop")).toThrow("a Service opens no connections");
    expect(() => findDestination(mesh, "db", "shop", { kind: "kubelet" })).toThrow("the kubelet probes pods");
  });
});
