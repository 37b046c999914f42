/** The server's side of a WebSocket (RFC 6455), as far as exec needs it: binary messages, ping, close. */
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** Terminal input and small files come in far smaller messages. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export class WebSocket {
  readonly #socket: Duplex;
  #pending = Buffer.alloc(0);
  #fragments: Buffer[] = [];
  #isClosed = false;
  onMessage: (message: Buffer) => void = () => {};
  onClose: () => void = () => {};

  /** Answers the handshake with the first of `protocols` that the client offers; undefined when there is none. */
  static accept(
    request: IncomingMessage,
    socket: Duplex,
    protocols: readonly string[],
  ): { socket: WebSocket; protocol: string } | undefined {
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((each) => each.trim());
    const protocol = protocols.find((each) => offered.includes(each));
    const key = request.headers["sec-websocket-key"];
    if (protocol === undefined || key === undefined) return undefined;
    const accept = createHash("sha1")
      .update(key + GUID)
      .digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`,
    );
    return { socket: new WebSocket(socket), protocol };
  }

  private constructor(socket: Duplex) {
    this.#socket = socket;
    socket.on("data", (data: Buffer) => this.#read(data));
    socket.on("error", () => this.#closed());
    socket.on("close", () => this.#closed());
  }

  /** False: wait for `drained` before sending more. */
  send(message: Buffer): boolean {
    return this.#write(OPCODE.binary, message);
  }

  drained(then: () => void): void {
    this.#socket.once("drain", then);
  }

  close(): void {
    if (this.#isClosed) return;
    const normal = Buffer.from([0x03, 0xe8]);
    this.#write(OPCODE.close, normal);
    this.#socket.end();
  }

  #write(opcode: number, payload: Buffer): boolean {
    if (this.#socket.destroyed || this.#socket.writableEnded) return true;
    const { length } = payload;
    let head: Buffer;
    if (length < 126) head = Buffer.from([0x80 | opcode, length]);
    else if (length < 65_536) head = Buffer.from([0x80 | opcode, 126, length >> 8, length & 0xff]);
    else {
      head = Buffer.alloc(10);
      head[0] = 0x80 | opcode;
      head[1] = 127;
      head.writeBigUInt64BE(BigInt(length), 2);
    }
    this.#socket.write(head);
    return this.#socket.write(payload);
  }

  #read(data: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, data]);
    for (;;) {
      const frame = parseFrame(this.#pending);
      if (frame === undefined) return;
      if (frame === "too large") {
        this.#socket.destroy();
        return;
      }
      this.#pending = this.#pending.subarray(frame.size);
      this.#onFrame(frame.opcode, frame.isLast, frame.payload);
    }
  }

  #onFrame(opcode: number, isLast: boolean, payload: Buffer): void {
    switch (opcode) {
      case OPCODE.ping:
        this.#write(OPCODE.pong, payload);
        return;
      case OPCODE.pong:
        return;
      case OPCODE.close:
        this.#socket.end();
        this.#closed();
        return;
      default:
        this.#fragments.push(payload);
        if (!isLast) return;
        this.onMessage(Buffer.concat(this.#fragments));
        this.#fragments = [];
    }
  }

  #closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.onClose();
  }
}

interface Frame {
  opcode: number;
  isLast: boolean;
  payload: Buffer;
  size: number;
}

function parseFrame(data: Buffer): Frame | "too large" | undefined {
  if (data.length < 2) return undefined;
  const [first = 0, second = 0] = data;
  let length = second & 0x7f;
  let at = 2;
  if (length === 126) {
    if (data.length < 4) return undefined;
    length = data.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (data.length < 10) return undefined;
    const long = data.readBigUInt64BE(2);
    if (long > BigInt(MAX_MESSAGE_BYTES)) return "too large";
    length = Number(long);
    at = 10;
  }
  const isMasked = (second & 0x80) !== 0;
  const mask = isMasked ? data.subarray(at, at + 4) : undefined;
  if (isMasked) at += 4;
  if (data.length < at + length) return undefined;
  const payload = Buffer.from(data.subarray(at, at + length));
  if (mask !== undefined) for (let i = 0; i < length; i++) payload[i] = (payload[i] ?? 0) ^ (mask[i & 3] ?? 0);
  return { opcode: first & 0x0f, isLast: (first & 0x80) !== 0, payload, size: at + length };
}
