/**
 * An HTTP/2 client (or server) of single frames over node:tls, for peers that do what node:http2 would never do. Nothing is sent
 * and nothing is answered unless the test says so.
 */
import { once } from "node:events";
import type { Socket } from "node:net";
import { type ConnectionOptions, connect as tlsConnect } from "node:tls";
import { eventually } from "#lib/eventually.ts";
import type { Svid } from "./pki.ts";

// RFC 9113, 6.
export const FRAME = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;
export const FLAG = { ACK: 1, END_STREAM: 1, END_HEADERS: 4 } as const;
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const FRAME_HEADER_BYTES = 9;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export interface RawOptions {
  readonly host: string;
  readonly port?: number;
  /** Client certificate; absent: none is offered. */
  readonly svid?: Svid;
  readonly alpn?: readonly string[];
  readonly tls?: ConnectionOptions;
  /** Send the preface and empty SETTINGS at once; default true. */
  readonly greet?: boolean;
}

export class RawH2 {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  closed = false;
  /** Called with each frame as it comes. */
  onFrame: (frame: Frame) => void = () => {};
  #unparsed: Buffer = Buffer.alloc(0);
  #nextStream = 1;
  #skipBytes: number;
  #flowing: (() => void)[] = [];

  /** `skipBytes`: what comes before the first frame; a server skips the preface. */
  constructor(socket: Socket, skipBytes = 0) {
    this.socket = socket;
    this.#skipBytes = skipBytes;
    socket.on("data", (chunk: Buffer) => this.#parse(chunk));
    const flow = (): void => {
      for (const resolve of this.#flowing.splice(0)) resolve();
    };
    socket.on("drain", flow);
    socket.on("close", () => {
      this.closed = true;
      flow();
    });
    // An attacker expects to be thrown out; what is awaited is `closed`.
    socket.on("error", () => {});
  }

  /** Rejects when the TLS handshake fails on our side; a server that refuses our certificate closes later (TLS 1.3). */
  static async connect(options: RawOptions): Promise<RawH2> {
    const socket = tlsConnect({
      host: options.host,
      port: options.port ?? 15008,
      ALPNProtocols: [...(options.alpn ?? ["h2"])],
      minVersion: "TLSv1.3",
      // The tests look at what the server does with us, not at its certificate.
      rejectUnauthorized: false,
      ...(options.svid === undefined ? {} : { cert: options.svid.chain, key: options.svid.key }),
      ...options.tls,
    });
    await once(socket, "secureConnect", { signal: AbortSignal.timeout(10_000) });
    const raw = new RawH2(socket);
    if (options.greet ?? true) raw.send(PREFACE, frame(FRAME.SETTINGS, 0, 0));
    return raw;
  }

  send(...parts: readonly Buffer[]): boolean {
    return !this.socket.destroyed && this.socket.write(Buffer.concat(parts));
  }

  /** Sends and waits while the server does not read, so that a flood measures the server and not our buffers. */
  async sendAll(part: Buffer): Promise<void> {
    if (!this.send(part) && !this.closed) await new Promise<void>((resolve) => this.#flowing.push(resolve));
  }

  /** A stream number of ours that was never used. */
  nextStream(): number {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    return stream;
  }

  /** CONNECT as a polite client sends it. */
  connectTo(authority: string, extra: readonly Header[] = []): number {
    const stream = this.nextStream();
    this.send(headers(stream, [[":method", "CONNECT"], [":authority", authority], ...extra], FLAG.END_HEADERS));
    return stream;
  }

  /** `:status` of the answer on a stream. */
  async status(stream: number, withinMs = 15_000): Promise<number> {
    const answer = await eventually(
      `an answer on stream ${stream}`,
      () => {
        const found = this.frames.find((f) => f.type === FRAME.HEADERS && f.stream === stream);
        if (found === undefined && this.closed) throw new Error(`closed before the answer: ${this.describe()}`);
        return found;
      },
      withinMs,
    );
    return readStatus(answer.payload);
  }

  /** Bytes of DATA that have come on a stream. */
  data(stream: number): Buffer {
    return Buffer.concat(this.frames.filter((f) => f.type === FRAME.DATA && f.stream === stream).map((f) => f.payload));
  }

  async untilClosed(withinMs = 15_000): Promise<void> {
    await eventually(`the server to close; got ${this.describe()}`, () => this.closed, withinMs);
  }

  /** Error code of the RST_STREAM of a stream or, for stream 0, of GOAWAY. */
  errorCode(stream: number): number | undefined {
    const type = stream === 0 ? FRAME.GOAWAY : FRAME.RST_STREAM;
    const found = this.frames.findLast((f) => f.type === type && (stream === 0 || f.stream === stream));
    return found?.payload.readUInt32BE(stream === 0 ? 4 : 0);
  }

  /** Frames so far by name and count, for messages. */
  describe(): string {
    const counts = new Map<string, number>();
    for (const { type } of this.frames) {
      const name = Object.entries(FRAME).find(([, value]) => value === type)?.[0] ?? String(type);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return [...counts].map(([name, count]) => `${count} ${name}`).join(", ") || "nothing";
  }

  destroy(): void {
    this.socket.destroy();
  }

  #parse(chunk: Buffer): void {
    const skipped = Math.min(this.#skipBytes, chunk.length);
    this.#skipBytes -= skipped;
    this.#unparsed = Buffer.concat([this.#unparsed, chunk.subarray(skipped)]);
    while (this.#unparsed.length >= FRAME_HEADER_BYTES) {
      const length = this.#unparsed.readUIntBE(0, 3);
      if (this.#unparsed.length < FRAME_HEADER_BYTES + length) return;
      const received: Frame = {
        type: this.#unparsed.readUInt8(3),
        flags: this.#unparsed.readUInt8(4),
        stream: this.#unparsed.readUInt32BE(5) & 0x7fffffff,
        payload: this.#unparsed.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + length),
      };
      this.frames.push(received);
      this.#unparsed = this.#unparsed.subarray(FRAME_HEADER_BYTES + length);
      this.onFrame(received);
    }
  }
}

/** `length`: what the frame claims, when that is not what it carries. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
  length?: number,
): Buffer {
  const head = Buffer.alloc(FRAME_HEADER_BYTES);
  head.writeUIntBE(length ?? payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export type Header = readonly [name: string, value: string];

export function headers(stream: number, list: readonly Header[], flags: number = FLAG.END_HEADERS): Buffer {
  return frame(FRAME.HEADERS, flags, stream, hpack(list));
}

/** HPACK without compression: every field a literal that is never indexed (RFC 7541, 6.2.3). */
export function hpack(list: readonly Header[]): Buffer {
  return Buffer.concat(list.flatMap(([name, value]) => [Buffer.from([0x10]), hpackString(name), hpackString(value)]));
}

/** A literal that goes into the dynamic table (RFC 7541, 6.2.1). */
export function hpackIndexed(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0x40]), hpackString(name), hpackString(value)]);
}

function hpackString(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([hpackInteger(bytes.length, 7), bytes]);
}

/** RFC 7541, 5.1, with all other bits zero. */
export function hpackInteger(value: number, prefixBits: number): Buffer {
  const max = (1 << prefixBits) - 1;
  if (value < max) return Buffer.from([value]);
  const bytes = [max];
  let rest = value - max;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

export function settings(...entries: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.concat(
    entries.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 255]), uint32(value)])),
  );
  return frame(FRAME.SETTINGS, 0, 0, payload);
}

const STATIC_STATUS = new Map([
  [8, 200],
  [9, 204],
  [10, 206],
  [11, 304],
  [12, 400],
  [13, 404],
  [14, 500],
]);
/** Huffman codes of the digits (RFC 7541, appendix B) as text of bits. */
const HUFFMAN_DIGITS = new Map(
  ["00000", "00001", "00010", "011001", "011010", "011011", "011100", "011101", "011110", "011111"].map(
    (bits, digit) => [bits, digit],
  ),
);

/** `:status`, which is always the first field of an answer: indexed, or a literal with an indexed name. */
function readStatus(block: Buffer): number {
  // A change of the table's size may come first.
  const start = block.findIndex((byte) => (byte & 0xe0) !== 0x20);
  const first = block.readUInt8(start);
  if ((first & 0x80) !== 0) {
    const status = STATIC_STATUS.get(first & 0x7f);
    if (status === undefined) throw new Error(`answer starts with indexed field ${first & 0x7f}, not :status`);
    return status;
  }
  const name = first & ((first & 0x40) !== 0 ? 0x3f : 0x0f);
  if (name < 8 || name > 14)
    throw new Error(`answer starts with a field that is not :status: ${block.toString("hex")}`);
  const length = block.readUInt8(start + 1);
  const value = block.subarray(start + 2, start + 2 + (length & 0x7f));
  return (length & 0x80) !== 0 ? Number(huffmanDigits(value)) : Number(value.toString("latin1"));
}

function huffmanDigits(bytes: Buffer): string {
  let bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  let digits = "";
  for (let length = 5; length <= 6 && bits.length >= length; length++) {
    const digit = HUFFMAN_DIGITS.get(bits.slice(0, length));
    if (digit === undefined) continue;
    digits += digit;
    bits = bits.slice(length);
    length = 4;
  }
  return digits;
}
