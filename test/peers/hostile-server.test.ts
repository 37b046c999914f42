/**
 * Servers that our outbound tunnels may meet: a peer's agent that was taken over. The application that connects gets a
 * refused or reset connection, never bytes that nobody accepted; the agent counts it and other destinations go on.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { Reason } from "#lib/reasons.ts";
import { FLAG, FRAME, type Frame, frame, headers, PREFACE, RawH2, settings, uint32 } from "../helpers/h2-raw.ts";
import { appPath, identityOf, MeshBed, type MeshPod } from "../helpers/mesh-bed.ts";
import { finished, type RunResult } from "../helpers/pod-bed.ts";
import { GoodClient } from "./good-client.ts";

const ECHO_PORT = 8080;
/** Whose agent was taken over. */
const IDENTITY = identityOf("hostile");
const SETTING_MAX_STREAMS = 3;
const SETTING_INITIAL_WINDOW = 4;
const ENHANCE_YOUR_CALM = 11;
const MIB = 1024 * 1024;
const GREETING = frame(FRAME.SETTINGS, 0, 0);
const PING = frame(FRAME.PING, 0, 0, Buffer.alloc(8));

let mesh: MeshBed;
let client: MeshPod;
let good: GoodClient;
let server: Server;
/** What the server does with each tunnel, and the tunnels that it has seen. */
let behave: (tunnel: RawH2) => void = () => {};
let tunnels: RawH2[] = [];
/** A new port for each test: a new pool in the engine. */
let port = 20_000;

beforeAll(async () => {
  mesh = await MeshBed.create("wsrv", 25);
  client = await mesh.addPod("client");
  const echo = await mesh.addPod("echo");
  await mesh.startApp(echo, "echo", ECHO_PORT);
  const { chain, key } = await mesh.ca.issue(IDENTITY);
  server = createServer({ cert: chain, key, ca: mesh.ca.root, requestCert: true, ALPNProtocols: ["h2"] });
  server.on("secureConnection", (socket: TLSSocket) => {
    const tunnel = new RawH2(socket, PREFACE.length);
    tunnels.push(tunnel);
    behave(tunnel);
  });
  server.listen(0, mesh.bed.hostIp);
  await once(server, "listening");
  good = new GoodClient(mesh.bed, client, echo.ip, ECHO_PORT);
});

afterEach(() => {
  for (const tunnel of tunnels) tunnel.destroy();
  tunnels = [];
});

afterAll(async () => {
  good?.stop();
  server?.close();
  await mesh?.dispose();
});

/** An application's connection whose tunnel leads to the server; it sends `bytes` and prints what comes back. */
async function connectThrough(behaviour: (tunnel: RawH2) => void, bytes = "hello"): Promise<RunResult> {
  behave = behaviour;
  port++;
  const destination = { ip: "192.0.2.7", port };
  const dial = { ip: mesh.bed.hostIp, port: (server.address() as AddressInfo).port };
  const tunnel = { authority: `192.0.2.7:${port}`, identities: [IDENTITY, `${IDENTITY}-${port}`] };
  const route = { kind: "endpoints" as const, endpoints: [{ key: 9, weight: 1, dial, tunnel }] };
  await mesh.engine.apply([{ op: "set-route", pod: client.id, destination, route }]);
  const child = mesh.bed.spawn(client, process.execPath, [appPath("talker"), "192.0.2.7", String(port)], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  // An application that was refused reads no more of it.
  child.stdin?.on("error", () => {});
  child.stdin?.end(bytes);
  return finished(child);
}

/** The application got an error and not a byte; the engine counted one of `reasons`; others were not touched. */
async function refused(behaviour: (tunnel: RawH2) => void, ...reasons: readonly Reason[]): Promise<void> {
  const count = async (): Promise<number> => {
    const counters = (await mesh.engine.stats()).reasons;
    return reasons.reduce((sum, reason) => sum + (counters[reason] ?? 0), 0);
  };
  const before = await count();
  const failures = good.failures.length;
  const { stdout } = await connectThrough(behaviour);
  expect(stdout).toMatch(/^0 bytes, error E/);
  expect(await count()).toBeGreaterThan(before);
  await good.answersMore();
  expect(good.failures.slice(failures)).toEqual([]);
}

/** Runs `act` with the first CONNECT of the tunnel. */
function onConnect(tunnel: RawH2, act: (stream: number) => void): void {
  tunnel.onFrame = ({ type, stream }: Frame) => {
    if (type === FRAME.HEADERS) act(stream);
  };
}

const answer = (stream: number, status: string, flags = 0): Buffer =>
  headers(stream, [[":status", status]], FLAG.END_HEADERS | flags);

test.each(["400", "401", "403", "404", "500", "503", "204", "301"])("status %s is a refusal", (status) =>
  refused((tunnel) => {
    tunnel.send(GREETING);
    onConnect(tunnel, (stream) => tunnel.send(answer(stream, status, FLAG.END_STREAM)));
  }, "tunnel_refused"),
);

test("a refusal with a body: the application sees none of it", () =>
  refused((tunnel) => {
    tunnel.send(GREETING);
    onConnect(tunnel, (stream) =>
      tunnel.send(answer(stream, "503"), frame(FRAME.DATA, FLAG.END_STREAM, stream, Buffer.from("secret"))),
    );
  }, "tunnel_refused"));

test("data before the answer is never delivered", () =>
  refused(
    (tunnel) => {
      tunnel.send(GREETING);
      onConnect(tunnel, (stream) =>
        tunnel.send(frame(FRAME.DATA, 0, stream, Buffer.from("early")), answer(stream, "200")),
      );
    },
    "protocol_error",
    "tunnel_refused",
  ));

test("an answer without a status", () =>
  refused(
    (tunnel) => {
      tunnel.send(GREETING);
      onConnect(tunnel, (stream) => tunnel.send(headers(stream, [["server", "x"]])));
    },
    "protocol_error",
    "tunnel_refused",
  ));

test("a GOAWAY for every tunnel: a bounded number of attempts", async () => {
  await refused(
    (tunnel) => {
      tunnel.send(GREETING, frame(FRAME.GOAWAY, 0, 0, Buffer.alloc(8)));
    },
    "tunnel_refused",
    "h2_failure",
    "peer_reset",
    "upstream_timeout",
    "no_healthy_upstream",
  );
  expect(tunnels.length).toBeLessThanOrEqual(4);
});

test("a server that hangs up after TLS", () =>
  refused((tunnel) => tunnel.destroy(), "h2_failure", "peer_reset", "tls_failure"));

test("a server that allows no stream at all", () =>
  refused(
    (tunnel) => tunnel.send(settings([SETTING_MAX_STREAMS, 0])),
    "upstream_timeout",
    "h2_failure",
    "limit_exceeded",
  ));

test("a server that never answers", () => refused((tunnel) => tunnel.send(GREETING), "upstream_timeout"));

test("a server that speaks HTTP/1.1", () =>
  refused((tunnel) => tunnel.send(Buffer.from("HTTP/1.1 200 OK\r\n\r\n")), "h2_failure", "protocol_error"));

test.each([
  ["PING", PING],
  ["SETTINGS", GREETING],
  ["103 answers", answer(1, "103")],
  ["unknown frames", frame(0xfa, 0, 0, Buffer.alloc(16))],
])("a flood of %s ends the tunnel", async (_name, one) => {
  await refused((tunnel) => {
    tunnel.send(GREETING);
    onConnect(tunnel, () => {
      for (let i = 0; i < 20; i++) tunnel.send(...Array.from({ length: 500 }, () => one));
    });
  }, "limit_exceeded");
  const [tunnel] = tunnels;
  await tunnel?.untilClosed();
  expect([undefined, ENHANCE_YOUR_CALM]).toContain(tunnel?.errorCode(0));
});

test("a server that sends more than its window ends only itself", () =>
  refused(
    (tunnel) => {
      tunnel.send(GREETING);
      onConnect(tunnel, (stream) => {
        tunnel.send(answer(stream, "204", FLAG.END_STREAM));
        for (let i = 0; i < 2000; i++) tunnel.send(frame(FRAME.DATA, 0, stream, Buffer.alloc(16_384)));
      });
    },
    "tunnel_refused",
    "protocol_error",
  ));

test("a window that never opens stalls its own connection, and the agent holds next to nothing of it", async () => {
  const before = (await mesh.engine.stats()).bufferedBytes;
  const result = connectThrough(
    (tunnel) => {
      tunnel.send(settings([SETTING_INITIAL_WINDOW, 0]));
      onConnect(tunnel, (stream) => tunnel.send(answer(stream, "200")));
    },
    "x".repeat(8 * MIB),
  );
  await eventually("the stalled connection", async () =>
    (await mesh.engine.connections()).some((c) => c.destination.port === port && c.established),
  );
  await good.answersMore();
  expect((await mesh.engine.stats()).bufferedBytes - before).toBeLessThan(MIB);
  for (const tunnel of tunnels) tunnel.send(frame(FRAME.RST_STREAM, 0, 1, uint32(ENHANCE_YOUR_CALM)));
  expect((await result).stdout).toMatch(/^0 bytes, error E/);
});
