/** WebSocket echo on argv[2] for unfragmented messages (RFC 6455). */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { Duplex } from "node:stream";

// RFC 6455, 1.3.
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CLOSE = 8;

const server = createServer();
server.on("upgrade", (request, socket: Duplex, head: Buffer) => {
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}${GUID}`).digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  let unparsed = head;
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    unparsed = Buffer.concat([unparsed, chunk]);
    for (let frame = takeFrame(unparsed); frame !== undefined; frame = takeFrame(unparsed)) {
      unparsed = unparsed.subarray(frame.bytes);
      socket.write(Buffer.concat([Buffer.from([0x80 | frame.opcode]), lengthOf(frame.payload), frame.payload]));
      if (frame.opcode === CLOSE) socket.end();
    }
  });
});
server.listen(Number(process.argv[2]), "::");

interface ClientFrame {
  readonly opcode: number;
  readonly payload: Buffer;
  readonly bytes: number;
}

/** One masked frame off the front, unmasked. */
function takeFrame(bytes: Buffer): ClientFrame | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes.readUInt8(1) & 0x7f;
  const header = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0);
  if (bytes.length < header + 4) return undefined;
  const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  const total = header + 4 + length;
  if (bytes.length < total) return undefined;
  const mask = bytes.subarray(header, header + 4);
  const payload = Buffer.from(bytes.subarray(header + 4, total));
  for (const [i, byte] of payload.entries()) payload[i] = byte ^ (mask[i % 4] ?? 0);
  return { opcode: bytes.readUInt8(0) & 0x0f, payload, bytes: total };
}

function lengthOf(payload: Buffer): Buffer {
  if (payload.length < 126) return Buffer.from([payload.length]);
  const bytes = Buffer.alloc(payload.length < 65_536 ? 3 : 9);
  bytes.writeUInt8(bytes.length === 3 ? 126 : 127, 0);
  if (bytes.length === 3) bytes.writeUInt16BE(payload.length, 1);
  else bytes.writeBigUInt64BE(BigInt(payload.length), 1);
  return bytes;
}
