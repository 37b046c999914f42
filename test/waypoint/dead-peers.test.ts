/** Servers that are gone without a word: their packets no longer arrive, as when a node dies. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { sweepBeds } from "../helpers/netns.ts";
import { TestCa } from "../helpers/pki.ts";
import { WaypointProcess } from "../helpers/waypoint-process.ts";
import { program } from "./waypoint-bed.ts";

const TAG = "wdead";
const NETNS = `${TAG}-${process.pid}`;
const HERE = `${TAG}h${process.pid}`;
/** A /30 of its own in the range for measurements (RFC 2544). */
const SUBNET = (process.pid % 32_768) * 4;
const address = (n: number) => `198.${18 + (SUBNET >> 16)}.${(SUBNET >> 8) & 255}.${(SUBNET & 255) + n}`;
const SERVER = address(2);
/** Of all that prove themselves here. */
const IDENTITY = "spiffe://cluster.local/ns/default/sa/waypoint";
const HTTP1 = 8080;
const HTTP2 = 8081;

let folder: string;
let servers: ChildProcess[];
let waypoint: WaypointProcess;

const ip = (...args: readonly string[]) => execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
const nft = (rule: string) => ip("netns", "exec", NETNS, "nft", rule);

beforeAll(async () => {
  await sweepBeds(TAG);
  ip("netns", "add", NETNS);
  ip("link", "add", HERE, "type", "veth", "peer", "name", "eth0", "netns", NETNS);
  ip("addr", "add", `${address(1)}/30`, "dev", HERE);
  ip("link", "set", HERE, "up");
  ip("-n", NETNS, "addr", "add", `${SERVER}/30`, "dev", "eth0");
  for (const device of ["lo", "eth0"]) ip("-n", NETNS, "link", "set", device, "up");

  folder = mkdtempSync(join(tmpdir(), "weft-dead-"));
  const ca = await TestCa.create();
  const svid = await ca.issue(IDENTITY);
  writeFileSync(join(folder, "cert-chain.pem"), svid.chain);
  writeFileSync(join(folder, "key.pem"), svid.key);
  writeFileSync(join(folder, "root-cert.pem"), ca.root);
  servers = [start("two-protocols", String(HTTP1), String(HTTP2)), start("agent", folder)];

  const path = join(folder, "program.json");
  writeFileSync(path, JSON.stringify(programOf()));
  const files = { LOCAL_XDS_PATH: path, WEFT_IDENTITY_PATH: folder };
  waypoint = await WaypointProcess.start({ ...files, SERVICE_ACCOUNT: "waypoint", WEFT_LOOPS: "1" });
  await waypoint.ready();
});

afterAll(async () => {
  await waypoint?.stop("SIGKILL");
  for (const server of servers ?? []) server.kill("SIGKILL");
  ip("netns", "del", NETNS);
  rmSync(folder, { recursive: true, force: true });
});

function start(name: string, ...args: readonly string[]): ChildProcess {
  return spawn("ip", ["netns", "exec", NETNS, process.execPath, program(name), ...args], { stdio: "inherit" });
}

function programOf(): object {
  const keepalive = { timeS: 1, intervalS: 1, probes: 2 };
  const clusters = [
    { name: "http1", httpProtocol: "HTTP1" },
    { name: "http2", httpProtocol: "HTTP2" },
    { name: "watched", httpProtocol: "HTTP2", pool: { keepalive } },
    { name: "tunnel", httpProtocol: "HTTP1" },
  ];
  const endpoint = (name: string) => ({
    ip: SERVER,
    port: name === "http1" || name === "tunnel" ? HTTP1 : HTTP2,
    ...(name === "tunnel" ? { tunnel: true, identities: [IDENTITY] } : {}),
  });
  const hosts = clusters.map(({ name }) => ({
    domains: [name],
    routes: [{ forward: { clusters: [{ cluster: name }] } }],
  }));
  return {
    settings: { trustDomain: "cluster.local" },
    listeners: [{ name: "web", address: "127.0.0.1", chain: { protocol: "HTTP", http: { hosts } } }],
    clusters,
    endpoints: clusters.map(({ name }) => ({ cluster: name, endpoints: [endpoint(name)] })),
  };
}

async function ask(cluster: string, path = "/"): Promise<string> {
  const port = await waypoint.port("web");
  return new Promise((resolve, reject) => {
    const asked = request({ port, path, headers: { host: cluster } }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      response.on("end", () => resolve(`${response.statusCode} ${body}`));
    });
    asked.on("error", reject).end();
  });
}

const CUT = "503 upstream connect error or disconnect/reset before headers. reset reason: connection termination";

it("does not keep connections to servers that no longer answer", async () => {
  const pooled = ["http1", "http2", "watched", "tunnel"];
  for (const each of pooled) await eventually(`200 of ${each}`, async () => (await ask(each)) === "200 ok", 30_000);
  // One that the server has, and will never answer.
  const waiting = ask("watched", "/hang");
  await ask("watched");
  nft("add table inet dead; add chain inet dead input { type filter hook input priority 0; policy drop; }");

  // On the connections of before: nobody has told that they are dead, and no route has a timeout.
  const answers = await Promise.all([ask("http1"), ask("http2"), ask("tunnel"), waiting]);
  expect(answers).toEqual([CUT, CUT, CUT, CUT]);

  nft("delete table inet dead");
  for (const each of pooled) await eventually(`200 of ${each}`, async () => (await ask(each)) === "200 ok", 30_000);
}, 100_000);
