/** Members of the mesh that use up what they may have. */
import { expect } from "vitest";
import { eventually } from "#lib/eventually.ts";
import {
  FLAG,
  FRAME,
  frame,
  headers,
  hpack,
  hpackIndexed,
  PREFACE,
  RawH2,
  settings,
  uint32,
} from "../../helpers/h2-raw.ts";
import { type Arena, ECHO_PORT, FAUCET_PORT, RECORDER_PORT, type Threat } from "./threat.ts";

const ENHANCE_YOUR_CALM = 11;
const CANCEL = 8;
const MIB = 1024 * 1024;
const SETTING_INITIAL_WINDOW = 4;
const MAX_INCREMENT = 0x7fffffff;
/** What the engine grants a stream at its start. */
const STREAM_WINDOW = 128 * 1024;
/** What one write of a flood carries: enough that the flood is not limited by our own calls. */
const BATCH = 500;

const PING = frame(FRAME.PING, 0, 0, Buffer.alloc(8));
const EMPTY_SETTINGS = frame(FRAME.SETTINGS, 0, 0);

export const floodThreats: readonly Threat[] = [
  flood("Rapid reset", "streams opened and reset at once (CVE-2023-44487)", (arena, raw) =>
    batch(() => {
      const stream = raw.nextStream();
      return [connectFrame(stream, arena), frame(FRAME.RST_STREAM, 0, stream, uint32(CANCEL))];
    }),
  ),
  flood("MadeYouReset", "a WINDOW_UPDATE of 0 on stream after stream (CVE-2025-8671)", (arena, raw) =>
    batch(() => {
      const stream = raw.nextStream();
      return [connectFrame(stream, arena), frame(FRAME.WINDOW_UPDATE, 0, stream, uint32(0))];
    }),
  ),
  flood("MadeYouReset", "data after END_STREAM on stream after stream (CVE-2025-8671)", (arena, raw) =>
    batch(() => {
      const stream = raw.nextStream();
      return [connectFrame(stream, arena, FLAG.END_STREAM), frame(FRAME.DATA, 0, stream, Buffer.alloc(1))];
    }),
  ),
  flood("MadeYouReset", "a window that overflows on stream after stream", (arena, raw) =>
    batch(() => {
      const stream = raw.nextStream();
      return [connectFrame(stream, arena), frame(FRAME.WINDOW_UPDATE, 0, stream, uint32(MAX_INCREMENT))];
    }),
  ),
  flood("MadeYouReset", "malformed requests on stream after stream", (_arena, raw) =>
    batch(() => [
      headers(raw.nextStream(), [
        ["late", "x"],
        [":method", "CONNECT"],
      ]),
    ]),
  ),
  flood("MadeYouReset", "more streams than were allowed", (arena, raw) =>
    batch(() => [connectFrame(raw.nextStream(), arena)]),
  ),
  flood("CONTINUATION flood", "a header block that never ends (CVE-2024-27919)", (_arena, raw, round) => [
    ...(round === 0 ? [frame(FRAME.HEADERS, 0, raw.nextStream(), hpack([[":method", "CONNECT"]]))] : []),
    ...batch(() => [frame(FRAME.CONTINUATION, 0, 1, hpack([["filler", "x".repeat(100)]]))]),
  ]),
  flood("CONTINUATION flood", "empty CONTINUATION frames", (_arena, raw, round) => [
    ...(round === 0 ? [frame(FRAME.HEADERS, 0, raw.nextStream())] : []),
    ...batch(() => [frame(FRAME.CONTINUATION, 0, 1)]),
  ]),
  flood("HPACK bombs", "one table entry, named thousands of times in a block", (_arena, raw, round) => [
    // Index 62 is the newest entry of the dynamic table: 1 byte on the wire, 4,000 decoded.
    frame(
      FRAME.HEADERS,
      FLAG.END_HEADERS,
      raw.nextStream(),
      Buffer.concat([
        round === 0 ? hpackIndexed("bomb", "x".repeat(3900)) : Buffer.alloc(0),
        Buffer.alloc(16_000, 0xbe),
      ]),
    ),
  ]),
  flood("HPACK bombs", "oversized headers", (_arena, raw) => [
    headers(raw.nextStream(), [
      [":method", "CONNECT"],
      [":authority", "x"],
      ["large", "x".repeat(66_000)],
    ]),
  ]),
  flood("HPACK bombs", "many small headers", (_arena, raw) => [
    headers(
      raw.nextStream(),
      Array.from({ length: 4000 }, (_, i) => [`h${i}`, ""] as const),
    ),
  ]),
  flood("SETTINGS, PING, empty frames", "SETTINGS (CVE-2019-9515)", () => batch(() => [EMPTY_SETTINGS])),
  flood("SETTINGS, PING, empty frames", "SETTINGS with thousands of entries (CVE-2020-11080)", () => [
    settings(...Array.from({ length: 2000 }, () => [SETTING_INITIAL_WINDOW, 65_535] as const)),
  ]),
  flood("SETTINGS, PING, empty frames", "PING (CVE-2019-9512)", () => batch(() => [PING])),
  flood("SETTINGS, PING, empty frames", "answers to PINGs that nobody sent", () =>
    batch(() => [frame(FRAME.PING, FLAG.ACK, 0, Buffer.alloc(8))]),
  ),
  flood("SETTINGS, PING, empty frames", "empty DATA (CVE-2019-9518)", (arena, raw, round) => {
    const open = round === 0 ? [connectFrame(raw.nextStream(), arena)] : [];
    return [...open, ...batch(() => [frame(FRAME.DATA, 0, 1)])];
  }),
  flood("SETTINGS, PING, empty frames", "PRIORITY (CVE-2019-9513)", () =>
    batch(() => [frame(FRAME.PRIORITY, 0, 1, Buffer.alloc(5))]),
  ),
  flood("SETTINGS, PING, empty frames", "frames of unknown type", () =>
    batch(() => [frame(0xfa, 0, 0, Buffer.alloc(16))]),
  ),
  broken("a connection window that overflows (CVE-2026-21714)", () => [
    frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(MAX_INCREMENT)),
    frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(MAX_INCREMENT)),
  ]),
  broken("an initial window above the maximum", () => [settings([SETTING_INITIAL_WINDOW, 0x80000000])]),
  broken("DATA on a stream that was never opened", () => [frame(FRAME.DATA, 0, 7, Buffer.alloc(10))]),
  broken("PUSH_PROMISE from a client", (arena) => [
    frame(FRAME.PUSH_PROMISE, FLAG.END_HEADERS, 1, Buffer.concat([uint32(2), connectBlock(arena)])),
  ]),
  broken("an even stream number", (arena) => [frame(FRAME.HEADERS, FLAG.END_HEADERS, 2, connectBlock(arena))]),
  broken("a frame that claims 16 MB", () => [frame(FRAME.DATA, 0, 1, Buffer.alloc(0), 0xffffff)]),
  broken("a header block with another stream's frame inside", (arena) => [
    frame(FRAME.HEADERS, 0, 1, connectBlock(arena)),
    PING,
  ]),
  broken("HPACK that points nowhere", () => [
    frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, Buffer.from([0xff, 0x80, 0x80, 0x01])),
  ]),
  broken("padding longer than its frame", () => [frame(FRAME.HEADERS, FLAG.END_HEADERS | 8, 1, Buffer.from([200, 1]))]),
  {
    class: "Window and flow control",
    name: "200 streams to an application that does not read, each given all that its window allows",
    counted: ["peer_reset"],
    times: 200,
    // 200 streams of 128 KiB, and the 16 MiB by which the windows of a connection may grow together.
    memoryBytes: 48 * MIB,
    cpuSeconds: 4,
    attack: async (arena) => {
      const raw = await arena.dial();
      const streams = Array.from({ length: 200 }, () => raw.connectTo(`${arena.victim.ip}:${FAUCET_PORT}`));
      for (const stream of streams) expect(await raw.status(stream)).toBe(200);
      await fillWindows(raw, streams, arena);
      const { bufferedBytes } = await arena.mesh.engine.stats();
      expect(bufferedBytes, "the attack has filled something").toBeGreaterThan(MIB);
      expect(bufferedBytes).toBeLessThan(42 * MIB);
      raw.destroy();
    },
  },
  {
    class: "Window and flow control",
    name: "100 downloads whose reader never reads",
    counted: ["peer_reset", "none", "protocol_error"],
    memoryBytes: 48 * MIB,
    cpuSeconds: 4,
    attack: async (arena) => {
      const raw = await RawH2.connect({ host: arena.victim.ip, svid: arena.member, greet: false });
      raw.send(PREFACE, settings([SETTING_INITIAL_WINDOW, MAX_INCREMENT]));
      raw.send(frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(MAX_INCREMENT - 65_535)));
      raw.socket.pause();
      for (let i = 0; i < 100; i++) raw.connectTo(`${arena.victim.ip}:${FAUCET_PORT}`);
      await arena.mesh.engine.stats();
      const settled = await settledBuffers(arena);
      expect(settled).toBeLessThan(32 * MIB);
      raw.destroy();
    },
  },
];

/** Sends on every stream as long as flow control lets us, until the engine takes no more. */
async function fillWindows(raw: RawH2, streams: readonly number[], arena: Arena): Promise<void> {
  const windows = new Map([[0, 65_535], ...streams.map((stream) => [stream, STREAM_WINDOW] as const)]);
  const windowOf = (stream: number): number => windows.get(stream) ?? 0;
  let seen = 0;
  let last = -1;
  for (;;) {
    for (const { type, stream, payload } of raw.frames.slice(seen)) {
      seen++;
      if (type === FRAME.WINDOW_UPDATE) windows.set(stream, windowOf(stream) + payload.readUInt32BE());
    }
    for (const stream of streams) {
      for (let n = 1; n > 0; ) {
        n = Math.min(16_384, windowOf(stream), windowOf(0));
        if (n === 0) break;
        windows.set(stream, windowOf(stream) - n);
        windows.set(0, windowOf(0) - n);
        await raw.sendAll(frame(FRAME.DATA, 0, stream, Buffer.alloc(n)));
      }
    }
    const { bufferedBytes } = await arena.mesh.engine.stats();
    if (bufferedBytes === last && raw.frames.length === seen) return;
    last = bufferedBytes;
  }
}

/** Waits until the engine's own buffers stop growing, and returns their size. */
async function settledBuffers(arena: Arena): Promise<number> {
  let last = -1;
  return eventually("buffers that do not grow", async () => {
    const { bufferedBytes, openConnections } = await arena.mesh.engine.stats();
    const same = bufferedBytes === last && openConnections >= 100;
    last = bufferedBytes;
    return same ? bufferedBytes : undefined;
  });
}

function connectBlock({ victim }: Arena): Buffer {
  return hpack([
    [":method", "CONNECT"],
    [":authority", `${victim.ip}:${RECORDER_PORT + 1000}`],
  ]);
}

/** CONNECT to a port where nobody listens: cheap for us, a dial for the agent. */
function connectFrame(stream: number, arena: Arena, extraFlags = 0): Buffer {
  return frame(FRAME.HEADERS, FLAG.END_HEADERS | extraFlags, stream, connectBlock(arena));
}

function batch(make: () => readonly Buffer[]): Buffer[] {
  return Array.from({ length: BATCH }, make).flat();
}

/** Sends round after round until the server has had enough: GOAWAY with ENHANCE_YOUR_CALM, connection closed. */
function flood(
  class_: string,
  name: string,
  round: (arena: Arena, raw: RawH2, round: number) => readonly Buffer[],
): Threat {
  return {
    class: class_,
    name: `flood: ${name}`,
    counted: ["limit_exceeded"],
    attack: async (arena) => {
      const raw = await arena.dial();
      // 100,000 frames: more would be a server that has no limit.
      for (let i = 0; i < 200 && !raw.closed; i++) await raw.sendAll(Buffer.concat(round(arena, raw, i)));
      await raw.untilClosed();
      const code = raw.errorCode(0);
      // The reset of a connection that still has our bytes to read may overtake its GOAWAY.
      if (code !== undefined) expect(code).toBe(ENHANCE_YOUR_CALM);
      await arena.dial().then(async (again) => {
        expect(await again.status(again.connectTo(`${arena.victim.ip}:${ECHO_PORT}`))).toBe(200);
        again.destroy();
      });
    },
  };
}

/** One breach of the protocol ends the connection. */
function broken(name: string, frames: (arena: Arena) => readonly Buffer[]): Threat {
  return {
    class: "HTTP/2 rules",
    name,
    counted: ["protocol_error"],
    attack: async (arena) => {
      const raw = await arena.dial();
      await raw.sendAll(Buffer.concat(frames(arena)));
      await raw.untilClosed();
      expect(raw.errorCode(0), raw.describe()).toBeGreaterThan(0);
    },
  };
}
