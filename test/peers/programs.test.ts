/** Programs that know nothing of the mesh, pod to pod through it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { appPath, MeshBed, type MeshPod } from "../helpers/mesh-bed.ts";

const ECHO_PORT = 7000;
const HTTP_PORT = 8080;
const HTTP2_PORT = 8081;
const WEBSOCKET_PORT = 8082;
const GRPC_PORT = 8083;
const SECOND_IPERF_PORT = 5202;
const IPERF_PORT = 5201;
const POSTGRES_PORT = 5432;

let mesh: MeshBed;
let client: MeshPod;
let server: MeshPod;

beforeAll(async () => {
  mesh = await MeshBed.create("wprg", 23);
  client = await mesh.addPod("client");
  server = await mesh.addPod("server");
  await mesh.startApp(server, "http", HTTP_PORT, HTTP2_PORT);
});

afterAll(async () => {
  await mesh?.dispose();
});

async function run(command: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await mesh.bed.run(client, command, args);
  expect(code, `${command}: ${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** All connections to this port went through a tunnel that both agents' ends know by identity. */
async function onlyTunnelled(port: number): Promise<void> {
  await eventually("records of both ends", () => {
    const paths = mesh.engine.closed().filter((r) => r.destination.port === port);
    return paths.some((r) => r.path === "inbound-hbone") && paths.some((r) => r.path === "outbound");
  });
  for (const record of mesh.engine.closed()) {
    if (record.destination.port !== port) continue;
    expect(record.path).not.toBe("inbound-plaintext");
    expect(record.peerIdentity).toBe(record.path === "outbound" ? server.identity : client.identity);
  }
}

test.each(["ip", "ip6"] as const)("an application sees its client's address (%s)", async (family) => {
  const host = family === "ip" ? server.ip : `[${server.ip6}]`;
  const seen = await run("curl", "-sS", "--max-time", "10", `http://${host}:${HTTP_PORT}/`);
  expect(seen.trim().replace("::ffff:", "")).toBe(client[family]);
});

test("a refused port is a refused connection", async () => {
  const { code, stderr } = await mesh.bed.run(client, "curl", ["-sS", "--max-time", "10", `http://${server.ip}:81/`]);
  expect(code, stderr).not.toBe(0);
  expect(code, "a timeout is not a refusal").not.toBe(28);
});

describe("iperf3", () => {
  beforeAll(async () => {
    for (const port of [IPERF_PORT, SECOND_IPERF_PORT]) {
      mesh.bed.spawn(server, "iperf3", ["-s", "-p", String(port)], { stdio: "ignore" });
      await mesh.bed.listening(server, port);
    }
  });

  async function bulk(flags: readonly string[], port = IPERF_PORT): Promise<void> {
    const host = flags.includes("-6") ? server.ip6 : server.ip;
    const json = await run("iperf3", "-c", host, "-p", String(port), "-t", "2", "--json", ...flags);
    const { end } = JSON.parse(json) as { end: { sum_received: { bits_per_second: number } } };
    // Nothing to be proud of: fails when the tunnel stalls.
    expect(end.sum_received.bits_per_second).toBeGreaterThan(100e6);
  }

  test.each([
    ["up", []],
    ["down", ["-R"]],
    ["four streams", ["-P", "4"]],
    ["over IPv6", ["-6"]],
  ])("moves bulk data %s", (_name, flags) => bulk(flags));

  // Two programs, because --bidir takes the first connection that its server accepts for the one that it opened first:
  // through a mesh, connections that are opened at the same time may arrive in another order.
  test("moves bulk data both ways at once", async () => {
    await Promise.all([bulk([]), bulk(["-R"], SECOND_IPERF_PORT)]);
  });

  test("went through the tunnel only", () => onlyTunnelled(IPERF_PORT));
});

describe("HTTP", () => {
  test("wrk: keep-alive without a single error", async () => {
    const out = await run("wrk", "-t1", "-c16", "-d2s", `http://${server.ip}:${HTTP_PORT}/`);
    expect(out).not.toMatch(/Socket errors|Non-2xx/);
    expect(Number(/(\d+) requests in/.exec(out)?.[1])).toBeGreaterThan(500);
  });

  test("h2load: 20 connections of 100 streams, all succeed", async () => {
    const url = `http://${server.ip}:${HTTP2_PORT}/`;
    const out = await run("h2load", "-n", "5000", "-c", "20", "-m", "100", url);
    expect(out).toMatch(/5000 succeeded, 0 failed, 0 errored, 0 timeout/);
  });

  test("went through the tunnel only", async () => {
    await onlyTunnelled(HTTP_PORT);
    await onlyTunnelled(HTTP2_PORT);
  });
});

test("TCP: 200 connections at once, half-closed by the client", async () => {
  await mesh.startApp(server, "echo", ECHO_PORT);
  const args = [server.ip, ECHO_PORT, 50_000, 200].map(String);
  expect(await run(process.execPath, appPath("exchange"), ...args)).toBe("200/200\n");
  await onlyTunnelled(ECHO_PORT);
});

test("WebSocket: messages from empty to a megabyte come back equal", async () => {
  await mesh.startApp(server, "websocket", WEBSOCKET_PORT);
  const out = await run(process.execPath, appPath("websocket-client"), `${server.ip}:${WEBSOCKET_PORT}`);
  expect(out).toBe("7/7\n");
  await onlyTunnelled(WEBSOCKET_PORT);
});

test("gRPC: ping-pong over one bidirectional stream", async () => {
  await mesh.startApp(server, "grpc", GRPC_PORT);
  const out = await run(process.execPath, appPath("grpc-client"), `${server.ip}:${GRPC_PORT}`, "500");
  expect(out).toBe("500/500\n");
  await onlyTunnelled(GRPC_PORT);
});

describe("PostgreSQL", () => {
  let dir: string;

  beforeAll(async () => {
    dir = mkdtempSync(`${tmpdir()}/wprg-pg-`);
    execFileSync("chown", ["postgres", dir]);
    const bin = `${execFileSync("pg_config", ["--bindir"], { encoding: "utf8" }).trim()}/`;
    const asPostgres = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
    const init = ["--no-sync", "--auth=trust", "--username=weft", `--pgdata=${dir}/data`];
    execFileSync("setpriv", [...asPostgres, `${bin}initdb`, ...init], { cwd: dir });
    const settings = ["listen_addresses=*", `unix_socket_directories=${dir}`, "fsync=off"].flatMap((s) => ["-c", s]);
    const hba = `${dir}/data/pg_hba.conf`;
    execFileSync("/bin/sh", ["-c", `printf 'host all all all trust\\n' >>"$0"`, hba]);
    const args = [...asPostgres, `${bin}postgres`, "-D", `${dir}/data`, "-p", String(POSTGRES_PORT), ...settings];
    mesh.bed.spawn(server, "setpriv", args, { cwd: dir, stdio: "ignore" });
    await mesh.bed.listening(server, POSTGRES_PORT);
  });

  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const target = (): string[] => ["-h", server.ip, "-p", String(POSTGRES_PORT), "-U", "weft"];

  test("psql: tables, a large result, and the client's address as the server sees it", async () => {
    const sql = `create table t as select i, repeat('x', 200) as filler from generate_series(1, 50000) i;
      select count(*), sum(i) from t; select host(inet_client_addr()); copy t to stdout;`;
    const out = await run("psql", ...target(), "-d", "postgres", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql);
    const lines = out.trim().split("\n");
    expect(lines).toContain("50000|1250025000");
    expect(lines).toContain(client.ip);
    expect(lines.filter((line) => line.endsWith("x"))).toHaveLength(50_000);
  });

  test("pgbench: transactions over four connections", async () => {
    await run("pgbench", ...target(), "-i", "-q", "postgres");
    const out = await run("pgbench", ...target(), "-c", "4", "-T", "2", "postgres");
    expect(out).toMatch(/number of failed transactions: 0 /);
  });

  test("went through the tunnel only", () => onlyTunnelled(POSTGRES_PORT));
});
