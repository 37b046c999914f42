/** `weft trace` against the design's table: all 576 combinations that the mesh itself is checked against. */
import { expect, it } from "vitest";
import { readManifests } from "../../../control/src/analysis/manifests.ts";
import { allCases, type Case, expected } from "../../../test/e2e/matrix-table.ts";
import { meshSettings } from "../cluster/mesh-objects.ts";
import { findDestination, findSource } from "./parties.ts";
import { MeshPicture } from "./picture.ts";
import { trace } from "./trace.ts";

const IPS = {
  client: ["10.1.0.1", "fd00:1::1"],
  server: ["10.1.0.2", "fd00:1::2"],
  waypoint: ["10.1.0.9", "fd00:1::9"],
} as const;

const pod = (name: keyof typeof IPS, node: string, captured: boolean, labels: object = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name,
    namespace: "shop",
    uid: name,
    labels: { app: name, "istio.io/dataplane-mode": captured ? "ambient" : "none", ...labels },
    annotations: captured ? { "ambient.istio.io/redirection": "enabled" } : {},
  },
  spec: { nodeName: node, serviceAccountName: name },
  status: {
    phase: "Running",
    podIP: IPS[name][0],
    podIPs: IPS[name].map((ip) => ({ ip })),
    conditions: [{ type: "Ready", status: "True" }],
  },
});
const service = (name: string, app: string, clusterIPs: readonly string[], labels: object = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: "shop", labels },
  spec: {
    clusterIP: clusterIPs[0],
    clusterIPs,
    ports: [{ name: "tcp", port: app === "waypoint" ? 15_008 : 80, targetPort: app === "waypoint" ? 15_008 : 8080 }],
    selector: { app },
  },
});
const security = (kind: string, name: string, spec: object) => ({
  apiVersion: "security.istio.io/v1",
  kind,
  metadata: { name, namespace: "shop" },
  spec,
});

const WORLD = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  service("vip", "server", ["10.96.0.1", "fd00:96::1"]),
  service("headless", "server", ["None"]),
  service("bound", "server", ["10.96.0.2", "fd00:96::2"], { "istio.io/use-waypoint": "waypoint" }),
  {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name: "waypoint", namespace: "shop", uid: "g" },
    spec: { gatewayClassName: "weft-waypoint", listeners: [{ name: "mesh", port: 15_008, protocol: "HBONE" }] },
  },
  service("waypoint", "waypoint", ["10.96.0.9", "fd00:96::9"], { "gateway.istio.io/managed": "weft" }),
  pod("waypoint", "n3", true, { "gateway.istio.io/managed": "weft" }),
];

/** Of the very source: by its identity, or by its addresses where it has none. */
function policyOf({ policy, source }: Case): object[] {
  if (policy === "none") return [];
  const from = source === "enrolled" ? { serviceAccounts: ["client"] } : { ipBlocks: IPS.client };
  const spec = {
    action: policy.toUpperCase(),
    selector: { matchLabels: { app: "server" } },
    rules: [{ from: [{ source: from }] }],
  };
  return [security("AuthorizationPolicy", "policy", spec)];
}

function pictureOf(one: Case): MeshPicture {
  const mtls = { selector: { matchLabels: { app: "server" } }, mtls: { mode: one.mtls } };
  const objects = [
    ...WORLD,
    pod("client", "n1", one.source === "enrolled"),
    pod("server", one.place === "same node" ? "n1" : "n2", one.destination === "enrolled"),
    security("PeerAuthentication", "mtls", mtls),
    ...policyOf(one),
  ];
  const read = readManifests(objects.map((each) => JSON.stringify(each)).join("\n---\n"), "world");
  const all = read.map(({ object }) => object);
  return new MeshPicture(all, meshSettings(all, "istio-system"));
}

function targetOf({ target, family }: Case): string {
  // An IPv4 address in an IPv6 socket is an IPv4 connection.
  const v6 = family === "IPv6";
  switch (target) {
    case "VIP":
      return v6 ? "[fd00:96::1]:80" : "10.96.0.1:80";
    case "bound VIP":
      return v6 ? "[fd00:96::2]:80" : "10.96.0.2:80";
    case "pod IP":
    case "headless":
      return v6 ? "[fd00:1::2]:8080" : "10.1.0.2:8080";
  }
}

it("says of every combination what the table says", { timeout: 60_000 }, () => {
  const wrong: unknown[] = [];
  // What is dialled does not change the world.
  const pictures = new Map<string, MeshPicture>();
  for (const one of allCases()) {
    const { family: _, target: __, ...world } = one;
    const key = JSON.stringify(world);
    const picture = pictures.get(key) ?? pictureOf(one);
    pictures.set(key, picture);
    const source = findSource(picture, "client", "shop");
    const destination = findDestination(picture, targetOf(one), "shop", source);
    const ways = trace({ picture, source, destination, request: undefined });
    const said = ways.map(({ path, outcome }) => [path, outcome === "reached"]);
    const { path, outcome } = expected(one, "later");
    const want = [[path.slice(0, 2), outcome === "reached"]];
    if (JSON.stringify(said) !== JSON.stringify(want)) wrong.push({ one, said, want });
  }
  expect(wrong.slice(0, 3)).toEqual([]);
});
