/** Peers that take their time, or speak something else. Deadlines as the engine has them. */
import { connect, type Socket } from "node:net";
import { expect } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { FRAME, frame, headers, PREFACE, RawH2 } from "../../helpers/h2-raw.ts";
import { type Arena, ECHO_PORT, type Threat } from "./threat.ts";

const HALF_OPEN = 300;
/** What the engine grants one address. */
const TUNNELS_OF_ONE_PEER = 256;
/** TLS must be done after 10 s; a peer that lives must answer the h2 PING sent after 10 s within 20 s. */
const HANDSHAKE_MS = 10_000;
const PING_MS = 30_000;
const GRACE_MS = 5_000;
const TICK_MS = 1_000;

export const slowThreats: readonly Threat[] = [
  {
    class: "Slow peers",
    name: `${HALF_OPEN} connections that never start TLS`,
    // Above 256 at a time the oldest give way.
    counted: ["tls_failure", "limit_exceeded"],
    times: HALF_OPEN,
    attack: async ({ victim }) => {
      const sockets = Array.from({ length: HALF_OPEN }, () => quiet(connect({ host: victim.ip, port: 15008 })));
      await Promise.all(sockets.map((socket) => closed(socket, HANDSHAKE_MS)));
    },
  },
  {
    class: "Slow peers",
    name: `${HALF_OPEN} connections with half a ClientHello`,
    counted: ["tls_failure", "limit_exceeded"],
    times: HALF_OPEN,
    attack: async ({ victim }) => {
      // A handshake record of 512 bytes, of which 6 come.
      const part = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
      const sockets = Array.from({ length: HALF_OPEN }, () => quiet(connect({ host: victim.ip, port: 15008 })));
      for (const socket of sockets) socket.write(part);
      await Promise.all(sockets.map((socket) => closed(socket, HANDSHAKE_MS)));
    },
  },
  {
    class: "Slow peers",
    name: "a handshake at one byte a second",
    counted: ["tls_failure"],
    attack: async ({ victim }) => {
      const socket = quiet(connect({ host: victim.ip, port: 15008 }));
      const hello = Buffer.alloc(517, 1);
      hello.set([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
      await drip(hello, (byte) => socket.write(byte), closed(socket, HANDSHAKE_MS));
    },
  },
  {
    class: "Slow peers",
    name: "a preface at one byte a second",
    counted: ["idle_timeout", "tls_failure", "h2_failure"],
    attack: async (arena) => {
      const raw = await RawH2.connect({ host: arena.victim.ip, svid: arena.member, greet: false });
      // 24 bytes of preface, then an endless SETTINGS frame.
      const bytes = Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0, Buffer.alloc(180))]);
      await drip(bytes, (byte) => raw.send(byte), raw.untilClosed(PING_MS + GRACE_MS));
    },
  },
  {
    class: "Slow peers",
    name: "a request at one byte a second",
    counted: ["idle_timeout"],
    attack: async (arena) => {
      const raw = await arena.dial();
      const block = headers(raw.nextStream(), [
        [":method", "CONNECT"],
        [":authority", `${arena.victim.ip}:${ECHO_PORT}`],
        ["filler", "x".repeat(200)],
      ]);
      await drip(block, (byte) => raw.send(byte), raw.untilClosed(PING_MS + GRACE_MS));
    },
  },
  {
    class: "Slow peers",
    name: "a member that connects and says nothing more",
    counted: ["idle_timeout", "h2_failure", "tls_failure"],
    attack: async (arena) => {
      const raw = await RawH2.connect({ host: arena.victim.ip, svid: arena.member, greet: false });
      await raw.untilClosed(PING_MS + GRACE_MS);
    },
  },
];

/** Refused at once. */
export const quickThreats: readonly Threat[] = [
  {
    class: "Slow peers",
    name: "1,000 half-open connections do not keep a newcomer out",
    counted: ["limit_exceeded"],
    times: 1000 - 256,
    attack: async (arena) => {
      const sockets = Array.from({ length: 1000 }, () => quiet(connect({ host: arena.victim.ip, port: 15008 })));
      await eventually("the first to be thrown out", () => sockets.some((socket) => socket.closed), HANDSHAKE_MS);
      const raw = await arena.dial();
      expect(await raw.status(raw.connectTo(`${arena.victim.ip}:${ECHO_PORT}`))).toBe(200);
      raw.destroy();
      for (const socket of sockets) socket.destroy();
    },
  },
  {
    class: "Slow peers",
    name: "one member that opens 400 tunnels does not take them from others",
    counted: ["limit_exceeded"],
    times: 400 - TUNNELS_OF_ONE_PEER,
    memoryBytes: 32 * 1024 * 1024,
    attack: async (arena) => {
      const tunnels: RawH2[] = [];
      // Few at a time: handshakes have a bound of their own.
      while (tunnels.length < 400) {
        tunnels.push(...(await Promise.all(Array.from({ length: 40 }, () => arena.dial()))));
      }
      await eventually(
        "the rest to be thrown out",
        () => tunnels.filter((tunnel) => tunnel.closed).length === 400 - TUNNELS_OF_ONE_PEER,
        HANDSHAKE_MS,
      );
      const standing = tunnels.filter((tunnel) => !tunnel.closed);
      const [one] = standing;
      if (one === undefined) throw new Error("no tunnel stands");
      expect(await one.status(one.connectTo(`${arena.victim.ip}:${ECHO_PORT}`))).toBe(200);
      for (const tunnel of standing) tunnel.destroy();
      await eventually("the member to get in again", async () => {
        const raw = await arena.dial();
        const status = await raw.status(raw.connectTo(`${arena.victim.ip}:${ECHO_PORT}`));
        raw.destroy();
        return status === 200;
      });
    },
  },
  otherProtocol("HTTP/1.1 in the clear", Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
  otherProtocol("HTTP/2 in the clear", Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0)])),
  otherProtocol("noise", Buffer.alloc(5_000, 0xa5)),
  {
    class: "CONNECT handling",
    name: "HTTP/1.1 inside good TLS",
    counted: ["h2_failure", "protocol_error"],
    attack: async (arena) => {
      const raw = await RawH2.connect({ host: arena.victim.ip, svid: arena.member, greet: false });
      raw.send(Buffer.from("CONNECT 10.0.0.1:80 HTTP/1.1\r\n\r\n"));
      await raw.untilClosed();
    },
  },
];

function otherProtocol(name: string, bytes: Buffer): Threat {
  return {
    class: "CONNECT handling",
    name: `${name} on 15008`,
    counted: ["tls_failure"],
    attack: async ({ victim }: Arena) => {
      const socket = quiet(connect({ host: victim.ip, port: 15008 }));
      socket.write(bytes);
      await closed(socket, GRACE_MS);
    },
  };
}

/** Writes a byte a second until `end` settles. */
async function drip(bytes: Buffer, write: (byte: Buffer) => void, end: Promise<void>): Promise<void> {
  let at = 0;
  const timer = setInterval(() => {
    if (at < bytes.length) write(bytes.subarray(at, ++at));
  }, TICK_MS);
  await end.finally(() => clearInterval(timer));
  expect(at, "bytes sent before the end").toBeLessThan(bytes.length);
}

function quiet(socket: Socket): Socket {
  // What was sent may be answered by a reset: that is one way of being refused.
  return socket.on("error", () => {}).resume();
}

async function closed(socket: Socket, withinMs: number): Promise<void> {
  await eventually("the server to close", () => socket.closed, withinMs + GRACE_MS);
}
