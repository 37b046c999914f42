/** Callers that are no friends: strangers, members that want more than their share, broken signing requests. */
import { once } from "node:events";
import http2 from "node:http2";
import { status } from "@grpc/grpc-js";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { NAMESPACES, PODS, SECRETS, SERVICE_ACCOUNTS } from "#lib/kube/types.ts";
import { ADDRESS_TYPE, CREATE_CERTIFICATE_METHOD, DELTA_ADS_METHOD } from "#lib/xds/types.ts";
import { ANYWHERE } from "../../test/helpers/control-ports.ts";
import { DeltaClient, type DeltaClientOptions } from "../../test/helpers/delta-client.ts";
import { FakeKube } from "../../test/helpers/fake-kube.ts";
import { type Control, startControl } from "./app.ts";
import { controlConfig } from "./config.ts";

const PATIENCE_MS = 60_000;
const WEB = "spiffe://cluster.local/ns/shop/sa/web";

let kube: FakeKube;
let control: Control;
let clients: DeltaClient[];

beforeEach(async () => {
  clients = [];
  kube = await FakeKube.start();
  for (const name of ["istio-system", "shop"]) kube.put(NAMESPACES, { metadata: { name } });
  kube.put(SERVICE_ACCOUNTS, { metadata: { namespace: "shop", name: "web" } });
  kube.put(PODS, {
    metadata: { namespace: "shop", name: "web-1" },
    spec: { nodeName: "node-b", serviceAccountName: "web", containers: [] },
    status: { phase: "Running", podIP: "10.1.0.1" },
  });
  for (const node of ["a", "b"]) {
    kube.put(PODS, {
      metadata: { namespace: "istio-system", name: `weft-agent-${node}`, uid: `uid-${node}` },
      spec: { nodeName: `node-${node}`, serviceAccountName: "weft-agent", hostNetwork: true, containers: [] },
      status: { phase: "Running", podIP: "192.168.0.1" },
    });
    kube.tokens.set(`agent-${node}`, {
      authenticated: true,
      username: "system:serviceaccount:istio-system:weft-agent",
      audiences: ["istio-ca"],
      extra: {
        "authentication.kubernetes.io/pod-name": [`weft-agent-${node}`],
        "authentication.kubernetes.io/pod-uid": [`uid-${node}`],
      },
    });
  }
  control = await startControl(controlConfig(ANYWHERE), { client: kube.client(), log: pino({ level: "silent" }) });
});
afterEach(async () => {
  for (const client of clients) client.close();
  await control.stop();
  await kube.stop();
});

function roots(): string {
  const data = kube.read(SECRETS, "istio-system", "istio-ca-secret")?.data ?? {};
  return Buffer.from(data["root-cert.pem"] ?? "", "base64").toString();
}

function connect(token: string, options: Partial<DeltaClientOptions> = {}): DeltaClient {
  const client = new DeltaClient({
    port: control.grpcPort,
    roots: roots(),
    token,
    podName: "weft-agent-b",
    ...options,
  });
  clients.push(client);
  return client;
}

async function csr(algorithm: typeof P256 | typeof RSA_1024 = P256): Promise<string> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const signingAlgorithm = { ...algorithm, hash: "SHA-256" };
  return (await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm })).toString("pem");
}
const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;
const RSA_1024 = {
  name: "RSASSA-PKCS1-v1_5",
  modulusLength: 1024,
  publicExponent: Uint8Array.of(1, 0, 1),
  hash: "SHA-256",
};

const reviews = () => kube.requests.filter((request) => request.includes("tokenreviews")).length;
const refusedStream = async (token: string) => (await connect(token).open().subscribe(ADDRESS_TYPE).end()).code;

describe("a stranger", () => {
  it.each([DELTA_ADS_METHOD, CREATE_CERTIFICATE_METHOD])(
    "of %s is refused before its message is read",
    async (path) => {
      const session = http2.connect(`https://localhost:${control.grpcPort}`, {
        ca: roots(),
        servername: "istiod.istio-system.svc",
        // In megabytes: what we write waits here.
        maxSessionMemory: 64,
      });
      const call = session.request({
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
        authorization: "Bearer nobody",
      });
      const size = 24 * 1024 * 1024;
      const message = Buffer.alloc(size + 5);
      message.writeUInt32BE(size, 1);
      call.on("error", () => undefined);
      call.write(message);
      const [headers] = (await once(call, "response")) as [http2.IncomingHttpHeaders];
      expect(headers["grpc-status"]).toBe(String(status.UNAUTHENTICATED));
      // What the first window lets through, and nothing of the rest.
      expect(session.socket.bytesWritten).toBeLessThan(1024 * 1024);
      session.destroy();
    },
  );

  it("with token after token is refused unseen after a while; who is known from there passes", async () => {
    const known = connect("agent-a", { podName: "weft-agent-a" }).open().subscribe(ADDRESS_TYPE);
    await eventually("an answer", () => known.responses.length > 0, PATIENCE_MS);
    const codes = new Set<number>();
    for (let i = 0; !codes.has(status.RESOURCE_EXHAUSTED) && i < 2_000; i++)
      codes.add(await refusedStream(`guess-${i}`));
    expect([...codes]).toEqual([status.UNAUTHENTICATED, status.RESOURCE_EXHAUSTED]);
    const before = reviews();
    const again = connect("agent-a", { podName: "weft-agent-a" }).open().subscribe(ADDRESS_TYPE);
    await eventually("an answer", () => again.responses.length > 0, PATIENCE_MS);
    expect(reviews()).toBe(before);
  });
});

describe("a member", () => {
  it("has sixteen streams, and another when one of them ends", async () => {
    const open = () => connect("agent-b").open().subscribe(ADDRESS_TYPE);
    const all = Array.from({ length: 16 }, open);
    await eventually("answers", () => all.every(({ responses }) => responses.length > 0), PATIENCE_MS);
    expect((await open().end()).code).toBe(status.RESOURCE_EXHAUSTED);
    // Of another pod: its own.
    const other = connect("agent-a", { podName: "weft-agent-a" }).open().subscribe(ADDRESS_TYPE);
    await eventually("an answer", () => other.responses.length > 0, PATIENCE_MS);
    all[0]?.close();
    await eventually(
      "a place",
      async () => {
        const next = open();
        await eventually(
          "an end or an answer",
          () => next.ended !== undefined || next.responses.length > 0,
          PATIENCE_MS,
        );
        return next.responses.length > 0;
      },
      PATIENCE_MS,
    );
  });

  it("gets no more certificates than a full node needs at once, and others get theirs", async () => {
    const request = await csr();
    const ask = (node: string) => connect(`agent-${node}`).createCertificate(request, WEB);
    const client = connect("agent-b");
    const outcomes = new Set<number>();
    for (let round = 0; round < 100 && !outcomes.has(status.RESOURCE_EXHAUSTED); round++) {
      const asked = Array.from({ length: 50 }, () =>
        client.createCertificate("nonsense", WEB).catch(({ code }: { code: number }) => outcomes.add(code)),
      );
      await Promise.all(asked);
    }
    expect([...outcomes]).toEqual([status.INVALID_ARGUMENT, status.RESOURCE_EXHAUSTED]);
    const agent = kube.tokens.get("agent-b");
    if (agent === undefined) throw new Error("no agent");
    kube.tokens.set("agent-c", { ...agent, extra: { ...agent.extra, "authentication.kubernetes.io/pod-uid": ["x"] } });
    // Another pod's budget is another one: refused for what it asks, not for how often.
    await expect(ask("c")).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
  });

  it("with the token of node A's agent gets no identity that runs on node B alone", async () => {
    await expect(connect("agent-a").createCertificate(await csr(), WEB)).rejects.toMatchObject({
      code: status.UNAUTHENTICATED,
      details: "request authenticate failure",
    });
    expect(await connect("agent-b").createCertificate(await csr(), WEB)).toHaveLength(2);
  });

  it("whose token is for something else, or has run out, is refused until it has another", async () => {
    const good = kube.tokens.get("agent-b");
    if (good === undefined) throw new Error("no agent");
    kube.tokens.set("for-the-api", { ...good, audiences: ["https://kubernetes.default.svc"] });
    kube.tokens.set("expired", { ...good, authenticated: false });
    expect(await refusedStream("for-the-api")).toBe(status.UNAUTHENTICATED);
    expect(await refusedStream("expired")).toBe(status.UNAUTHENTICATED);
    await expect(connect("expired").createCertificate(await csr(), WEB)).rejects.toMatchObject({
      code: status.UNAUTHENTICATED,
    });
    const next = connect("agent-b").open().subscribe(ADDRESS_TYPE);
    await eventually("an answer", () => next.responses.length > 0, PATIENCE_MS);
  });

  it("is told what is wrong with a signing request, and gets nothing for it", async () => {
    const good = await csr();
    const body = good.split("\n").slice(1, -1).join("");
    const pem = (bytes: Uint8Array) =>
      `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(bytes).toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
    const forged = Buffer.from(body, "base64");
    // The last byte is of the signature.
    forged.writeUInt8(forged.readUInt8(forged.length - 1) ^ 1, forged.length - 1);
    const nested = Buffer.concat(Array.from({ length: 3_000 }, () => Buffer.from([0x30, 0x80])));
    const hostile = [pem(forged), pem(nested), await csr(RSA_1024), good.replace("\nMI", "\nAA"), "x".repeat(20_000)];
    const client = connect("agent-b");
    for (const request of hostile) {
      await expect(client.createCertificate(request, WEB), request.slice(0, 200)).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
      });
    }
    expect(await client.createCertificate(good, WEB)).toHaveLength(2);
  });
});
