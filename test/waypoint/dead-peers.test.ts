/** Servers that are gone without a word: their packets no longer arrive, as when a node dies. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { sweepBeds } from "../helpers/netns.ts";
import { WaypointProcess } from "../helpers/waypoint-process.ts";
import { program } from "./waypoint-bed.ts";

const TAG = "wdead";
const NETNS = `${TAG}-${process.pid}`;
const HERE = `${TAG}h${process.pid}`;
/** A /30 of its own in the range for measurements (RFC 2544). */
const SUBNET = (process.pid % 32_768) * 4;
const address = (n: number) => `198.${18 + (SUBNET >> 16)}.${(SUBNET >> 8) & 255}.${(SUBNET & 255) + n}`;
const SERVER = address(2);
const HTTP1 = 8080;
const HTTP2 = 8081;

let folder: string;
let server: ChildProcess;
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
  ip("-n", NETNS, "link", "set", "eth0", "up");
  const argv = [process.execPath, program("two-protocols"), String(HTTP1), String(HTTP2)];
  server = spawn("ip", ["netns", "exec", NETNS, ...argv], { stdio: "inherit" });

  folder = mkdtempSync(join(tmpdir(), "weft-dead-"));
  const path = join(folder, "program.json");
  writeFileSync(path, JSON.stringify(programOf()));
  waypoint = await WaypointProcess.start({ LOCAL_XDS_PATH: path, WEFT_LOOPS: "1" });
  await waypoint.ready();
});

afterAll(async () => {
  await waypoint?.stop("SIGKILL");
  server?.kill("SIGKILL");
  ip("netns", "del", NETNS);
  rmSync(folder, { recursive: true, force: true });
});

function programOf(): object {
  const keepalive = { timeS: 1, intervalS: 1, probes: 2 };
  const clusters = [
    { name: "http1", httpProtocol: "HTTP1" },
    { name: "http2", httpProtocol: "HTTP2" },
    { name: "watched", httpProtocol: "HTTP2", pool: { keepalive } },
  ];
  const port = (name: string) => (name === "http1" ? HTTP1 : HTTP2);
  const hosts = clusters.map(({ name }) => ({
    domains: [name],
    routes: [{ forward: { clusters: [{ cluster: name }] } }],
  }));
  return {
    settings: {},
    listeners: [{ name: "web", address: "127.0.0.1", chain: { protocol: "HTTP", http: { hosts } } }],
    clusters,
    endpoints: clusters.map(({ name }) => ({ cluster: name, endpoints: [{ ip: SERVER, port: port(name) }] })),
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
  const pooled = ["http1", "http2", "watched"];
  for (const each of pooled) await eventually(`200 of ${each}`, async () => (await ask(each)) === "200 ok", 30_000);
  // One that the server has, and will never answer.
  const waiting = ask("watched", "/hang");
  await ask("watched");
  nft("add table inet dead; add chain inet dead input { type filter hook input priority 0; policy drop; }");

  // On the connections of before: nobody has told that they are dead, and no route has a timeout.
  const answers = await Promise.all([ask("http1"), ask("http2"), waiting]);
  expect(answers).toEqual([CUT, CUT, CUT]);

  nft("delete table inet dead");
  for (const each of pooled) await eventually(`200 of ${each}`, async () => (await ask(each)) === "200 ok", 30_000);
}, 100_000);
