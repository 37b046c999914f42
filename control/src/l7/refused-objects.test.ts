/** What a waypoint cannot run is said in the status of the object that it was made of, whatever kind that is. */
import { pino } from "pino";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import {
  AUTHORIZATION_POLICIES,
  type Condition,
  DESTINATION_RULES,
  ENVOY_FILTERS,
  GATEWAYS,
  GRPC_ROUTES,
  HTTP_ROUTES,
  type KubeObject,
  NAMESPACES,
  REQUEST_AUTHENTICATIONS,
  type ResourceType,
  SECRETS,
  SERVICES,
  type Service,
  TCP_ROUTES,
  TELEMETRIES,
  TLS_ROUTES,
  VIRTUAL_SERVICES,
} from "#lib/kube/types.ts";
import { L7_TYPE_URLS, type L7TypeUrl } from "#lib/xds/types.ts";
import { ANYWHERE } from "../../../test/helpers/control-ports.ts";
import { DeltaClient } from "../../../test/helpers/delta-client.ts";
import { FakeKube } from "../../../test/helpers/fake-kube.ts";
import { type Control, startControl } from "../app.ts";
import { controlConfig } from "../config.ts";

const PORTS = [
  { name: "http", port: 80 },
  { name: "tls", port: 443 },
  { name: "tcp", port: 90 },
];
const WEB = "shop/web.shop.svc.cluster.local";
const CLUSTER = "inbound-vip|80|http|web.shop.svc.cluster.local";
const TO_WEB = { targetRefs: [{ kind: "Service", group: "", name: "web" }] };
const destination = { host: "web" };
const parentRefs = (port: number) => [{ group: "", kind: "Service", name: "web", port }];
const backendRefs = [{ name: "web", port: 80 }];
const LOCAL = {
  name: "envoy.filters.http.local_ratelimit",
  typed_config: {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    token_bucket: { max_tokens: 1, fill_interval: "1s" },
    filter_enabled: { default_value: { numerator: 100 } },
    filter_enforced: { default_value: { numerator: 100 } },
  },
};

let kube: FakeKube;
let control: Control;
let waypoint: DeltaClient;

beforeAll(async () => {
  kube = await FakeKube.start();
  for (const name of ["istio-system", "shop"]) kube.put(NAMESPACES, { metadata: { name } });
  const username = "system:serviceaccount:shop:wp";
  kube.tokens.set("wp", { authenticated: true, username, audiences: ["istio-ca"], extra: {} });
  kube.put<Service>(SERVICES, {
    metadata: { namespace: "shop", name: "web", labels: { "istio.io/use-waypoint": "wp" } },
    spec: { clusterIP: "10.96.0.7", ports: PORTS },
  });
  kube.put(GATEWAYS, {
    metadata: { namespace: "shop", name: "wp", uid: "wp", generation: 1 },
    spec: { gatewayClassName: "weft-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
  });
  control = await startControl(controlConfig(ANYWHERE), { client: kube.client(), log: pino({ level: "silent" }) });
  const data = kube.read(SECRETS, "istio-system", "istio-ca-secret")?.data ?? {};
  waypoint = new DeltaClient({
    port: control.grpcPort,
    roots: Buffer.from(data["root-cert.pem"] ?? "", "base64").toString(),
    type: "waypoint",
    token: "wp",
    namespace: "shop",
    podName: "wp-1",
    metadata: { LABELS: { "gateway.networking.k8s.io/gateway-name": "wp" } },
  }).open();
  for (const type of L7_TYPE_URLS) waypoint.subscribe(type);
  await eventually("the service", () => waypoint.resources.get(typeUrl("Destination"))?.has(WEB));
});

afterAll(async () => {
  waypoint?.close();
  await control?.stop();
  await kube?.stop();
});

/** The machine may be busy. */
const WITHIN_MS = 60_000;
const typeUrl = (name: string): L7TypeUrl => `type.googleapis.com/weft.l7.${name}` as L7TypeUrl;

interface Case {
  readonly type: ResourceType<KubeObject>;
  readonly spec: object;
  /** The part of the program that is refused, and what the engine says then. */
  readonly refuses: readonly [type: string, error: string];
}

const cases: readonly Case[] = [
  {
    type: VIRTUAL_SERVICES,
    spec: { hosts: ["web"], http: [{ route: [{ destination }] }] },
    refuses: ["Destination", `${WEB}: port 80: route 0 (default) of VirtualService/shop/x: no`],
  },
  {
    type: VIRTUAL_SERVICES,
    spec: { hosts: ["web"], tcp: [{ match: [{ port: 90 }], route: [{ destination }] }] },
    refuses: ["Destination", `${WEB}: port 90: tcp route of VirtualService/shop/x: no`],
  },
  {
    type: DESTINATION_RULES,
    spec: { host: "web", trafficPolicy: { loadBalancer: { simple: "RANDOM" } } },
    refuses: ["Cluster", `${CLUSTER}: no`],
  },
  {
    type: HTTP_ROUTES,
    spec: { parentRefs: parentRefs(80), rules: [{ backendRefs }] },
    refuses: ["Destination", `${WEB}: port 80: route 0 (shop.x.0) of HTTPRoute/shop/x: no`],
  },
  {
    type: GRPC_ROUTES,
    spec: { parentRefs: parentRefs(80), rules: [{ backendRefs }] },
    refuses: ["Destination", `${WEB}: port 80: route 0 (shop.x.0) of GRPCRoute/shop/x: no`],
  },
  {
    type: TLS_ROUTES,
    spec: { parentRefs: parentRefs(443), hostnames: ["a.example"], rules: [{ backendRefs }] },
    refuses: ["Destination", `${WEB}: port 443: tls route of TLSRoute/shop/x: no`],
  },
  {
    type: TCP_ROUTES,
    spec: { parentRefs: parentRefs(90), rules: [{ backendRefs }] },
    refuses: ["Destination", `${WEB}: port 90: tcp route of TCPRoute/shop/x: no`],
  },
  {
    type: AUTHORIZATION_POLICIES,
    spec: { ...TO_WEB, action: "DENY", rules: [{}] },
    refuses: ["Policy", "shop/x: no"],
  },
  {
    type: REQUEST_AUTHENTICATIONS,
    spec: { ...TO_WEB, jwtRules: [{ issuer: "me", jwks: '{"keys":[]}' }] },
    refuses: ["Jwt", "shop/x: no"],
  },
  {
    type: TELEMETRIES,
    spec: { ...TO_WEB, tracing: [{ randomSamplingPercentage: 5 }] },
    refuses: ["Telemetry", "Service/shop/web: no"],
  },
  {
    type: ENVOY_FILTERS,
    spec: {
      ...TO_WEB,
      configPatches: [{ applyTo: "HTTP_FILTER", patch: { operation: "INSERT_BEFORE", value: LOCAL } }],
    },
    refuses: ["Destination", `${WEB}: port 80: rate limits: no`],
  },
] as unknown as readonly Case[];

function told({ type }: Case, name: string): Condition | undefined {
  const { status } = (kube.read(type, "shop", name) ?? {}) as {
    status?: { conditions?: Condition[]; parents?: { conditions?: Condition[] }[] };
  };
  const all = [...(status?.conditions ?? []), ...(status?.parents ?? []).flatMap(({ conditions = [] }) => conditions)];
  return all.find((condition) => condition.type === "weft.dev/ProgramAccepted");
}

const accepted = () =>
  kube.read(GATEWAYS, "shop", "wp")?.status?.conditions?.find(({ type }) => type === "weft.dev/ProgramAccepted")
    ?.status;

it.each(cases.map((each, index) => [each.type.kind, each.refuses[1], each, `x${index}`] as const))(
  "a %s of which a waypoint says %j tells so, and its Gateway no more once it is gone",
  async (_kind, _error, given, name) => {
    const [part, error] = given.refuses;
    const said = error.replace("shop/x:", `shop/${name}:`).replace("shop.x.", `shop.${name}.`);
    waypoint.judge = ({ typeUrl: type }) => (type === typeUrl(part) ? said : undefined);
    kube.put(given.type, {
      metadata: { namespace: "shop", name, uid: name, generation: 1 },
      spec: given.spec,
    } as KubeObject);
    await eventually("the complaint", () => told(given, name)?.status === "False", WITHIN_MS);
    expect(told(given, name)).toMatchObject({
      reason: "ResourcesRefused",
      message: expect.stringContaining("shop/wp"),
    });
    await eventually("the Gateway's word", () => accepted() === "False", WITHIN_MS);
    waypoint.judge = () => undefined;
    kube.remove(given.type, "shop", name);
    await eventually("a program without it", () => accepted() === "True", WITHIN_MS);
  },
  3 * WITHIN_MS,
);
