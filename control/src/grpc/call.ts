/**
 * One call of gRPC on one HTTP/2 stream. Nothing of its messages is read before `read`, and what is written is not
 * copied: many calls may be sent the same bytes.
 */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { MessageReader, PREFIX_BYTES } from "./message-reader.ts";
import { GRPC_STATUS, GrpcError, type GrpcStatus } from "./status.ts";

/** What a message is compressed with, where it is. */
export const DEFLATE = "deflate";

/** One message as it goes over the wire, in as many parts as it was put together from. */
export interface OutgoingMessage {
  readonly parts: readonly Uint8Array[];
  /** The parts together are a zlib stream; only for a caller that takes it. */
  readonly deflated: boolean;
}

export interface CallReader<T> {
  readonly message: (message: T) => void;
  /** The caller sends no more. */
  readonly end: () => void;
}

const HEARD_MS = 1_000;
const CONTENT_TYPE = "application/grpc+proto";

export class GrpcCall {
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #maxRequestBytes: number;
  /** `address:port`. */
  readonly peer: string;
  readonly takesDeflate: boolean;
  #ended = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, maxRequestBytes: number) {
    this.#stream = stream;
    this.#headers = headers;
    this.#maxRequestBytes = maxRequestBytes;
    const { remoteAddress = "", remotePort = 0 } = stream.session?.socket ?? {};
    this.peer = `${remoteAddress}:${remotePort}`;
    const encodings = this.header("grpc-accept-encoding") ?? "";
    this.takesDeflate = encodings.split(",").some((encoding) => encoding.trim() === DEFLATE);
  }

  header(name: string): string | undefined {
    const value = this.#headers[name];
    return typeof value === "string" ? value : value?.[0];
  }

  /** Calls `callback` once when the call is over, whoever ended it. */
  onClose(callback: () => void): void {
    if (this.#stream.destroyed) callback();
    else this.#stream.once("close", callback);
  }

  /** Begins to read. What is no message of `schema` ends the call. */
  read<T extends DescMessage>(schema: T, { message, end }: CallReader<MessageShape<T>>): void {
    const reader = new MessageReader(this.#maxRequestBytes);
    this.#stream.on("data", (chunk: Buffer) => {
      if (this.#ended) return;
      try {
        for (const bytes of reader.push(chunk)) message(decode(schema, bytes));
      } catch (error) {
        if (!(error instanceof GrpcError)) throw error;
        this.end(error.code, error.message);
      }
    });
    this.#stream.on("end", () => {
      if (reader.empty) end();
      else this.end(GRPC_STATUS.INVALID_ARGUMENT, "the request ends within a message");
    });
  }

  /** The only message of a call that has one. */
  readOne<T extends DescMessage>(schema: T): Promise<MessageShape<T>> {
    return new Promise((resolve, reject) => {
      const missing = () => reject(new GrpcError(GRPC_STATUS.INVALID_ARGUMENT, "no request"));
      this.read(schema, { message: resolve, end: missing });
      this.onClose(missing);
    });
  }

  /** `taken` is called once the bytes are on their way to the caller, or will not be. */
  write({ parts, deflated }: OutgoingMessage, taken: (error?: Error | null) => void = () => undefined): void {
    if (this.#ended || this.#stream.destroyed) {
      taken(new Error("the call is over"));
      return;
    }
    this.#respond();
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt8(deflated ? 1 : 0, 0);
    prefix.writeUInt32BE(
      parts.reduce((sum, { length }) => sum + length, 0),
      1,
    );
    this.#stream.cork();
    this.#stream.write(prefix);
    const last = parts.length - 1;
    parts.forEach((part, index) => void this.#stream.write(part, index === last ? taken : undefined));
    this.#stream.uncork();
  }

  /** Ends the call, after what was written; calls after the first change nothing. */
  end(code: GrpcStatus, details = ""): void {
    if (this.#ended || this.#stream.destroyed) return;
    this.#ended = true;
    const status = { "grpc-status": code, "grpc-message": encodeURI(details) };
    if (this.#stream.headersSent) {
      this.#stream.on("wantTrailers", () => this.#stream.sendTrailers(status));
      this.#stream.end();
    } else {
      const headers = { ":status": 200, "content-type": CONTENT_TYPE, ...status };
      this.#stream.respond(headers, { endStream: true });
    }
    if (this.#stream.readableEnded) return;
    // What else the caller sends is thrown away, until it has heard the end or has had the time to.
    this.#stream.resume();
    const stop = setTimeout(() => this.#stream.close(constants.NGHTTP2_NO_ERROR), HEARD_MS);
    this.onClose(() => clearTimeout(stop));
  }

  #respond(): void {
    if (this.#stream.headersSent) return;
    const encoding = this.takesDeflate ? DEFLATE : "identity";
    const headers = { ":status": 200, "content-type": CONTENT_TYPE, "grpc-encoding": encoding };
    this.#stream.respond(headers, { waitForTrailers: true });
  }
}

function decode<T extends DescMessage>(schema: T, bytes: Uint8Array): MessageShape<T> {
  try {
    return fromBinary(schema, bytes);
  } catch {
    throw new GrpcError(GRPC_STATUS.INVALID_ARGUMENT, `not a ${schema.name}`);
  }
}
