/** The control plane with Gateways, against a Kubernetes API in memory. */
import { fromBinary } from "@bufbuild/protobuf";
import { status as grpcStatus } from "@grpc/grpc-js";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import {
  DEPLOYMENTS,
  GATEWAY_CLASSES,
  GATEWAYS,
  NAMESPACES,
  PODS,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
  type Service,
} from "#lib/kube/types.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, L7_TYPE_URLS } from "#lib/xds/types.ts";
import { AddressSchema, type GatewayAddress } from "#proto/workload_pb.ts";
import { ANYWHERE } from "../../../test/helpers/control-ports.ts";
import { DeltaClient, type DeltaClientOptions } from "../../../test/helpers/delta-client.ts";
import { FakeKube } from "../../../test/helpers/fake-kube.ts";
import { type Control, startControl } from "../app.ts";
import { controlConfig } from "../config.ts";

const MESH = { name: "mesh", port: 15008, protocol: "HBONE" };
const WEB = "shop/web.shop.svc.cluster.local";

describe("waypoints", () => {
  let kube: FakeKube;
  let control: Control | undefined;
  let clients: DeltaClient[];

  beforeEach(async () => {
    clients = [];
    kube = await FakeKube.start();
    for (const name of ["istio-system", "shop", "other"]) kube.put(NAMESPACES, { metadata: { name } });
    for (const [namespace, account] of [
      ["istio-system", "weft-agent"],
      ["shop", "wp"],
      ["shop", "web"],
      ["other", "wp"],
    ]) {
      kube.tokens.set(`${namespace}/${account}`, {
        authenticated: true,
        username: `system:serviceaccount:${namespace}:${account}`,
        audiences: ["istio-ca"],
        extra: {},
      });
    }
  });

  afterEach(async () => {
    for (const client of clients) client.close();
    await control?.stop();
    control = undefined;
    await kube.stop();
  });

  async function start(env: Record<string, string> = {}): Promise<void> {
    const log = pino({ level: "silent" });
    control = await startControl(controlConfig({ ...ANYWHERE, ...env }), { client: kube.client(), log });
  }

  function connect(options: Partial<DeltaClientOptions>): DeltaClient {
    const data = kube.read(SECRETS, "istio-system", "istio-ca-secret")?.data ?? {};
    const roots = Buffer.from(data["root-cert.pem"] ?? "", "base64").toString();
    const client = new DeltaClient({ port: control?.grpcPort ?? 0, roots, ...options });
    clients.push(client);
    return client.open();
  }

  const agent = () =>
    connect({ token: "istio-system/weft-agent" }).subscribe(ADDRESS_TYPE).subscribe(AUTHORIZATION_TYPE);

  function waypointClient(token: string, namespace: string, gateway = "wp"): DeltaClient {
    const metadata = { LABELS: { "gateway.networking.k8s.io/gateway-name": gateway } };
    const client = connect({ type: "waypoint", token, namespace, podName: "wp-1", metadata });
    for (const type of L7_TYPE_URLS) client.subscribe(type);
    return client;
  }

  function putGateway(more: { namespace?: string; labels?: Record<string, string>; spec?: object } = {}): void {
    const { namespace = "shop", labels = {}, spec = {} } = more;
    kube.put(GATEWAYS, {
      metadata: { namespace, name: "wp", uid: `${namespace}-wp`, generation: 1, labels },
      spec: { gatewayClassName: "weft-waypoint", listeners: [MESH], ...spec },
    });
  }

  function putService(labels: Record<string, string> = {}): void {
    const spec = { clusterIP: "10.96.0.7", selector: { app: "web" }, ports: [{ name: "http", port: 80 }] };
    kube.put<Service>(SERVICES, { metadata: { namespace: "shop", name: "web", labels }, spec });
  }

  function putPod(labels: Record<string, string> = {}): void {
    kube.put(PODS, {
      metadata: { namespace: "shop", name: "web-1", labels: { app: "web", ...labels } },
      spec: { nodeName: "node-1", serviceAccountName: "web" },
      status: { phase: "Running", podIP: "10.1.0.1", conditions: [{ type: "Ready", status: "True" }] },
    });
  }

  const ready = (namespace = "shop") =>
    eventually("the Deployment", () => kube.read(DEPLOYMENTS, namespace, "wp")).then((deployment) =>
      kube.put(DEPLOYMENTS, { ...deployment, status: { readyReplicas: 1 } }),
    );

  function waypointOf(client: DeltaClient, name: string): string {
    const bytes = client.resources.get(ADDRESS_TYPE)?.get(name)?.value;
    const waypoint: GatewayAddress | undefined = bytes && fromBinary(AddressSchema, bytes).type.value?.waypoint;
    if (waypoint?.destination.case !== "hostname") return "";
    return `${waypoint.destination.value.namespace}/${waypoint.destination.value.hostname}:${waypoint.hboneMtlsPort}`;
  }

  const conditionOf = (object: object | undefined, type: string): string => {
    const { conditions = [] } = ((object as { status?: object } | undefined)?.status ?? {}) as {
      conditions?: { type: string; status: string; reason: string }[];
    };
    const found = conditions.find((condition) => condition.type === type);
    return found === undefined ? "" : `${found.status}/${found.reason}`;
  };

  it("are made for a Gateway, which is programmed once a pod is ready", async () => {
    await start({ WEFT_IMAGE: "example.com/weft:1" });
    putGateway();
    await ready();
    await eventually(
      "Programmed",
      () => conditionOf(kube.read(GATEWAYS, "shop", "wp"), "Programmed") === "True/Programmed",
    );
    expect(kube.read(GATEWAYS, "shop", "wp")?.status?.addresses?.[0]).toEqual({
      type: "Hostname",
      value: "wp.shop.svc.cluster.local",
    });
    const service = kube.read(SERVICES, "shop", "wp");
    expect(service?.spec?.ports?.map(({ port }) => port)).toEqual([15021, 15008]);
    expect(service?.metadata.ownerReferences?.[0]).toMatchObject({ kind: "Gateway", name: "wp", uid: "shop-wp" });
    expect(kube.read(SERVICE_ACCOUNTS, "shop", "wp")).toBeDefined();
    const text = JSON.stringify(kube.read(DEPLOYMENTS, "shop", "wp")?.spec);
    expect(text).toContain("example.com/weft:1");
    expect(text).toContain('"istio.io/dataplane-mode":"none"');
  });

  it("have classes that are made and accepted, and those of other controllers stay as they are", async () => {
    kube.put(GATEWAY_CLASSES, {
      metadata: { name: "istio-waypoint" },
      spec: { controllerName: "somebody.else/controller" },
    });
    await start();
    await eventually("the class", () => {
      return conditionOf(kube.read(GATEWAY_CLASSES, undefined, "weft-waypoint"), "Accepted") === "True/Accepted";
    });
    expect(kube.read(GATEWAY_CLASSES, undefined, "istio-waypoint")?.status).toBeUndefined();
    putGateway({ namespace: "other", spec: { gatewayClassName: "istio-waypoint" } });
    putGateway();
    await ready();
    expect(kube.read(DEPLOYMENTS, "other", "wp")).toBeUndefined();
  });

  it("take what they were made with when the Gateway becomes another class's", async () => {
    await start();
    putGateway();
    await ready();
    putGateway({ spec: { gatewayClassName: "other" } });
    await eventually("the end", () => kube.read(DEPLOYMENTS, "shop", "wp") === undefined);
    await eventually("the end", () => kube.read(SERVICES, "shop", "wp") === undefined);
  });

  it("own the traffic of a service by its label, also before they are there", async () => {
    putService({ "istio.io/use-waypoint": "wp" });
    await start();
    const client = agent();
    await eventually("the service", () => waypointOf(client, WEB) === "shop/wp.shop.svc.cluster.local:15008");
    await eventually("the condition", () => {
      return conditionOf(kube.read(SERVICES, "shop", "web"), "istio.io/WaypointBound") === "False/WaypointMissing";
    });
    putGateway();
    await eventually("the condition", () => {
      return conditionOf(kube.read(SERVICES, "shop", "web"), "istio.io/WaypointBound") === "True/WaypointAccepted";
    });
    // Another version of the object without the label, as its owner would apply it.
    putService();
    await eventually("no waypoint", () => waypointOf(client, WEB) === "");
  });

  it("share the traffic of a service with a canary, which has all of its program", async () => {
    putGateway();
    kube.put(GATEWAYS, {
      metadata: { namespace: "shop", name: "canary", uid: "canary", generation: 1 },
      spec: { gatewayClassName: "weft-waypoint", listeners: [MESH] },
    });
    const tokenOf = { authenticated: true, username: "system:serviceaccount:shop:canary", audiences: ["istio-ca"] };
    kube.tokens.set("shop/canary", { ...tokenOf, extra: {} });
    const labels = { "istio.io/use-waypoint": "wp", "istio.io/use-waypoint-canary": "canary" };
    const put = (weight: string) =>
      kube.put<Service>(SERVICES, {
        metadata: {
          namespace: "shop",
          name: "web",
          labels,
          annotations: { "istio.io/use-waypoint-canary-weight": weight },
        },
        spec: { clusterIP: "10.96.0.7", ports: [{ name: "http", port: 80 }] },
      });
    put("25");
    await start();
    const client = agent();
    const shares = () => {
      const type = client.address(WEB)?.type;
      return type?.case === "service" ? type.value.weightedWaypoints.map(({ weight }) => weight).join() : undefined;
    };
    await eventually("the shares", () => shares() === "75,25");
    for (const name of ["wp", "canary"]) {
      const waypoint = waypointClient(`shop/${name}`, "shop", name);
      const destinations = () => waypoint.resources.get("type.googleapis.com/weft.l7.Destination");
      await eventually(`the program of ${name}`, () => destinations()?.has(WEB));
    }
    put("0");
    await eventually("one waypoint", () => shares() === "");
  });

  it("own the traffic of a namespace for what they are for, and not of what opts out", async () => {
    kube.put(NAMESPACES, { metadata: { name: "shop", labels: { "istio.io/use-waypoint": "wp" } } });
    putGateway({ labels: { "istio.io/waypoint-for": "workload" } });
    putService();
    putPod();
    await start();
    const client = agent();
    await eventually("the pod", () => waypointOf(client, "Kubernetes//Pod/shop/web-1") !== "");
    expect(waypointOf(client, WEB)).toBe("");
    putGateway({ labels: { "istio.io/waypoint-for": "all" } });
    await eventually("the service", () => waypointOf(client, WEB) !== "");
    putPod({ "istio.io/use-waypoint": "none" });
    await eventually("the pod opts out", () => waypointOf(client, "Kubernetes//Pod/shop/web-1") === "");
    // A waypoint's own Service and pods are behind nobody.
    await ready();
    await eventually("its Service", () => client.address("shop/wp.shop.svc.cluster.local") !== undefined);
    expect(waypointOf(client, "shop/wp.shop.svc.cluster.local")).toBe("");
  });

  it("of other namespaces take only whom they let in", async () => {
    putGateway({ namespace: "other" });
    putService({ "istio.io/use-waypoint": "wp", "istio.io/use-waypoint-namespace": "other" });
    await start();
    const client = agent();
    await eventually("the condition", () => {
      return conditionOf(kube.read(SERVICES, "shop", "web"), "istio.io/WaypointBound") === "False/AttachmentDenied";
    });
    expect(waypointOf(client, WEB)).toBe("");
    const selector = { matchExpressions: [{ key: "team", operator: "In", values: ["a"] }] };
    const listeners = [{ ...MESH, allowedRoutes: { namespaces: { from: "Selector", selector } } }];
    kube.put(GATEWAYS, {
      metadata: { namespace: "other", name: "wp", uid: "other-wp", generation: 2 },
      spec: { gatewayClassName: "weft-waypoint", listeners },
    });
    kube.put(NAMESPACES, { metadata: { name: "shop", labels: { team: "a" } } });
    await eventually("the service", () => waypointOf(client, WEB) === "other/wp.other.svc.cluster.local:15008");
  });

  it("are the only ones let in, when that is wanted", async () => {
    putGateway();
    putService({ "istio.io/use-waypoint": "wp" });
    putPod();
    await start({ PILOT_AUTO_ALLOW_WAYPOINT_POLICY: "true" });
    const client = agent();
    const policy = await eventually("the policy", () => client.authorization("shop/istio_allow_waypoint_shop_wp"));
    expect(policy.rules[0]?.clauses[0]?.matches[0]?.serviceAccounts[0]).toMatchObject({
      namespace: "shop",
      serviceAccount: "wp",
    });
    await eventually("the pod", () => {
      const type = client.address("Kubernetes//Pod/shop/web-1")?.type;
      return (
        type?.case === "workload" && type.value.authorizationPolicies.includes("shop/istio_allow_waypoint_shop_wp")
      );
    });
    kube.remove(GATEWAYS, "shop", "wp");
    await eventually("no policy", () => client.authorization("shop/istio_allow_waypoint_shop_wp") === undefined);
  });

  it("get their own program, and nobody else does", async () => {
    putGateway();
    await start();
    const own = waypointClient("shop/wp", "shop");
    for (const type of L7_TYPE_URLS) await eventually(type, () => own.responsesOf(type).length === 1);
    const accepted = (value: string) =>
      conditionOf(kube.read(GATEWAYS, "shop", "wp"), "weft.dev/ProgramAccepted") === value;
    await eventually("the word of the waypoint", () => accepted("True/Accepted"));
    // It takes nothing more; the bound service is the next thing that it hears of.
    own.judge = () => `${WEB}: not today`;
    putService({ "istio.io/use-waypoint": "wp" });
    await eventually("the refusal", () => accepted("False/ResourcesRefused"));
    own.close();
    await eventually("nobody is there", () => accepted("Unknown/Pending"));
    for (const [token, namespace, gateway] of [
      ["shop/web", "shop", "wp"],
      ["other/wp", "other", "wp"],
      ["shop/wp", "shop", "another"],
      ["istio-system/weft-agent", "istio-system", "wp"],
    ] as const) {
      const { code } = await waypointClient(token, namespace, gateway).end();
      expect(code).toBe(grpcStatus.PERMISSION_DENIED);
    }
  });
});
