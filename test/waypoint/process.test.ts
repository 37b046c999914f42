/** The waypoint process as it is deployed: program from a file or over xDS, tunnels, admin pages, drain. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { fromJson, toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { L7_TYPE_PREFIX, type L7TypeUrl } from "#lib/xds/types.ts";
import { ClusterSchema, EndpointsSchema, ListenerSchema } from "#proto/l7_pb.ts";
import { FakeControl } from "../helpers/fake-control.ts";
import { HboneClient } from "../helpers/hbone-client.ts";
import { TestCa } from "../helpers/pki.ts";
import { WaypointProcess } from "../helpers/waypoint-process.ts";

const run = promisify(execFile);
const WAYPOINT = "spiffe://cluster.local/ns/default/sa/waypoint";
const CLIENT = "spiffe://cluster.local/ns/default/sa/client";

let ca: TestCa;
let folder: string;
let app: Server;
let appPort: number;
/** Answers that wait for the test. */
const held: (() => void)[] = [];
const running: WaypointProcess[] = [];

beforeAll(async () => {
  ca = await TestCa.create();
  folder = mkdtempSync(join(tmpdir(), "weft-waypoint-"));
  const { chain, key } = await ca.issue(WAYPOINT);
  writeFileSync(join(folder, "cert-chain.pem"), chain);
  writeFileSync(join(folder, "key.pem"), key);
  writeFileSync(join(folder, "root-cert.pem"), ca.root);
  app = createServer((request, response) => {
    const answer = () => response.end(`${request.method} ${request.url} by ${request.headers.host}\n`);
    if (request.url === "/hold") held.push(answer);
    else answer();
  });
  await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve));
  appPort = (app.address() as AddressInfo).port;
});
afterAll(() => {
  app.closeAllConnections();
  app.close();
  rmSync(folder, { recursive: true });
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((waypoint) => waypoint.stop("SIGKILL")));
});

const chain = {
  protocol: "HTTP",
  http: { hosts: [{ domains: ["*"], routes: [{ forward: { clusters: [{ cluster: "app" }] } }] }] },
};
const cluster = () => ({ name: "app", serviceHostname: "web.default.svc.cluster.local", serviceNamespace: "default" });
const endpoints = () => ({ cluster: "app", endpoints: [{ ip: "127.0.0.1", port: appPort }] });
const listener = () => ({ name: "plain", address: "127.0.0.1", port: 0, chain });
const destination = {
  name: "default/web.default.svc.cluster.local",
  namespace: "default",
  hostname: "web.default.svc.cluster.local",
  addresses: ["10.96.0.1"],
  ports: [{ port: 80, chain: { ...chain, telemetry: "t" } }],
};

async function start(env: Readonly<Record<string, string>>): Promise<WaypointProcess> {
  const waypoint = await WaypointProcess.start({ POD_NAME: "wp", SERVICE_ACCOUNT: "waypoint", ...env });
  running.push(waypoint);
  return waypoint;
}

async function startLocal(env: Readonly<Record<string, string>> = {}): Promise<WaypointProcess> {
  const path = join(folder, "program.json");
  const program = {
    settings: { telemetry: "t" },
    listeners: [listener()],
    destinations: [destination],
    clusters: [cluster()],
    endpoints: [endpoints()],
    telemetry: [
      { name: "t", accessLogs: [{ provider: "envoy", text: "%REQ(:METHOD)% %RESPONSE_CODE% %RESPONSE_FLAGS%\n" }] },
    ],
  };
  writeFileSync(path, JSON.stringify(program));
  const waypoint = await start({ LOCAL_XDS_PATH: path, WEFT_IDENTITY_PATH: folder, ...env });
  await waypoint.ready();
  return waypoint;
}

/** One request over a stream that is one's own. */
async function ask(stream: Duplex, path: string): Promise<string> {
  let text = "";
  stream.setEncoding("utf8");
  stream.on("data", (piece: string) => {
    text += piece;
  });
  stream.write(`GET ${path} HTTP/1.1\r\nhost: web\r\n\r\n`);
  await eventually("an answer", () => text.endsWith("by web\n"));
  return text;
}

describe("with a program from a file", () => {
  it("serves HTTP/1.1 and HTTP/2, counts and logs", async () => {
    const waypoint = await startLocal();
    const url = `http://127.0.0.1:${await waypoint.port("plain")}/a?b`;
    expect((await run("curl", ["-sS", "-m", "5", "-H", "host: web", url])).stdout).toBe("GET /a?b by web\n");
    const h2 = await run("curl", ["-sS", "-m", "5", "--http2-prior-knowledge", "-w", "%{http_version}", url]);
    expect(h2.stdout).toMatch(/^GET \/a\?b by 127\.0\.0\.1:\d+\n2$/);
    expect((await run("nghttp", ["-t", "5", url])).stdout).toMatch(/^GET \/a\?b by /);
    await eventually("the access log", () => waypoint.text.filter((line) => line === "GET 200 -").length === 3);
    const { text } = await waypoint.get("metrics", "/stats/prometheus");
    expect(text).toMatch(/istio_requests_total\{[^}]*destination_service="web\.default\.svc\.cluster\.local"[^}]*\} 3/);
    expect((await waypoint.get("admin", "/clusters")).text).toContain(
      `app::127.0.0.1:${appPort}::health_flags::healthy`,
    );
  });

  it("takes tunnels of anybody in the trust domain to destinations that it has", async () => {
    const waypoint = await startLocal();
    const port = await waypoint.port("hbone");
    const client = await HboneClient.connect(port, await ca.issue(CLIENT), ca.root);
    const stream = await client.open("10.96.0.1:80");
    if (typeof stream === "number") throw new Error(`refused: ${stream}`);
    expect(await ask(stream, "/one")).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(await client.open("10.96.0.2:80")).toBe(503);
    expect(await client.open("10.96.0.1:15008")).toBe(503);
    client.close();
    const stranger = await TestCa.create("stranger");
    const refused = HboneClient.connect(port, await stranger.issue(CLIENT), ca.root).then((made) =>
      made.open("10.96.0.1:80"),
    );
    const timeout = new Promise((resolve) => setTimeout(resolve, 2000, "no answer").unref());
    expect(await Promise.race([refused.catch(() => "no answer"), timeout])).toBe("no answer");
  });

  it("lets what is open end when it is told to go", async () => {
    const waypoint = await startLocal({ TERMINATION_DRAIN_DURATION_SECONDS: "10" });
    const url = `http://127.0.0.1:${await waypoint.port("plain")}/hold`;
    const answer = run("curl", ["-sS", "-i", "-m", "10", url]);
    await eventually("the request", () => held.length > 0);
    const ended = waypoint.stop();
    await eventually("not ready", async () => (await waypoint.get("ready", "/healthz/ready")).status === 500);
    await expect(fetch(url)).rejects.toThrow();
    for (const letGo of held.splice(0)) letGo();
    expect((await answer).stdout).toMatch(/connection: close/i);
    expect(await ended).toBe(0);
  });

  it("is ended over HTTP too, and does not start with what it cannot use", async () => {
    const waypoint = await startLocal();
    expect((await waypoint.get("admin", "/drain", "POST")).status).toBe(200);
    expect(await waypoint.ended()).toBe(0);
    await expect(start({ LOCAL_XDS_PATH: "/no/such/file" })).rejects.toThrow("LOCAL_XDS_PATH");
  });
});

describe("with a control plane", () => {
  let control: FakeControl;
  afterEach(() => control.stop());

  const set = (type: string, name: string, bytes: Uint8Array) =>
    control.setRaw(`${L7_TYPE_PREFIX}${type}` as L7TypeUrl, name, bytes);

  it("is ready with certificate and program, follows changes, and says what it refuses", async () => {
    control = await FakeControl.start(ca);
    control.issueOptions = { uris: [WAYPOINT] };
    set("Cluster", "app", toBinary(ClusterSchema, fromJson(ClusterSchema, cluster())));
    set("Endpoints", "app", toBinary(EndpointsSchema, fromJson(EndpointsSchema, endpoints())));
    set("Listener", "plain", toBinary(ListenerSchema, fromJson(ListenerSchema, listener())));
    const root = { XDS_ROOT_CA: ca.root, CA_ROOT_CA: ca.root };
    const waypoint = await start({
      XDS_ADDRESS: control.address,
      CA_ADDRESS: control.address,
      AUTH_TOKEN: "t",
      ...root,
    });
    await waypoint.ready();
    expect(control.requests[0]?.node?.id).toBe("waypoint~127.0.0.1~wp.default~default.svc.cluster.local");
    expect(control.certificates).toEqual([""]);
    const port = await waypoint.port("plain");
    const curl = () => run("curl", ["-sS", "-m", "5", `http://127.0.0.1:${port}/`]).then(({ stdout }) => stdout);
    expect(await curl()).toMatch(/^GET \/ by/);

    const bad = {
      ...listener(),
      chain: { protocol: "HTTP", http: { hosts: [{ domains: ["*"], routes: [{ match: { path: { regex: "(" } } }] }] } },
    };
    set("Listener", "plain", toBinary(ListenerSchema, fromJson(ListenerSchema, bad)));
    const nack = await eventually("the refusal", () => control.requests.find((one) => one.errorDetail !== undefined));
    expect(nack.errorDetail?.message).toMatch(/^plain: /);
    expect(await curl()).toMatch(/^GET \/ by/);
    control.remove(`${L7_TYPE_PREFIX}Listener` as L7TypeUrl, "plain");
    await eventually("the closed port", () =>
      curl().then(
        () => false,
        () => true,
      ),
    );
  });
});

describe("the addon", () => {
  it("ends its loops with the thread of JavaScript that made them", async () => {
    const addon = fileURLToPath(new URL("../../build/Release/weft.node", import.meta.url));
    const worker = `
      const { parentPort } = require("node:worker_threads");
      const { createL7Engine } = require(${JSON.stringify(addon)});
      const engine = createL7Engine({
        loops: 2, hbone: { address: "127.0.0.1", port: 0 }, locality: {}, labels: {}, baggage: "", onRecords: () => {},
      });
      const call = () => engine.call({ cluster: "", path: "/", authority: "", headers: {}, grpc: false, timeoutMs: 1 }).then(call);
      void call();
      parentPort.postMessage(engine.listening().hbone.port);
      setInterval(() => engine.stats(), 1);`;
    const main = `
      const { Worker } = require("node:worker_threads");
      const { connect } = require("node:net");
      const { once } = require("node:events");
      (async () => {
        for (let i = 0; i < 5; i++) {
          const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
          const [port] = await once(worker, "message");
          await worker.terminate();
          const [error] = await once(connect(port, "127.0.0.1"), "error");
          if (error.code !== "ECONNREFUSED") throw error;
        }
        console.log("done");
      })();`;
    expect((await run(process.execPath, ["-e", main], { timeout: 30_000 })).stdout).toBe("done\n");
  });
});
