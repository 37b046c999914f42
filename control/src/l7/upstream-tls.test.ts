/** From a DestinationRule and its Secrets in a Kubernetes API to what a waypoint is told of TLS, and to nobody else. */
import { fromBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import {
  BACKEND_TLS_POLICIES,
  CONFIG_MAPS,
  DESTINATION_RULES,
  GATEWAYS,
  NAMESPACES,
  REFERENCE_GRANTS,
  SECRETS,
  SERVICES,
  type Service,
} from "#lib/kube/types.ts";
import { L7_TYPE_URLS } from "#lib/xds/types.ts";
import { type ClientTls, ClientTls_Mode, ClusterSchema } from "#proto/l7_pb.ts";
import { ANYWHERE } from "../../../test/helpers/control-ports.ts";
import { DeltaClient } from "../../../test/helpers/delta-client.ts";
import { FakeKube } from "../../../test/helpers/fake-kube.ts";
import { type Svid, TestCa } from "../../../test/helpers/pki.ts";
import { type Control, startControl } from "../app.ts";
import { controlConfig } from "../config.ts";

const CLUSTERS = "type.googleapis.com/weft.l7.Cluster";
const WEB = "inbound-vip|80|http|web.shop.svc.cluster.local";

describe("TLS from a waypoint to its servers", () => {
  let kube: FakeKube;
  let control: Control;
  let ca: TestCa;
  let pair: Svid;
  const clients: DeltaClient[] = [];

  /** A pod of a waypoint named like its namespace. */
  function waypoint(namespace: string): DeltaClient {
    const data = kube.read(SECRETS, "istio-system", "istio-ca-secret")?.data ?? {};
    const client = new DeltaClient({
      port: control.grpcPort,
      roots: Buffer.from(data["root-cert.pem"] ?? "", "base64").toString(),
      type: "waypoint",
      token: namespace,
      namespace,
      podName: "wp-1",
      metadata: { LABELS: { "gateway.networking.k8s.io/gateway-name": namespace } },
    }).open();
    for (const type of L7_TYPE_URLS) client.subscribe(type);
    clients.push(client);
    return client;
  }
  const tlsOf = (client: DeltaClient, name = WEB): ClientTls | undefined => {
    const value = client.resources.get(CLUSTERS)?.get(name)?.value;
    return value && fromBinary(ClusterSchema, value).tls;
  };
  function putRule(tls: object, namespace = "shop"): void {
    kube.put(DESTINATION_RULES, {
      metadata: { namespace, name: "web", uid: `web-${namespace}` },
      spec: { host: "web.shop.svc.cluster.local", trafficPolicy: { tls } },
    });
  }
  function putSecret(name: string, texts: Record<string, string>, namespace = "shop"): void {
    const data = Object.fromEntries(
      Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString("base64")]),
    );
    kube.put(SECRETS, { metadata: { namespace, name }, data });
  }
  const start = () => startControl(controlConfig(ANYWHERE), { client: kube.client(), log: pino({ level: "silent" }) });

  beforeEach(async () => {
    ca = await TestCa.create();
    pair = await ca.issue("spiffe://td/ns/a/sa/b");
    kube = await FakeKube.start();
    for (const name of ["istio-system", "shop", "other"]) {
      kube.put(NAMESPACES, { metadata: { name } });
      kube.tokens.set(name, {
        authenticated: true,
        username: `system:serviceaccount:${name}:${name}`,
        audiences: ["istio-ca"],
        extra: {},
      });
      const listeners = [
        { name: "mesh", port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "All" } } },
      ];
      kube.put(GATEWAYS, {
        metadata: { namespace: name, name, uid: `wp-${name}`, generation: 1 },
        spec: { gatewayClassName: "weft-waypoint", listeners },
      });
    }
    const labels = { "istio.io/use-waypoint": "shop" };
    kube.put<Service>(SERVICES, {
      metadata: { namespace: "shop", name: "web", labels },
      spec: { clusterIP: "10.96.0.7", ports: [{ name: "http", port: 80 }] },
    });
    control = await start();
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await control.stop();
    await kube.stop();
  });

  it("takes certificates from a Secret, and others when there are others", async () => {
    const client = waypoint("shop");
    await eventually("the cluster", () => client.resources.get(CLUSTERS)?.has(WEB));
    expect(tlsOf(client)).toBeUndefined();
    putRule({ mode: "MUTUAL", credentialName: "web", subjectAltNames: ["a.example"], sni: "b.example" });
    await eventually("the refusal", () => tlsOf(client)?.unusable.includes("Secret shop/web does not exist"));
    const told = () =>
      kube.read(DESTINATION_RULES, "shop", "web")?.status?.conditions?.find(({ type }) => type === "ResolvedRefs");
    await eventually("the rule's condition", () => told()?.reason === "InvalidCertificateRef");
    expect(told()).toMatchObject({
      status: "False",
      message: "at waypoint shop/shop: Secret shop/web does not exist; nothing is sent without it",
    });
    putSecret("web", { "tls.crt": pair.chain, "tls.key": pair.key, "ca.crt": ca.root });
    await eventually("the certificate", () => tlsOf(client)?.certificateChain === pair.chain);
    await eventually("no complaint", () => told() === undefined);
    expect(tlsOf(client)).toMatchObject({
      privateKey: pair.key,
      ca: ca.root,
      sni: "b.example",
      subjectAltNames: ["a.example"],
      unusable: "",
    });
    const next = await ca.issue("spiffe://td/ns/a/sa/b");
    putSecret("web", { "tls.crt": next.chain, "tls.key": next.key, "ca.crt": ca.root });
    await eventually("the next certificate", () => tlsOf(client)?.privateKey === next.key);
    kube.remove(SECRETS, "shop", "web");
    await eventually("nothing without it", () => tlsOf(client)?.unusable !== "");
    expect(tlsOf(client)?.privateKey).toBe("");
  });

  it("gives keys to no other waypoint", async () => {
    putRule({ mode: "MUTUAL", credentialName: "web" });
    putSecret("web", { "tls.crt": pair.chain, "tls.key": pair.key, "ca.crt": ca.root });
    const entitled = waypoint("shop");
    const other = waypoint("other");
    await eventually("the certificate", () => tlsOf(entitled)?.privateKey === pair.key);
    await eventually("the other's program", () => other.resources.get(L7_TYPE_URLS.at(-1) ?? "") !== undefined);
    const seen = other.responses.flatMap(({ resources }) => resources.map(({ resource }) => resource?.value));
    for (const bytes of seen) expect(Buffer.from(bytes ?? []).includes(pair.key)).toBe(false);
  });

  it("reads only Secrets that somebody names", async () => {
    const client = waypoint("shop");
    putRule({ mode: "SIMPLE", credentialName: "web" });
    putSecret("web-cacert", { cacert: ca.root });
    await eventually("the authority", () => tlsOf(client)?.ca === ca.root);
    const names = kube.requests
      .filter((request) => request.includes("/secrets?") && !request.includes("/istio-system/"))
      .map((request) => new URL(request.split(" ")[1] ?? "", "http://k").searchParams.get("fieldSelector"));
    expect(new Set(names)).toEqual(new Set(["metadata.name=web", "metadata.name=web-cacert"]));
  });

  it("is not without certificates for a moment when the control plane comes back", async () => {
    putRule({ mode: "MUTUAL", credentialName: "web" });
    putSecret("web", { "tls.crt": pair.chain, "tls.key": pair.key, "ca.crt": ca.root });
    await control.stop();
    control = await start();
    const client = waypoint("shop");
    await eventually("the cluster", () => tlsOf(client) !== undefined);
    const told = client.responses.flatMap(({ resources }) =>
      resources.filter(({ name, resource }) => name === WEB && resource?.typeUrl === CLUSTERS),
    );
    for (const { resource } of told) {
      expect(fromBinary(ClusterSchema, resource?.value ?? new Uint8Array()).tls?.unusable).toBe("");
    }
  });

  it("follows a BackendTLSPolicy before a rule, and says at the waypoint what became of it", async () => {
    const client = waypoint("shop");
    putRule({ mode: "SIMPLE", sni: "rule.example" });
    await eventually("the rule", () => tlsOf(client)?.sni === "rule.example");
    const put = (name: string, generation: number, caCertificateRefs: readonly object[]) =>
      kube.put(BACKEND_TLS_POLICIES, {
        metadata: { namespace: "shop", name, uid: name, generation },
        spec: {
          targetRefs: [{ group: "", kind: "Service", name: "web" }],
          validation: { hostname: "policy.example", caCertificateRefs },
        },
      });
    const told = (name: string) => {
      const entries = kube.read(BACKEND_TLS_POLICIES, "shop", name)?.status?.ancestors ?? [];
      return entries.map(({ ancestorRef, controllerName, conditions = [] }) => ({
        ancestorRef,
        controllerName,
        conditions: conditions.map(({ type, status, reason, observedGeneration }) =>
          [type, status, reason, observedGeneration].join("/"),
        ),
      }));
    };
    const said = (name: string, conditions: readonly string[]) =>
      eventually(`${name}: ${conditions}`, () => told(name)[0]?.conditions.join() === conditions.join());
    const authority = { group: "", kind: "ConfigMap", name: "ca" };
    put("first", 1, [authority]);
    await eventually("the refusal", () => tlsOf(client)?.unusable.includes("ConfigMap shop/ca does not exist"));
    await said("first", ["Accepted/False/NoValidCACertificate/1", "ResolvedRefs/False/InvalidCACertificateRef/1"]);
    expect(told("first")[0]).toMatchObject({
      ancestorRef: { group: "gateway.networking.k8s.io", kind: "Gateway", namespace: "shop", name: "shop" },
      controllerName: "istio.io/mesh-controller",
    });
    kube.put(CONFIG_MAPS, { metadata: { namespace: "shop", name: "ca" }, data: { "ca.crt": ca.root } });
    await eventually("the authority", () => tlsOf(client)?.ca === ca.root);
    expect(tlsOf(client)).toMatchObject({ sni: "policy.example", subjectAltNames: ["policy.example"], unusable: "" });
    await said("first", ["Accepted/True/Accepted/1", "ResolvedRefs/True/ResolvedRefs/1"]);
    // One bad reference among good ones is told, and the good ones count.
    put("first", 2, [authority, { group: "", kind: "Secret", name: "ca" }]);
    await said("first", ["Accepted/True/Accepted/2", "ResolvedRefs/False/InvalidKind/2"]);
    expect(tlsOf(client)?.ca).toBe(ca.root);
    put("second", 1, [authority]);
    await said("second", ["Accepted/False/Conflicted/1", "ResolvedRefs/True/ResolvedRefs/1"]);
    kube.remove(BACKEND_TLS_POLICIES, "shop", "first");
    await said("second", ["Accepted/True/Accepted/1", "ResolvedRefs/True/ResolvedRefs/1"]);
    kube.put<Service>(SERVICES, {
      metadata: { namespace: "shop", name: "web", labels: {} },
      spec: { clusterIP: "10.96.0.7", ports: [{ name: "http", port: 80 }] },
    });
    await eventually("no word of a waypoint that has nothing to do with it", () => told("second").length === 0);
  });

  it("shows servers of a BackendTLSPolicy the certificate of the Gateway, and fails without it", async () => {
    const client = waypoint("shop");
    const told = () => {
      const conditions = kube.read(GATEWAYS, "shop", "shop")?.status?.conditions ?? [];
      const [accepted, resolved] = ["Accepted", "ResolvedRefs"].map((type) =>
        conditions.find((each) => each.type === type),
      );
      return `${accepted?.status} ${resolved?.status}/${resolved?.reason}/${resolved?.observedGeneration}`;
    };
    const putGateway = (generation: number, ref: object | undefined) =>
      kube.put(GATEWAYS, {
        metadata: { namespace: "shop", name: "shop", uid: "wp-shop", generation },
        spec: {
          gatewayClassName: "weft-waypoint",
          listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }],
          ...(ref === undefined ? {} : { tls: { backend: { clientCertificateRef: ref } } }),
        },
      });
    kube.put(BACKEND_TLS_POLICIES, {
      metadata: { namespace: "shop", name: "web", uid: "web", generation: 1 },
      spec: {
        targetRefs: [{ group: "", kind: "Service", name: "web" }],
        validation: { hostname: "web.example", wellKnownCACertificates: "System" },
      },
    });
    await eventually("TLS without a certificate", () => tlsOf(client)?.mode === ClientTls_Mode.SIMPLE);
    putGateway(2, { name: "own" });
    await eventually("the missing Secret", () => told() === "True False/InvalidClientCertificateRef/2");
    await eventually("no TLS without it", () => tlsOf(client)?.unusable.includes("Secret shop/own does not exist"));
    putSecret("own", { "tls.crt": pair.chain, "tls.key": pair.key });
    await eventually("the Secret", () => told() === "True True/ResolvedRefs/2");
    await eventually("the certificate", () => tlsOf(client)?.mode === ClientTls_Mode.MUTUAL);
    expect(tlsOf(client)).toMatchObject({ unusable: "", certificateChain: pair.chain, sni: "web.example" });
    putSecret("far", { "tls.crt": pair.chain, "tls.key": pair.key }, "other");
    putGateway(3, { namespace: "other", name: "far" });
    await eventually("nothing that is not granted", () => told() === "True False/RefNotPermitted/3");
    await eventually("no TLS without a grant", () => tlsOf(client)?.unusable.includes("needs a ReferenceGrant"));
    kube.put(REFERENCE_GRANTS, {
      metadata: { namespace: "other", name: "g" },
      spec: {
        from: [{ group: "gateway.networking.k8s.io", kind: "Gateway", namespace: "shop" }],
        to: [{ group: "", kind: "Secret" }],
      },
    });
    await eventually("the grant", () => told() === "True True/ResolvedRefs/3");
    await eventually("what is granted", () => tlsOf(client)?.unusable === "");
    putGateway(4, { kind: "ConfigMap", name: "own" });
    await eventually("no other kind", () => told() === "True False/InvalidClientCertificateRef/4");
    putGateway(5, undefined);
    await eventually("nothing to refer to", () => told() === "True True/ResolvedRefs/5");
    await eventually(
      "TLS as before",
      () => tlsOf(client)?.mode === ClientTls_Mode.SIMPLE && tlsOf(client)?.unusable === "",
    );
  });

  it("lets a rule of another namespace name a Secret only where that is granted", async () => {
    kube.put<Service>(SERVICES, {
      metadata: {
        namespace: "shop",
        name: "web",
        labels: { "istio.io/use-waypoint": "other", "istio.io/use-waypoint-namespace": "other" },
      },
      spec: { clusterIP: "10.96.0.7", ports: [{ name: "http", port: 80 }] },
    });
    putSecret("web", { "tls.crt": pair.chain, "tls.key": pair.key, "ca.crt": ca.root }, "other");
    putRule({ mode: "MUTUAL", credentialName: "web" });
    const client = waypoint("other");
    await eventually("the refusal", () => tlsOf(client)?.unusable.includes("ReferenceGrant"));
    kube.put(REFERENCE_GRANTS, {
      metadata: { namespace: "other", name: "shop" },
      spec: {
        from: [{ group: "networking.istio.io", kind: "DestinationRule", namespace: "shop" }],
        to: [{ group: "", kind: "Secret" }],
      },
    });
    await eventually("the certificate", () => tlsOf(client)?.privateKey === pair.key);
    kube.remove(REFERENCE_GRANTS, "other", "shop");
    await eventually("nothing without it", () => tlsOf(client)?.privateKey === "");
  });
});
