/** From routes and policies in a Kubernetes API to the program that a waypoint is sent, and to their statuses. */
import { fromBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import {
  AUTHORIZATION_POLICIES,
  CONFIG_MAPS,
  type Condition,
  DESTINATION_RULES,
  GATEWAYS,
  HTTP_ROUTES,
  type KubeObject,
  NAMESPACES,
  REQUEST_AUTHENTICATIONS,
  SECRETS,
  SERVICES,
  type Service,
} from "#lib/kube/types.ts";
import { L7_TYPE_URLS, type L7TypeUrl } from "#lib/xds/types.ts";
import { type Destination, DestinationSchema, JwtSchema, PolicySchema, SettingsSchema } from "#proto/l7_pb.ts";
import { ANYWHERE } from "../../../test/helpers/control-ports.ts";
import { DeltaClient } from "../../../test/helpers/delta-client.ts";
import { FakeKube } from "../../../test/helpers/fake-kube.ts";
import { publicJwk } from "../../../test/helpers/public-jwk.ts";
import { type Control, startControl } from "../app.ts";
import { controlConfig } from "../config.ts";

const HOST = "web.shop.svc.cluster.local";
const WEB = `shop/${HOST}`;

const typeUrl = (name: string): L7TypeUrl => `type.googleapis.com/weft.l7.${name}` as L7TypeUrl;

describe("a waypoint's program", () => {
  let kube: FakeKube;
  let control: Control;
  let waypoint: DeltaClient;

  beforeEach(async () => {
    kube = await FakeKube.start();
    for (const name of ["istio-system", "shop"]) kube.put(NAMESPACES, { metadata: { name } });
    kube.tokens.set("wp", {
      authenticated: true,
      username: "system:serviceaccount:shop:wp",
      audiences: ["istio-ca"],
      extra: {},
    });
    for (const name of ["web", "v1", "v2"]) {
      kube.put<Service>(SERVICES, {
        metadata: { namespace: "shop", name, labels: name === "web" ? { "istio.io/use-waypoint": "wp" } : {} },
        spec: { clusterIP: "10.96.0.7", ports: [{ name: "http", port: 80 }] },
      });
    }
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
  });

  afterEach(async () => {
    waypoint.close();
    await control.stop();
    await kube.stop();
  });

  const bytes = (type: string, name: string) => waypoint.resources.get(typeUrl(type))?.get(name)?.value;
  const destination = (): Destination | undefined => {
    const value = bytes("Destination", WEB);
    return value && fromBinary(DestinationSchema, value);
  };
  const chain = () => destination()?.ports[0]?.chain;
  const routes = () => chain()?.http?.hosts.flatMap((host) => host.routes) ?? [];
  const clusters = () =>
    routes().map(({ action }) =>
      action.case === "forward" ? action.value.clusters.map(({ cluster, weight }) => [cluster, weight]) : [],
    );
  const put = (generation: number, weights: readonly [number, number]) =>
    kube.put(HTTP_ROUTES, {
      metadata: { namespace: "shop", name: "split", uid: "split", generation },
      spec: {
        parentRefs: [{ group: "", kind: "Service", name: "web", port: 80 }],
        rules: [{ backendRefs: [1, 2].map((n) => ({ name: `v${n}`, port: 80, weight: weights[n - 1] })) }],
      },
    });
  const condition = (object: KubeObject | undefined, type: string) => {
    const { status } = (object ?? {}) as {
      status?: { conditions?: { type: string; status: string; reason: string }[] };
    };
    const found = status?.conditions?.find((each) => each.type === type);
    return found && `${found.status}/${found.reason}`;
  };

  it("is shown on the admin port", async () => {
    const page = (gateway: string) => fetch(`http://127.0.0.1:${control.adminPort}/debug/program?gateway=${gateway}`);
    await eventually("the program", () => destination());
    const program = (await (await page("shop/wp")).json()) as Record<string, { name: string; version: string }[]>;
    expect(Object.keys(program).sort()).toEqual([
      "Cluster",
      "Destination",
      "Endpoints",
      "Jwt",
      "Listener",
      "Policy",
      "RouteGroup",
      "Settings",
      "Telemetry",
    ]);
    expect(program.Destination).toEqual([
      { name: WEB, version: expect.anything(), resource: expect.objectContaining({ addresses: ["10.96.0.7"] }) },
    ]);
    expect((await page("shop/nothing")).status).toBe(404);
  });

  it("has the routes of the Gateway API in place of its own, with the clusters that they name, and loses them again", async () => {
    await eventually("the service", () => destination()?.hostname === HOST);
    put(1, [90, 10]);
    const [v1, v2] = ["v1", "v2"].map((name) => `outbound|80||${name}.shop.svc.cluster.local`);
    await eventually("the routes", () => routes()[0]?.origin === "HTTPRoute/shop/split");
    expect(clusters()).toEqual([
      [
        [v1, 90],
        [v2, 10],
      ],
    ]);
    await eventually("the clusters", () => [v1, v2].every((name) => bytes("Cluster", name ?? "") !== undefined));
    put(2, [0, 1]);
    await eventually(
      "other weights",
      () =>
        JSON.stringify(clusters()) ===
        JSON.stringify([
          [
            [v1, 0],
            [v2, 1],
          ],
        ]),
    );
    const attached = () => kube.read(GATEWAYS, "shop", "wp")?.status?.listeners?.map((each) => each.attachedRoutes);
    await eventually("the listener's count", () => attached()?.[0] === 1);
    await eventually("the status", () => {
      const [entry] = kube.read(HTTP_ROUTES, "shop", "split")?.status?.parents ?? [];
      return entry?.conditions?.every(
        ({ status, observedGeneration }) => status === "True" && observedGeneration === 2,
      );
    });
    kube.remove(HTTP_ROUTES, "shop", "split");
    await eventually("no routes of the API", () => !routes().some(({ origin }) => origin.startsWith("HTTPRoute")));
    await eventually("nobody in the count", () => attached()?.[0] === 0);
  });

  it("is complained of where the part that cannot be run was written, for as long as it cannot", async () => {
    put(1, [90, 10]);
    kube.put(AUTHORIZATION_POLICIES, {
      metadata: { namespace: "shop", name: "deny", uid: "deny", generation: 1 },
      spec: { targetRefs: [{ kind: "Service", name: "web" }], action: "DENY", rules: [{}] },
    });
    kube.put(DESTINATION_RULES, {
      metadata: { namespace: "shop", name: "one", uid: "one", generation: 7 },
      spec: { host: "v1", trafficPolicy: { outlierDetection: {} } },
    });
    await eventually("the route", () => routes()[0]?.origin === "HTTPRoute/shop/split");
    const refused = new Map([
      ["Destination", `${WEB}: port 80: route 0 (x) of HTTPRoute/shop/split: no; of HTTPRoute/other/foreign: no`],
      ["Cluster", "outbound|80||v1.shop.svc.cluster.local: no such table"],
      ["Policy", "shop/deny: cannot"],
    ]);
    waypoint.judge = ({ typeUrl: type }) => refused.get(type.slice(typeUrl("").length));
    put(2, [80, 20]);
    kube.put(AUTHORIZATION_POLICIES, {
      metadata: { namespace: "shop", name: "deny", uid: "deny", generation: 2 },
      spec: {
        targetRefs: [{ kind: "Service", name: "web" }],
        action: "DENY",
        rules: [{ to: [{ operation: { ports: ["1"] } }] }],
      },
    });
    kube.put(DESTINATION_RULES, {
      metadata: { namespace: "shop", name: "one", uid: "one", generation: 8 },
      spec: { host: "v1", trafficPolicy: { connectionPool: { tcp: { maxConnections: 7 } } } },
    });
    const told = (conditions: readonly Condition[] = []) =>
      conditions.filter(({ type }) => type === "weft.dev/ProgramAccepted");
    const ofRoute = () => told(kube.read(HTTP_ROUTES, "shop", "split")?.status?.parents?.[0]?.conditions);
    const ofRule = () => told(kube.read(DESTINATION_RULES, "shop", "one")?.status?.conditions);
    const ofPolicy = () => told(kube.read(AUTHORIZATION_POLICIES, "shop", "deny")?.status?.conditions);
    for (const [what, of] of Object.entries({ ofRoute, ofRule, ofPolicy })) {
      await eventually(what, () => of()[0]?.status === "False");
      expect(of()[0]?.reason).toBe("ResourcesRefused");
    }
    expect(ofRule()[0]?.message).toContain("no such table");
    expect(ofRule()[0]?.observedGeneration).toBe(8);
    expect(condition(kube.read(AUTHORIZATION_POLICIES, "shop", "deny"), "WaypointAccepted")).toBe("True/Accepted");
    refused.clear();
    put(3, [70, 30]);
    await eventually("no complaint about the route", () => ofRoute().length === 0);
    kube.remove(AUTHORIZATION_POLICIES, "shop", "deny");
    kube.put(DESTINATION_RULES, {
      metadata: { namespace: "shop", name: "one", uid: "one", generation: 9 },
      spec: { host: "v1", trafficPolicy: { connectionPool: { tcp: { maxConnections: 8 } } } },
    });
    await eventually("no complaint about the rule", () => ofRule().length === 0);
  });

  it("asks the authorizer that the mesh's configuration names, once it does", async () => {
    kube.put(AUTHORIZATION_POLICIES, {
      metadata: { namespace: "shop", name: "ask", uid: "ask", generation: 1 },
      spec: {
        targetRefs: [{ kind: "Service", name: "web" }],
        action: "CUSTOM",
        provider: { name: "opa" },
        rules: [{ from: [{ source: { principals: ["cluster.local/ns/shop/sa/a"] } }] }],
      },
    });
    const policy = () => {
      const value = bytes("Policy", "shop/ask");
      return value && fromBinary(PolicySchema, value);
    };
    const accepted = () => condition(kube.read(AUTHORIZATION_POLICIES, "shop", "ask"), "WaypointAccepted");
    await eventually("a policy that denies", () => policy()?.rules.length === 1 && policy()?.authorizer === undefined);
    await eventually("the complaint", () => accepted() === "False/Invalid");
    const provider = { name: "opa", envoyExtAuthzHttp: { service: "v1.shop.svc.cluster.local", port: 80 } };
    const mesh = JSON.stringify({ trustDomainAliases: ["old"], extensionProviders: [provider] });
    kube.put(CONFIG_MAPS, { metadata: { namespace: "istio-system", name: "istio" }, data: { mesh } });
    await eventually(
      "the authorizer",
      () => policy()?.authorizer?.cluster === "outbound|80||v1.shop.svc.cluster.local",
    );
    expect(policy()?.rules[0]?.from[0]?.principals.map(({ kind }) => kind.value)).toEqual([
      "cluster.local/ns/shop/sa/a",
      "old/ns/shop/sa/a",
    ]);
    await eventually("its cluster", () => bytes("Cluster", "outbound|80||v1.shop.svc.cluster.local") !== undefined);
    await eventually("no complaint", () => accepted() === "True/Accepted");
  });

  it("has the policies and token rules that are for its services, and for itself", async () => {
    const spec = (kind: string, group: string, name: string) => ({
      metadata: { namespace: "shop", name: kind.toLowerCase(), uid: kind, generation: 1 },
      spec: { targetRefs: [{ kind, group, name }], rules: [{ to: [{ operation: { methods: ["GET"] } }] }] },
    });
    kube.put(AUTHORIZATION_POLICIES, spec("Service", "", "web"));
    kube.put(AUTHORIZATION_POLICIES, spec("Gateway", "gateway.networking.k8s.io", "wp"));
    const jwks = JSON.stringify({ keys: [publicJwk("a")] });
    kube.put(REQUEST_AUTHENTICATIONS, {
      metadata: { namespace: "shop", name: "tokens", uid: "t", generation: 1 },
      spec: { targetRefs: [{ kind: "Service", name: "web" }], jwtRules: [{ issuer: "i", jwks }] },
    });
    await eventually("the chain", () => chain()?.policies[0] === "shop/service" && chain()?.jwt[0] === "shop/tokens");
    await eventually("the settings", () => {
      const value = bytes("Settings", "settings");
      return value && fromBinary(SettingsSchema, value).policies[0] === "shop/gateway";
    });
    const policy = await eventually("the policy", () => bytes("Policy", "shop/service"));
    expect(fromBinary(PolicySchema, policy).rules[0]?.to[0]?.methods[0]?.kind.value).toBe("GET");
    const jwt = await eventually("the token rules", () => bytes("Jwt", "shop/tokens"));
    expect(JSON.parse(fromBinary(JwtSchema, jwt).rules[0]?.jwks ?? "").keys).toHaveLength(1);
    for (const name of ["service", "gateway"]) {
      await eventually("the condition", () => {
        return condition(kube.read(AUTHORIZATION_POLICIES, "shop", name), "WaypointAccepted") === "True/Accepted";
      });
    }
    await eventually("the condition", () => {
      return condition(kube.read(REQUEST_AUTHENTICATIONS, "shop", "tokens"), "WaypointAccepted") === "True/Accepted";
    });
    kube.remove(AUTHORIZATION_POLICIES, "shop", "service");
    await eventually(
      "no policy",
      () => bytes("Policy", "shop/service") === undefined && chain()?.policies.length === 0,
    );
  });
});
