/** The addon for arm64 moves bytes: a waypoint by qemu, with clients of this machine. `make test-arm64` makes what it starts. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HboneClient } from "../helpers/hbone-client.ts";
import { TestCa } from "../helpers/pki.ts";
import { WaypointProcess } from "../helpers/waypoint-process.ts";

const run = promisify(execFile);
const APP = resolve(import.meta.dirname, "../../build/arm64/app");
const CLIENT = "spiffe://cluster.local/ns/default/sa/client";
const BODY = "0123456789abcdef".repeat(64 * 1024);

let ca: TestCa;
let folder: string;
let app: Server;
let waypoint: WaypointProcess;

beforeAll(async () => {
  ca = await TestCa.create();
  folder = mkdtempSync(join(tmpdir(), "weft-arm64-"));
  const { chain: certificates, key } = await ca.issue("spiffe://cluster.local/ns/default/sa/waypoint");
  writeFileSync(join(folder, "cert-chain.pem"), certificates);
  writeFileSync(join(folder, "key.pem"), key);
  writeFileSync(join(folder, "root-cert.pem"), ca.root);
  app = createServer((request, response) => response.end(request.url === "/large" ? BODY : `for ${request.url}\n`));
  await new Promise<void>((listening) => app.listen(0, "127.0.0.1", listening));
  const { port } = app.address() as AddressInfo;
  const routes = [{ forward: { clusters: [{ cluster: "app" }] } }];
  const chain = { protocol: "HTTP", http: { hosts: [{ domains: ["*"], routes }] } };
  const hostname = "web.default.svc.cluster.local";
  const program = {
    listeners: [{ name: "plain", address: "127.0.0.1", port: 0, chain }],
    destinations: [
      {
        name: `default/${hostname}`,
        namespace: "default",
        hostname,
        addresses: ["10.96.0.1"],
        ports: [{ port: 80, chain }],
      },
    ],
    clusters: [{ name: "app", serviceHostname: hostname, serviceNamespace: "default" }],
    endpoints: [{ cluster: "app", endpoints: [{ ip: "127.0.0.1", port }] }],
  };
  writeFileSync(join(folder, "program.json"), JSON.stringify(program));
  const env = { LOCAL_XDS_PATH: join(folder, "program.json"), WEFT_IDENTITY_PATH: folder };
  waypoint = await WaypointProcess.start(
    { POD_NAME: "wp", SERVICE_ACCOUNT: "waypoint", ...env },
    join(APP, "waypoint/bin/weft-waypoint"),
  );
  await waypoint.ready();
});
afterAll(async () => {
  await waypoint?.stop("SIGKILL");
  app?.close();
  rmSync(folder, { recursive: true });
});

describe("a waypoint on arm64", () => {
  test("serves HTTP/1.1 and HTTP/2", async () => {
    const url = `http://127.0.0.1:${await waypoint.port("plain")}`;
    expect((await run("curl", ["-sS", `${url}/a`])).stdout).toBe("for /a\n");
    const h2 = await run("curl", ["-sS", "--http2-prior-knowledge", `${url}/large`], { maxBuffer: 2 * BODY.length });
    expect(h2.stdout).toBe(BODY);
  });

  test("serves tunnels over mutual TLS, and nobody whom it does not know", async () => {
    const port = await waypoint.port("hbone");
    const client = await HboneClient.connect(port, await ca.issue(CLIENT), ca.root);
    const stream = await client.open("10.96.0.1:80");
    if (typeof stream === "number") throw new Error(`refused: ${stream}`);
    let text = "";
    stream.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
    });
    stream.end("GET /large HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    await new Promise((ended) => stream.on("close", ended));
    expect(text.startsWith("HTTP/1.1 200 OK\r\n")).toBe(true);
    expect(text.endsWith(BODY)).toBe(true);
    expect(await client.open("10.96.0.2:80")).toBe(503);
    client.close();
  });
});

test.each(["agent/bin/weft-agent", "cli/bin/weft"])("%s starts", async (bin) => {
  expect((await run(join(APP, bin), ["--help"])).stdout).toMatch(/weft/);
});
