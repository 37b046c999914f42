import { X509Certificate } from "node:crypto";
import tls from "node:tls";
import { status } from "@grpc/grpc-js";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import {
  AUTHORIZATION_POLICIES,
  CONFIG_MAPS,
  type IstioObject,
  NAMESPACES,
  NODES,
  PEER_AUTHENTICATIONS,
  PODS,
  type Pod,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICE_ENTRIES,
  SERVICES,
} from "#lib/kube/types.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import { NetworkMode, TunnelProtocol, type Workload, WorkloadStatus } from "#proto/workload_pb.ts";
import { ANYWHERE } from "../../test/helpers/control-ports.ts";
import { DeltaClient, type DeltaClientOptions } from "../../test/helpers/delta-client.ts";
import { FakeKube } from "../../test/helpers/fake-kube.ts";
import { type Control, startControl } from "./app.ts";
import { Authority } from "./ca/authority.ts";
import { newSerialNumber, newSigningKey, pemOf } from "./ca/keys.ts";
import { controlConfig } from "./config.ts";

function pod(name: string, more: { node?: string; ip?: string; labels?: Record<string, string>; ready?: string } = {}) {
  const { node = "node-1", ip = "10.1.0.1", labels = { app: "web" }, ready = "True" } = more;
  return {
    metadata: { namespace: "shop", name, labels, annotations: { "ambient.istio.io/redirection": "enabled" } },
    spec: { nodeName: node, serviceAccountName: "web", containers: [] },
    status: { phase: "Running", podIP: ip, conditions: [{ type: "Ready", status: ready as "True" }] },
  } satisfies Pod;
}

const policy = (name: string, spec: unknown): IstioObject => ({ metadata: { namespace: "shop", name }, spec });

/** A certificate authority below `root` that lives an hour. */
async function intermediateOf(root: Authority): Promise<{ cert: string; key: string }> {
  const { signing, publicKey } = await newSigningKey();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerialNumber(),
    subject: "O=intermediate",
    issuer: root.certificate.subject,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    publicKey,
    signingKey: root.key.key,
    signingAlgorithm: root.key.algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  return { cert: pemOf(certificate), key: signing.pem };
}

describe("the control plane", () => {
  let kube: FakeKube;
  let control: Control | undefined;
  let clients: DeltaClient[];

  beforeEach(async () => {
    clients = [];
    kube = await FakeKube.start();
    for (const name of ["istio-system", "shop"]) kube.put(NAMESPACES, { metadata: { name } });
    kube.put(NODES, { metadata: { name: "node-1", labels: { "topology.kubernetes.io/region": "r1" } } });
    kube.put(SERVICE_ACCOUNTS, { metadata: { namespace: "shop", name: "web" } });
    kube.put(SERVICE_ACCOUNTS, { metadata: { namespace: "shop", name: "other" } });
    kube.put(PODS, {
      metadata: { namespace: "istio-system", name: "weft-agent-1", uid: "agent-uid" },
      spec: { nodeName: "node-1", serviceAccountName: "weft-agent", hostNetwork: true },
      status: { phase: "Running", podIP: "192.168.0.1" },
    });
    kube.tokens.set("agent", {
      authenticated: true,
      username: "system:serviceaccount:istio-system:weft-agent",
      audiences: ["istio-ca"],
      extra: {
        "authentication.kubernetes.io/pod-name": ["weft-agent-1"],
        "authentication.kubernetes.io/pod-uid": ["agent-uid"],
      },
    });
    kube.tokens.set("web", {
      authenticated: true,
      username: "system:serviceaccount:shop:web",
      audiences: ["istio-ca"],
      extra: {},
    });
  });

  afterEach(async () => {
    for (const client of clients) client.close();
    await control?.stop();
    control = undefined;
    await kube.stop();
  });

  async function start(env: Record<string, string> = {}): Promise<Control> {
    const log = pino({ level: "silent" });
    control = await startControl(controlConfig({ ...ANYWHERE, ...env }), { client: kube.client(), log });
    return control;
  }

  function rootCert(): string {
    const data = kube.read(SECRETS, "istio-system", "istio-ca-secret")?.data ?? {};
    return Buffer.from(data["root-cert.pem"] ?? "", "base64").toString();
  }

  function connect(options: Partial<DeltaClientOptions> = {}): DeltaClient {
    const client = new DeltaClient({ port: control?.grpcPort ?? 0, roots: rootCert(), token: "agent", ...options });
    clients.push(client);
    return client;
  }

  function connectAgent(): DeltaClient {
    return connect().open().subscribe(ADDRESS_TYPE).subscribe(AUTHORIZATION_TYPE);
  }

  function workloadOf(client: DeltaClient, name: string): Workload {
    const type = client.address(name)?.type;
    if (type?.case !== "workload") throw new Error(`no workload ${name}`);
    return type.value;
  }

  it("serves TLS 1.3 with a certificate for istiod's name that chains to the root in every namespace", async () => {
    const { grpcPort } = await start();
    const roots = await eventually("the ConfigMap", () => kube.read(CONFIG_MAPS, "shop", "istio-ca-root-cert")?.data);
    expect(roots["root-cert.pem"]).toBe(rootCert());
    const socket = tls.connect({
      host: "127.0.0.1",
      port: grpcPort,
      servername: "istiod.istio-system.svc",
      ca: rootCert(),
      ALPNProtocols: ["h2"],
    });
    await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
    expect([socket.getProtocol(), socket.alpnProtocol, socket.authorized]).toEqual(["TLSv1.3", "h2", true]);
    expect(socket.getCipher().standardName).toMatch(/AES_\d+_GCM/);
    socket.destroy();
    const old = tls.connect({ host: "127.0.0.1", port: grpcPort, maxVersion: "TLSv1.2", rejectUnauthorized: false });
    await expect(new Promise((_, reject) => old.once("error", reject))).rejects.toThrow(/protocol version/i);
  });

  it("answers both first requests when there is nothing to send", async () => {
    kube.remove(PODS, "istio-system", "weft-agent-1");
    await start();
    const client = connectAgent();
    await eventually("both answers", () => client.responses.length === 2);
    expect(client.responses.map(({ typeUrl }) => typeUrl)).toEqual([AUTHORIZATION_TYPE, ADDRESS_TYPE]);
    expect(new Set(client.responses.map(({ nonce }) => nonce)).size).toBe(2);
    expect(client.responses.every(({ resources }) => resources.length === 0)).toBe(true);
  });

  it("sends workloads and services as they are in the cluster, and each change", async () => {
    kube.put(PODS, pod("web-1"));
    kube.put(SERVICES, {
      metadata: { namespace: "shop", name: "web" },
      spec: { clusterIPs: ["10.96.0.9"], selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    await start();
    const client = connectAgent();
    await eventually("the workload", () => client.address("Kubernetes//Pod/shop/web-1"));
    expect(workloadOf(client, "Kubernetes//Pod/shop/web-1")).toMatchObject({
      name: "web-1",
      namespace: "shop",
      serviceAccount: "web",
      node: "node-1",
      network: "",
      tunnelProtocol: TunnelProtocol.HBONE,
      status: WorkloadStatus.HEALTHY,
      locality: { region: "r1" },
      services: { "shop/web.shop.svc.cluster.local": { ports: [{ servicePort: 80, targetPort: 8080 }] } },
    });
    expect(workloadOf(client, "Kubernetes//Pod/istio-system/weft-agent-1").networkMode).toBe(NetworkMode.HOST_NETWORK);
    expect(client.address("shop/web.shop.svc.cluster.local")?.type.case).toBe("service");

    const before = client.responses.length;
    kube.put(PODS, pod("web-1", { ready: "False" }));
    await eventually("the change", () => client.responses.length > before);
    expect(client.responses.at(-1)?.resources.map(({ name }) => name)).toEqual(["Kubernetes//Pod/shop/web-1"]);
    kube.remove(PODS, "shop", "web-1");
    await eventually("the removal", () => client.address("Kubernetes//Pod/shop/web-1") === undefined);
  });

  it("gives addresses a stable version and policies none, and takes up where a client left off", async () => {
    for (let i = 1; i <= 5; i++) kube.put(PODS, pod(`web-${i}`, { ip: `10.1.0.${i}` }));
    kube.put(AUTHORIZATION_POLICIES, policy("p", { rules: [{}] }));
    await start();
    const first = connectAgent();
    await eventually(
      "all",
      () => first.names(ADDRESS_TYPE).length === 6 && first.names(AUTHORIZATION_TYPE).length === 1,
    );
    const versions = first.versions(ADDRESS_TYPE);
    expect(Object.values(versions).every((version) => /^[0-9a-f]{16}$/.test(version))).toBe(true);
    expect(first.versions(AUTHORIZATION_TYPE)).toEqual({ "shop/p": "" });
    first.close();

    kube.put(PODS, pod("web-1", { ip: "10.1.0.99" }));
    kube.remove(PODS, "shop", "web-2");
    await eventually("the model", () => control?.model.addresses.get("Kubernetes//Pod/shop/web-2") === undefined);
    // Another process with the same objects has the same versions.
    await control?.stop();
    await start();
    const second = connect().open();
    second.subscribe(ADDRESS_TYPE, { initialResourceVersions: versions });
    second.subscribe(AUTHORIZATION_TYPE, { initialResourceVersions: { "shop/p": "", "shop/gone": "" } });
    await eventually("removals", () => second.responsesOf(ADDRESS_TYPE).length === 2);
    const [changed, removed] = second.responsesOf(ADDRESS_TYPE);
    expect(changed?.resources.map(({ name }) => name)).toEqual(["Kubernetes//Pod/shop/web-1"]);
    expect(removed?.removedResources).toEqual(["Kubernetes//Pod/shop/web-2"]);
    await eventually("policies", () => second.responsesOf(AUTHORIZATION_TYPE).length === 2);
    expect(second.names(AUTHORIZATION_TYPE)).toEqual(["shop/p"]);
    expect(second.responsesOf(AUTHORIZATION_TYPE)[1]?.removedResources).toEqual(["shop/gone"]);
  });

  it("sends a policy before the workloads that name it, and takes it away after them", async () => {
    kube.put(PODS, pod("web-1"));
    await start({ PILOT_DEBOUNCE_AFTER: "50ms" });
    const client = connectAgent();
    await eventually("the first state", () => client.responses.length === 2);
    const selecting = { selector: { matchLabels: { app: "web" } }, rules: [{}] };
    kube.put(AUTHORIZATION_POLICIES, policy("one", selecting));
    await eventually("the name", () =>
      workloadOf(client, "Kubernetes//Pod/shop/web-1").authorizationPolicies.includes("shop/one"),
    );
    kube.put(AUTHORIZATION_POLICIES, policy("two", selecting));
    kube.remove(AUTHORIZATION_POLICIES, "shop", "one");
    await eventually("the removal", () => client.names(AUTHORIZATION_TYPE).join() === "shop/two");
    const kinds = client.responses
      .slice(2)
      .map(({ typeUrl, resources, removedResources }) => [
        typeUrl === ADDRESS_TYPE ? "address" : "policy",
        ...resources.map(({ name }) => `+${name}`),
        ...removedResources.map((name) => `-${name}`),
      ]);
    expect(kinds).toEqual([
      ["policy", "+shop/one"],
      ["address", "+Kubernetes//Pod/shop/web-1"],
      ["policy", "+shop/two"],
      ["address", "+Kubernetes//Pod/shop/web-1"],
      ["policy", "-shop/one"],
    ]);
  });

  it("sends policies first on a new stream, though clients ask for workloads first", async () => {
    kube.put(PODS, pod("web-1"));
    kube.put(PEER_AUTHENTICATIONS, policy("default", { mtls: { mode: "STRICT" } }));
    await start();
    const client = connectAgent();
    await eventually("both", () => client.responses.length === 2);
    expect(client.responses[0]?.resources.map(({ name }) => name)).toEqual([
      "istio-system/istio_converted_static_strict",
    ]);
    expect(workloadOf(client, "Kubernetes//Pod/shop/web-1").authorizationPolicies).toEqual([
      "istio-system/istio_converted_static_strict",
    ]);
  });

  it("does not send refused resources again, and goes on with others", async () => {
    kube.put(PODS, pod("web-1"));
    await start();
    const client = connect();
    client.judge = (response) => (response.typeUrl === ADDRESS_TYPE ? "Kubernetes//Pod/shop/web-1: bad" : undefined);
    client.open().subscribe(ADDRESS_TYPE).subscribe(AUTHORIZATION_TYPE);
    await eventually("the first state", () => client.responses.length === 2);
    kube.put(PODS, pod("web-2", { ip: "10.1.0.2" }));
    await eventually("the second pod", () => client.address("Kubernetes//Pod/shop/web-2"));
    expect(client.responses).toHaveLength(3);
  });

  it("serves what is asked for on demand: nothing at first, then keys, addresses and services with endpoints", async () => {
    kube.put(PODS, pod("web-1", { node: "node-2" }));
    kube.put(PODS, pod("local-1", { ip: "10.1.0.2", labels: { app: "local" } }));
    kube.put(SERVICES, {
      metadata: { namespace: "shop", name: "web" },
      spec: { clusterIPs: ["10.96.0.9"], selector: { app: "web" }, ports: [{ port: 80 }] },
    });
    await start();
    const client = connect().open();
    client.subscribe(ADDRESS_TYPE, { resourceNamesSubscribe: ["*"], resourceNamesUnsubscribe: ["*"] });
    client.subscribe(AUTHORIZATION_TYPE);
    await eventually("own node's workloads", () => client.names(ADDRESS_TYPE).length === 2);
    expect(client.names(ADDRESS_TYPE)).toEqual([
      "Kubernetes//Pod/istio-system/weft-agent-1",
      "Kubernetes//Pod/shop/local-1",
    ]);
    const service = "shop/web.shop.svc.cluster.local";
    client.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: [service] });
    await eventually("service and endpoint", () => client.names(ADDRESS_TYPE).length === 4);
    client.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ["/10.1.0.1", "shop/nobody.example"] });
    const answer = await eventually("both answers", () =>
      client.names(ADDRESS_TYPE).includes("/10.1.0.1") ? client.responses : undefined,
    );
    await eventually("the miss", () =>
      answer.some(({ removedResources }) => removedResources.includes("shop/nobody.example")),
    );
    const before = client.responses.length;
    kube.put(PODS, pod("elsewhere", { node: "node-3", ip: "10.1.0.3", labels: { app: "x" } }));
    kube.remove(PODS, "shop", "web-1");
    await eventually("the removal", () => client.responses.length > before);
    expect(client.responses.at(-1)?.removedResources.sort()).toEqual(["/10.1.0.1", "Kubernetes//Pod/shop/web-1"]);
    expect(client.address("Kubernetes//Pod/shop/elsewhere")).toBeUndefined();
  });

  it("refuses streams without a token, of another cluster, and of another identity than the node says", async () => {
    await start();
    const refused = async (options: Partial<DeltaClientOptions>) => {
      const client = connect(options).open().subscribe(ADDRESS_TYPE);
      return (await client.end()).code;
    };
    expect(await refused({ token: "" })).toBe(status.UNAUTHENTICATED);
    expect(await refused({ token: "stolen" })).toBe(status.UNAUTHENTICATED);
    expect(await refused({ clusterId: "elsewhere" })).toBe(status.UNAUTHENTICATED);
    expect(await refused({ namespace: "shop" })).toBe(status.PERMISSION_DENIED);
    expect(await refused({ metadata: { SERVICE_ACCOUNT: "default" } })).toBe(status.PERMISSION_DENIED);
    const anonymous = connect().open().send({ typeUrl: ADDRESS_TYPE });
    expect((await anonymous.end()).code).toBe(status.INVALID_ARGUMENT);
  });

  describe("as certificate authority", () => {
    const WEB = "spiffe://cluster.local/ns/shop/sa/web";

    async function csr(uri = WEB): Promise<string> {
      const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
      const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
      const names = new x509.SubjectAlternativeNameExtension([{ type: "url", value: uri }], true);
      const request = { keys, signingAlgorithm: algorithm, extensions: [names] };
      return (await x509.Pkcs10CertificateRequestGenerator.create(request)).toString("pem");
    }

    it("issues a certificate for an identity that runs on the caller's node", async () => {
      kube.put(PODS, pod("web-1"));
      await start();
      const chain = await connect().createCertificate(await csr("spiffe://evil/ns/kube-system/sa/admin"), WEB);
      expect(chain).toHaveLength(2);
      expect(chain[1]).toBe(rootCert());
      const leaf = new X509Certificate(chain[0] ?? "");
      expect(leaf.subjectAltName).toBe(`URI:${WEB}`);
      expect(leaf.verify(new X509Certificate(rootCert()).publicKey)).toBe(true);
      expect(leaf.ca).toBe(false);
      expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
      const [from, to] = [leaf.validFromDate.getTime(), leaf.validToDate.getTime()];
      expect(to - from).toBe(86_400_000 + 600_000);
      expect(Math.abs(Date.now() - 600_000 - from)).toBeLessThan(5_000);
    });

    it("gives a caller that is no node agent its own identity only", async () => {
      kube.put(PODS, pod("web-1"));
      await start();
      const client = connect({ token: "web" });
      const [leaf = ""] = await client.createCertificate(await csr());
      expect(new X509Certificate(leaf).subjectAltName).toBe(`URI:${WEB}`);
      const other = client.createCertificate(await csr(), "spiffe://cluster.local/ns/shop/sa/other");
      await expect(other).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    });

    it("refuses, without saying why, what does not run on the caller's node", async () => {
      kube.put(PODS, pod("web-1", { node: "node-2" }));
      await start();
      const client = connect();
      const asked = ["spiffe://cluster.local/ns/shop/sa/web", "spiffe://other.domain/ns/shop/sa/web", "web", ""];
      for (const identity of asked) {
        const error = await client.createCertificate(await csr(), identity).catch((e: unknown) => e);
        expect(error, identity).toMatchObject({
          code: status.UNAUTHENTICATED,
          details: "request authenticate failure",
        });
      }
      kube.put(PODS, { ...pod("web-2"), status: { phase: "Failed" } });
      await expect(client.createCertificate(await csr(), WEB)).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    });

    it("waits a moment for a pod that it has not heard of yet", async () => {
      await start();
      const chain = connect().createCertificate(await csr(), WEB);
      kube.put(PODS, pod("web-1"));
      expect(await chain).toHaveLength(2);
    });

    it("refuses a token whose pod is another one by now", async () => {
      kube.put(PODS, pod("web-1"));
      await start();
      const client = connect();
      const metadata = { namespace: "istio-system", name: "weft-agent-1", uid: "newer" };
      const before = kube.read(PODS, "istio-system", "weft-agent-1") as Pod;
      kube.put(PODS, { ...before, metadata });
      await eventually("the model", () => control?.model.pods.get("istio-system/weft-agent-1")?.uid === "newer");
      await expect(client.createCertificate(await csr(), WEB)).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    });

    it("refuses a broken request and a life that is too long", async () => {
      kube.put(PODS, pod("web-1"));
      await start();
      const client = connect();
      await expect(client.createCertificate("nonsense", WEB)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
      const long = client.createCertificate(await csr(), WEB, 91 * 86_400);
      await expect(long).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
      const [leaf = ""] = await client.createCertificate(await csr(), WEB, 0);
      expect(new X509Certificate(leaf).validToDate.getTime() - Date.now()).toBeGreaterThan(86_000_000);
    });

    it("keeps its root over a restart", async () => {
      await start();
      const root = rootCert();
      await control?.stop();
      await start();
      expect(rootCert()).toBe(root);
    });

    const secret = (name: string, data: Record<string, string>) => ({
      metadata: { namespace: "istio-system", name },
      data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString("base64")])),
    });

    it("signs with a given intermediate, and answers leaf, intermediate, root", async () => {
      kube.put(PODS, pod("web-1"));
      const root = await Authority.selfSigned("the operator", 86_400_000);
      const intermediate = await intermediateOf(root);
      const given = {
        "ca-cert.pem": intermediate.cert,
        "ca-key.pem": intermediate.key,
        "cert-chain.pem": intermediate.cert,
        "root-cert.pem": root.roots,
      };
      kube.put(SECRETS, secret("cacerts", given));
      await start();
      const client = connect({ roots: root.roots });
      const chain = await client.createCertificate(await csr(), WEB);
      expect(chain).toEqual([expect.any(String), intermediate.cert, root.roots]);
      const [leaf = ""] = chain;
      expect(new X509Certificate(leaf).verify(new X509Certificate(intermediate.cert).publicKey)).toBe(true);
      // It never lives longer than its signer.
      expect(new X509Certificate(leaf).validToDate).toEqual(new X509Certificate(intermediate.cert).validToDate);
      expect(kube.read(SECRETS, "istio-system", "istio-ca-secret")).toBeUndefined();

      // A broken change does not stop the mesh.
      kube.put(SECRETS, secret("cacerts", { ...given, "ca-key.pem": root.key.pem }));
      expect(await client.createCertificate(await csr(), WEB)).toHaveLength(3);
    });

    it("does not start with a given authority that is broken, and says what is wrong", async () => {
      const root = await Authority.selfSigned("x", 86_400_000);
      const other = await Authority.selfSigned("y", 86_400_000);
      const broken = { "ca-cert.pem": root.roots, "ca-key.pem": other.key.pem, "root-cert.pem": root.roots };
      kube.put(SECRETS, secret("cacerts", broken));
      await expect(start()).rejects.toThrow("Secret istio-system/cacerts: ca-key.pem is not the key of ca-cert.pem");
    });

    it("agrees on one root when replicas start at the same time", async () => {
      const log = pino({ level: "silent" });
      const replicas = await Promise.all(
        ["one", "two", "three"].map((POD_NAME) =>
          startControl(controlConfig({ ...ANYWHERE, POD_NAME }), { client: kube.client(), log }),
        ),
      );
      for (const { grpcPort } of replicas) {
        const client = connect({ port: grpcPort }).open().subscribe(AUTHORIZATION_TYPE);
        await eventually("an answer", () => client.responses.length === 1);
        client.close();
      }
      await Promise.all(replicas.map((replica) => replica.stop()));
    });

    it("puts the root back into a namespace where it was changed or deleted, and into new ones", async () => {
      await start();
      const present = (namespace: string) =>
        eventually(`the root in ${namespace}`, () => {
          return kube.read(CONFIG_MAPS, namespace, "istio-ca-root-cert")?.data?.["root-cert.pem"] === rootCert();
        });
      await present("shop");
      kube.put(CONFIG_MAPS, {
        metadata: { namespace: "shop", name: "istio-ca-root-cert" },
        data: { "root-cert.pem": "x" },
      });
      await present("shop");
      kube.remove(CONFIG_MAPS, "shop", "istio-ca-root-cert");
      await present("shop");
      kube.put(NAMESPACES, { metadata: { name: "new" } });
      await present("new");
    });

    it("rotates its root: both are trusted first, then the new one signs, then the old one goes", async () => {
      kube.put(PODS, pod("web-1"));
      const env = { WEFT_ROOT_OVERLAP: "2s", DEFAULT_WORKLOAD_CERT_TTL: "600ms", MAX_WORKLOAD_CERT_TTL: "600ms" };
      await start(env);
      const old = rootCert();
      const secret = kube.read(SECRETS, "istio-system", "istio-ca-secret");
      if (secret === undefined) throw new Error("no secret");
      kube.put(SECRETS, { ...secret, metadata: { ...secret.metadata, annotations: { "weft/rotate-root": "now" } } });
      const both = await eventually("both roots", () => rootCert() !== old && rootCert());
      expect(both.startsWith(old)).toBe(true);
      const roots = both.match(/-----BEGIN[\s\S]*?END CERTIFICATE-----\n/g) ?? [];
      expect(roots).toHaveLength(2);
      const next = roots[1] as string;
      const signerOf = async () => {
        const chain = await connect({ roots: both }).createCertificate(await csr(), WEB, 0);
        const leaf = new X509Certificate(chain[0] ?? "");
        return { old: leaf.verify(new X509Certificate(old).publicKey), roots: chain.at(-1) };
      };
      const overlap = await eventually("both roots in answers", async () => {
        const answer = await signerOf();
        return answer.roots === both && answer;
      });
      expect(overlap.old).toBe(true);
      await eventually("the ConfigMap", () => {
        return kube.read(CONFIG_MAPS, "shop", "istio-ca-root-cert")?.data?.["root-cert.pem"] === both;
      });
      await eventually("the new signer", async () => !(await signerOf()).old);
      await eventually("the old root's end", () => rootCert() === next);
      expect(await signerOf()).toMatchObject({ old: false, roots: next });
      // Our own certificate is of the new root too.
      const client = connect({ roots: next }).open().subscribe(AUTHORIZATION_TYPE);
      await eventually("an answer", () => client.responses.length === 1);
    });
  });

  it("tells of an invalid policy in its status, and keeps the last valid version in force", async () => {
    kube.put(PODS, pod("web-1"));
    await start();
    const client = connectAgent();
    const good = { action: "DENY", rules: [{ from: [{ source: { namespaces: ["bad"] } }] }] };
    kube.put(AUTHORIZATION_POLICIES, policy("p", good));
    const conditions = () => kube.read(AUTHORIZATION_POLICIES, "shop", "p")?.status?.conditions?.[0];
    await eventually("a condition", () => conditions()?.status === "True");
    await eventually("the policy", () => client.authorization("shop/p"));
    await eventually("the workloads", () => client.responsesOf(ADDRESS_TYPE).length > 0);
    const before = client.responses.length;
    kube.put(
      AUTHORIZATION_POLICIES,
      policy("p", { ...good, rules: [{ from: [{ source: { ipBlocks: ["10.0.0.0/99"] } }] }] }),
    );
    await eventually("a condition", () => conditions()?.status === "False");
    expect(conditions()).toMatchObject({ type: "ZtunnelAccepted", reason: "Invalid" });
    expect(conditions()?.message).toMatch(/spec\.rules\[0\]\.from\[0\]\.source\.ipBlocks\[0\].*last valid version/);
    expect(client.responses.length).toBe(before);
    expect(client.authorization("shop/p")?.rules[0]?.clauses[0]?.matches[0]?.namespaces).toHaveLength(1);
    kube.put(AUTHORIZATION_POLICIES, policy("p", { rules: [{ to: [{ operation: { methods: ["GET"] } }] }] }));
    await eventually("a condition", () => conditions()?.reason === "UnsupportedValue");
    expect(conditions()?.message).toMatch(/methods/);
    expect(conditions()?.message).toMatch(/waypoint/);
  });

  it("gives a ServiceEntry without an address one of its own", async () => {
    await start();
    const client = connectAgent();
    const spec = { hosts: ["db.example"], ports: [{ number: 5432, name: "tcp" }], resolution: "DNS" };
    kube.put(SERVICE_ENTRIES, policy("db", spec));
    const addresses = await eventually("addresses", () => kube.read(SERVICE_ENTRIES, "shop", "db")?.status?.addresses);
    expect(addresses).toMatchObject([
      { value: expect.stringMatching(/^240\.240\./), host: "db.example" },
      { value: expect.stringMatching(/^2001:2::/), host: "db.example" },
    ]);
    await eventually("the service", () => {
      const type = client.address("shop/db.example")?.type;
      return type?.case === "service" && type.value.addresses.length === 2;
    });
  });

  it("is ready only when agents can connect, counts, and ends streams in order", async () => {
    const { readyPort, metricsPort } = await start();
    expect((await fetch(`http://127.0.0.1:${readyPort}/ready`)).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${readyPort}/other`)).status).toBe(404);
    const client = connectAgent();
    await eventually("answers", () => client.responses.length === 2);
    const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    expect(metrics).toMatch(/^pilot_xds 1$/m);
    await control?.stop();
    control = undefined;
    expect((await client.end()).code).toBe(status.OK);
  });

  it("says on its admin port who is connected, and how far", async () => {
    const { adminPort } = await start({ POD_NAME: "control-1" });
    const admin = `http://127.0.0.1:${adminPort}`;
    const clients = async () => {
      const page = await (await fetch(`${admin}/debug/syncz`)).json();
      expect(page).toMatchObject({ replica: "control-1", version: expect.stringMatching(/^\d/) });
      return (page as { clients: { types: { sent: number; answered: number }[] }[] }).clients;
    };
    expect(await clients()).toEqual([]);
    const client = connectAgent();
    await eventually("every response is answered", async () => {
      const [first] = await clients();
      return first?.types.length === 2 && first.types.every(({ sent, answered }) => sent === answered);
    });
    expect(await clients()).toEqual([
      {
        client: "istio-system/weft-agent-1",
        kind: "ztunnel",
        node: "node-1",
        version: "",
        address: expect.stringMatching(/127\.0\.0\.1/),
        connected: expect.stringMatching(/Z$/),
        types: [AUTHORIZATION_TYPE, ADDRESS_TYPE].map((type) =>
          expect.objectContaining({ type, sent: 1, answered: 1 }),
        ),
      },
    ]);
    client.close();
    await eventually("it is gone", async () => (await clients()).length === 0);
  });

  it("shows and sets its log level, for tools and not for web pages", async () => {
    const { adminPort } = await start();
    const logging = `http://127.0.0.1:${adminPort}/logging`;
    const set = async (query: string, headers = {}) => {
      const answer = await fetch(logging + query, { method: "POST", headers });
      return [answer.status, (await answer.text()).trim()];
    };
    expect(await set("?level=debug")).toEqual([200, "debug"]);
    expect(await set("?level=loud")).toEqual([400, expect.stringContaining("one of trace")]);
    expect(await set("?level=trace", { origin: "http://evil.example" })).toEqual([403, expect.anything()]);
    expect(await (await fetch(logging)).text()).toBe("debug\n");
    expect(await set("?reset")).toEqual([200, "silent"]);
  });
});
