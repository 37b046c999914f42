/**
 * How a runtime and its plugins share one socket: frames of `connection, length`, and in each connection messages of
 * `length, stream, type, flags` (ttrpc). All numbers are big-endian.
 */

/** Calls of the runtime to the plugin, and of the plugin to the runtime. */
export const PLUGIN_CONNECTION = 1;
export const RUNTIME_CONNECTION = 2;

export const REQUEST = 1;
export const RESPONSE = 2;

const FRAME_HEADER = 8;
const MESSAGE_HEADER = 10;
/** ttrpc's own bound of a message. A list of all pods of a node, which the runtime sends once, is cut into such. */
const MAX_MESSAGE = 4 << 20;

export interface Message {
  readonly connection: number;
  readonly stream: number;
  readonly type: number;
  readonly payload: Uint8Array;
}

export function encodeMessage({ connection, stream, type, payload }: Message): Buffer {
  const header = Buffer.alloc(FRAME_HEADER + MESSAGE_HEADER);
  header.writeUInt32BE(connection, 0);
  header.writeUInt32BE(MESSAGE_HEADER + payload.length, 4);
  header.writeUInt32BE(payload.length, FRAME_HEADER);
  header.writeUInt32BE(stream, FRAME_HEADER + 4);
  header.writeUInt8(type, FRAME_HEADER + 8);
  return Buffer.concat([header, payload]);
}

/** Takes the stream apart. Throws when the other end does not keep to the format, after which nothing more can be read. */
export class MessageReader {
  #frames = Buffer.alloc(0);
  /** Of each connection, what is not a whole message yet. */
  readonly #rest = new Map<number, Buffer>();

  push(bytes: Buffer): Message[] {
    this.#frames = Buffer.concat([this.#frames, bytes]);
    const messages: Message[] = [];
    while (this.#frames.length >= FRAME_HEADER) {
      const connection = this.#frames.readUInt32BE(0);
      const length = this.#frames.readUInt32BE(4);
      if (length > MAX_MESSAGE + MESSAGE_HEADER) throw new RangeError(`a frame of ${length} bytes`);
      if (connection !== PLUGIN_CONNECTION && connection !== RUNTIME_CONNECTION) {
        throw new RangeError(`a frame of connection ${connection}`);
      }
      const end = FRAME_HEADER + length;
      if (this.#frames.length < end) break;
      this.#take(connection, this.#frames.subarray(FRAME_HEADER, end), messages);
      this.#frames = this.#frames.subarray(end);
    }
    return messages;
  }

  #take(connection: number, bytes: Buffer, messages: Message[]): void {
    let rest = Buffer.concat([this.#rest.get(connection) ?? Buffer.alloc(0), bytes]);
    while (rest.length >= MESSAGE_HEADER) {
      const length = rest.readUInt32BE(0);
      if (length > MAX_MESSAGE) throw new RangeError(`a message of ${length} bytes`);
      const end = MESSAGE_HEADER + length;
      if (rest.length < end) break;
      const stream = rest.readUInt32BE(4);
      messages.push({ connection, stream, type: rest.readUInt8(8), payload: rest.subarray(MESSAGE_HEADER, end) });
      rest = rest.subarray(end);
    }
    this.#rest.set(connection, rest);
  }
}
