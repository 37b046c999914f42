/** What a waypoint does not look into: TLS by its server name, TCP by weight, WebSockets once they are open. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { TestCa } from "../helpers/pki.ts";
import { WaypointChain } from "./chain.ts";
import { Doorway } from "./doorway.ts";

/** Loaded machines are slow; nothing here waits for a time. */
const PATIENCE_MS = 20_000;
const WEBSOCKET_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

describe("a stream", () => {
  let chain: WaypointChain;
  let ca: TestCa;
  const servers: Server[] = [];
  const open = new Set<Socket>();

  /** A service and the one pod of it, which runs `server`. */
  async function serve(name: string, ports: readonly object[], server: Server): Promise<void> {
    const ip = chain.address(servers.length);
    servers.push(server);
    server.on("connection", (socket: Socket) => {
      open.add(socket);
      socket.on("close", () => open.delete(socket));
      socket.on("error", () => socket.destroy());
    });
    server.listen(chain.port, ip);
    await once(server, "listening");
    chain.service(name, ports);
    chain.putPod({ name, ip }, { app: name });
  }

  async function serveTls(name: string, dnsName: string): Promise<void> {
    const { chain: cert, key } = await ca.issue("", { uris: [], dnsNames: [dnsName] });
    const server = createTlsServer({ cert, key }, (socket) => {
      socket.on("error", () => socket.destroy());
      socket.write(`${name} `);
      socket.pipe(socket);
    });
    server.on("tlsClientError", () => undefined);
    await serve(name, [{ name: "tls", port: 443 }], server);
  }

  const serveTcp = (name: string): Promise<void> =>
    serve(
      name,
      [{ name: "tcp", port: 5432 }],
      // Who speaks first is the server: nobody may wait for the client.
      createTcpServer((socket) => {
        socket.write(`${name} `);
        socket.pipe(socket);
      }),
    );

  /** What comes back of a TLS connection that asks for `servername`; "closed" when it is not to be had. */
  async function askTls(host: string, servername: string): Promise<string> {
    const below = await chain.open(host, 443);
    // A tunnel is no socket, which Node minds at the end only.
    const socket: TLSSocket = connect({ socket: below as unknown as Socket, servername, ca: ca.root });
    return heard(socket, () => socket.write("ping"));
  }
  async function askTcp(host: string): Promise<string> {
    const stream = await chain.open(host, 5432);
    stream.write("ping");
    return heard(stream);
  }
  function heard(stream: Duplex, begin: () => void = () => undefined): Promise<string> {
    return new Promise((resolve) => {
      let all = "";
      const end = (what: string) => {
        resolve(what);
        stream.destroy();
      };
      stream.on("secureConnect", begin);
      stream.on("data", (chunk: Buffer) => {
        all += chunk.toString();
        if (all.endsWith("ping")) end(all);
      });
      stream.on("error", () => end("closed"));
      stream.on("close", () => end("closed"));
    });
  }
  const becomes = (what: string, ask: () => Promise<string>, wanted: string) => {
    let last = "";
    return eventually(
      what,
      async () => {
        last = await ask();
        if (last !== wanted) throw new Error(`it is "${last}"`);
        return true;
      },
      PATIENCE_MS,
    );
  };

  beforeAll(async () => {
    [chain, ca] = await Promise.all([WaypointChain.start(), TestCa.create()]);
    await serveTls("tls-a", "a.example");
    await serveTls("tls-b", "x.b.example");
    chain.service("tls", [{ name: "tls", port: 443 }], "tls-a");
    for (const name of ["db-a", "db-b"]) await serveTcp(name);
    chain.service("db", [{ name: "tcp", port: 5432 }], "db-a");
    await becomes("the way through", () => askTls("tls", "a.example"), "tls-a ping");
    await becomes("the way through", () => askTcp("db"), "db-a ping");
  });
  afterAll(async () => {
    for (const server of servers) server.close();
    for (const socket of open) socket.destroy();
    await chain?.stop();
  });

  it("of TLS goes where a TLSRoute sends its server name, unopened, and nowhere without one", async () => {
    const route = (name: string, hostname: string, backend: string) => `apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: ${name}}
spec:
  parentRefs: [{group: "", kind: Service, name: tls}]
  hostnames: [${hostname}]
  rules: [{backendRefs: [{name: ${backend}, port: 443}]}]
---
`;
    chain.apply(
      route("a", "a.example", "tls-a") + route("b", '"*.b.example"', "tls-b") + route("gone", "gone.example", "no"),
    );
    await becomes("the wildcard", () => askTls("tls", "x.b.example"), "tls-b ping");
    await becomes("the exact name", () => askTls("tls", "a.example"), "tls-a ping");
    // Refused by closing, never by waiting: a name that no route has, none at all, and a backend that is not there.
    for (const name of ["other.example", "b.example", "", "gone.example"])
      expect(await askTls("tls", name)).toBe("closed");
    await eventually("the statuses", () => {
      const told = (name: string) => chain.conditions("TLSRoute", name).map((each) => each.split(":")[0]);
      return (
        told("a").join() === "Accepted=True/Accepted,ResolvedRefs=True/ResolvedRefs" &&
        told("gone").join() === "Accepted=True/Accepted,ResolvedRefs=False/BackendNotFound"
      );
    });
    for (const name of ["a", "b", "gone"]) chain.remove("TLSRoute", name);
    await becomes("the way without routes", () => askTls("tls", "a.example"), "tls-a ping");
  });

  it("of TLS goes by the server names of a VirtualService", async () => {
    chain.apply(`apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tls}
spec:
  hosts: [tls, "*.b.example"]
  tls:
  - match: [{port: 443, sniHosts: ["*.b.example"]}]
    route: [{destination: {host: tls-b, port: {number: 443}}}]
`);
    await becomes("the wildcard", () => askTls("tls", "x.b.example"), "tls-b ping");
    // What no rule takes goes to the service itself.
    expect(await askTls("tls", "a.example")).toBe("tls-a ping");
    chain.remove("VirtualService", "tls");
  });

  it("of TCP is shared out by the weights of a TCPRoute, connection by connection", async () => {
    const weights = (a: number, b: number) =>
      chain.apply(`apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: db}
spec:
  parentRefs: [{group: "", kind: Service, name: db}]
  rules: [{backendRefs: [{name: db-a, port: 5432, weight: ${a}}, {name: db-b, port: 5432, weight: ${b}}]}]
`);
    weights(0, 1);
    await becomes("the other one", () => askTcp("db"), "db-b ping");
    for (let i = 0; i < 10; i++) expect(await askTcp("db")).toBe("db-b ping");
    weights(1, 1);
    await becomes("both", () => askTcp("db"), "db-a ping");
    const answers = await Promise.all(Array.from({ length: 60 }, () => askTcp("db")));
    // At a half each: below 10 in one of a million runs.
    for (const name of ["db-a", "db-b"])
      expect(answers.filter((each) => each === `${name} ping`).length).toBeGreaterThan(9);
    chain.remove("TCPRoute", "db");
    await eventually(
      "the way without it",
      async () => {
        const all = await Promise.all(Array.from({ length: 8 }, () => askTcp("db")));
        return all.every((each) => each === "db-a ping");
      },
      PATIENCE_MS,
    );
  });

  it("of TCP is shared out by the weights of a VirtualService", async () => {
    const weights = (a: number, b: number) =>
      chain.apply(`apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db}
spec:
  hosts: [db]
  tcp:
  - match: [{port: 5432}]
    route:
    - {destination: {host: db-a, port: {number: 5432}}, weight: ${a}}
    - {destination: {host: db-b, port: {number: 5432}}, weight: ${b}}
`);
    weights(0, 100);
    await becomes("the other one", () => askTcp("db"), "db-b ping");
    weights(50, 50);
    await becomes("both", () => askTcp("db"), "db-a ping");
    const answers = new Set(await Promise.all(Array.from({ length: 40 }, () => askTcp("db"))));
    expect(answers).toEqual(new Set(["db-a ping", "db-b ping"]));
    chain.remove("VirtualService", "db");
  });

  it("of a WebSocket is upgraded through an HTTP route, and carries both ways until either closes", async () => {
    const server = createHttpServer((_, response) => response.end("plain"));
    server.on("upgrade", (request, socket: Socket) => {
      const accept = createHash("sha1")
        .update(`${request.headers["sec-websocket-key"]}${WEBSOCKET_KEY}`)
        .digest("base64");
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      socket.write(textFrame(`hello ${request.url}`));
      socket.on("data", (frame: Buffer) => {
        // A masked frame of less than 126 bytes, as it comes from the client: sent back, or its close answered.
        const opcode = (frame[0] ?? 0) & 0x0f;
        const length = (frame[1] ?? 0) & 0x7f;
        const mask = frame.subarray(2, 6);
        const payload = frame.subarray(6, 6 + length).map((byte, index) => byte ^ (mask[index % 4] ?? 0));
        if (opcode === 8) socket.end(Buffer.from([0x88, payload.length, ...payload]));
        else socket.write(textFrame(Buffer.from(payload).toString().toUpperCase()));
      });
    });
    await serve("chat", [{ name: "http", port: 80 }], server);
    chain.apply(`apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: chat}
spec:
  hosts: [chat]
  http:
  - match: [{uri: {prefix: /room}}]
    rewrite: {uri: /chat}
    timeout: 5s
    route: [{destination: {host: chat}}]
`);
    await chain.until(({ body }) => body === "plain", "http://chat/room");
    const doorway = await Doorway.open(chain, "chat");
    const socket = new WebSocket(`ws://${doorway.address}/room`);
    const messages: string[] = [];
    socket.addEventListener("message", ({ data }) => messages.push(String(data)));
    await eventually("the greeting", () => messages[0] === "hello /chat", PATIENCE_MS);
    for (const word of ["one", "two"]) {
      socket.send(word);
      await eventually("the echo", () => messages.at(-1) === word.toUpperCase(), PATIENCE_MS);
    }
    const closed = once(socket, "close");
    socket.close(1000, "bye");
    const [event] = (await closed) as [CloseEvent];
    expect([event.code, event.wasClean]).toEqual([1000, true]);
    doorway.close();
  });
});

function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, payload.length]), payload]);
}
