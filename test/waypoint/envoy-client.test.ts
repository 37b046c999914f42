/** Envoy's tunnels into a waypoint: who is at their other end is who the waypoint decides about and tells the server of. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { hboneClient } from "../helpers/envoy.ts";
import { EnvoyProcess } from "../helpers/envoy-process.ts";
import { TestCa } from "../helpers/pki.ts";
import { WaypointProcess } from "../helpers/waypoint-process.ts";

const run = promisify(execFile);
const identityOf = (account: string) => `spiffe://cluster.local/ns/default/sa/${account}`;
const WAYPOINT = identityOf("waypoint");
const VIP = "10.96.0.1:80";

let ca: TestCa;
let folder: string;
let app: Server;
let waypoint: WaypointProcess;
const envoys: EnvoyProcess[] = [];

beforeAll(async () => {
  ca = await TestCa.create();
  folder = mkdtempSync(join(tmpdir(), "weft-envoy-client-"));
  const { chain, key } = await ca.issue(WAYPOINT);
  writeFileSync(join(folder, "cert-chain.pem"), chain);
  writeFileSync(join(folder, "key.pem"), key);
  writeFileSync(join(folder, "root-cert.pem"), ca.root);
  app = createServer((request, response) => {
    let bytes = 0;
    request.on("data", (piece: Buffer) => {
      bytes += piece.length;
    });
    request.on("end", () => {
      response.end(`${request.method} ${bytes} for ${request.headers["x-forwarded-client-cert"]}\n`);
    });
  });
  // None is closed at the moment at which it is used again.
  app.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve));
  const path = join(folder, "program.json");
  writeFileSync(path, JSON.stringify(program((app.address() as AddressInfo).port)));
  waypoint = await WaypointProcess.start({
    POD_NAME: "wp",
    SERVICE_ACCOUNT: "waypoint",
    LOCAL_XDS_PATH: path,
    WEFT_IDENTITY_PATH: folder,
  });
  await waypoint.ready();
});

afterAll(async () => {
  await Promise.all([...envoys.map((each) => each.stop()), waypoint?.stop("SIGKILL")]);
  app?.closeAllConnections();
  app?.close();
  rmSync(folder, { recursive: true, force: true });
});

function program(appPort: number): object {
  const principals = [{ exact: "cluster.local/ns/default/sa/mallory" }];
  const http = { hosts: [{ domains: ["*"], routes: [{ forward: { clusters: [{ cluster: "app" }] } }] }] };
  const name = "default/web.default.svc.cluster.local";
  const facts = { name, namespace: "default", hostname: "web.default.svc.cluster.local", addresses: ["10.96.0.1"] };
  return {
    settings: { trustDomain: "cluster.local", xfccFromPeer: true, telemetry: "t" },
    destinations: [
      { ...facts, ports: [{ port: 80, chain: { protocol: "SNIFF", http, policies: ["default/no-mallory"] } }] },
    ],
    policies: [
      { name: "default/no-mallory", namespace: "default", action: "DENY", rules: [{ from: [{ principals }] }] },
    ],
    clusters: [{ name: "app", serviceHostname: facts.hostname, serviceNamespace: "default" }],
    endpoints: [{ cluster: "app", endpoints: [{ ip: "127.0.0.1", port: appPort }] }],
    telemetry: [{ name: "t" }],
  };
}

/** Where a client of this account may send plain TCP to. */
async function startEnvoy(account: string, peerPrefix = WAYPOINT): Promise<string> {
  const tls = { svid: await ca.issue(identityOf(account)), root: ca.root, peerPrefix };
  const agentPort = await waypoint.port("hbone");
  const config = hboneClient({ port: 0, authority: VIP, agentIp: "127.0.0.1", agentPort, tls });
  const envoy = await EnvoyProcess.start(config);
  envoys.push(envoy);
  return `http://127.0.0.1:${(await envoy.ports()).get("plain")}/`;
}

async function curl(...args: readonly string[]): Promise<string> {
  return (await run("curl", ["-sS", "-m", "20", "-w", "%{http_code} over %{http_version}", ...args])).stdout;
}

it("takes Envoy's tunnels and knows by whose certificate they come", async () => {
  const url = await startEnvoy("productpage");
  const known = `for URI=${identityOf("productpage")}\n`;
  expect(await curl(url)).toBe(`GET 0 ${known}200 over 1.1`);
  expect(await curl("--http2-prior-knowledge", url)).toBe(`GET 0 ${known}200 over 2`);
  const body = join(folder, "body");
  writeFileSync(body, Buffer.alloc(3_000_000, 1));
  expect(await curl("--data-binary", `@${body}`, "-H", "expect:", url)).toBe(`POST 3000000 ${known}200 over 1.1`);
  const all = await Promise.all(Array.from({ length: 120 }, () => curl(url)));
  expect(new Set(all)).toEqual(new Set([`GET 0 ${known}200 over 1.1`]));
  const { text } = await waypoint.get("metrics", "/stats/prometheus");
  expect(text).toMatch(
    /istio_requests_total\{[^}]*source_principal="spiffe:\/\/cluster\.local\/ns\/default\/sa\/productpage"/,
  );
});

it("refuses by policy whom it knows so, whatever the request says", async () => {
  const url = await startEnvoy("mallory");
  const forged = ["-H", `x-forwarded-client-cert: URI=${identityOf("productpage")}`];
  expect(await curl(url)).toBe("RBAC: access denied403 over 1.1");
  expect(await curl("--http2-prior-knowledge", ...forged, url)).toBe("RBAC: access denied403 over 2");
});

it("is not taken for another by an Envoy that expects one", async () => {
  const url = await startEnvoy("productpage", identityOf("somebody-else"));
  await eventually(
    "a refusal",
    () =>
      curl(url).then(
        () => false,
        () => true,
      ),
    20_000,
  );
});
