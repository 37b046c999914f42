/** Cuts what a caller sends into the messages of gRPC: a flag, a length, that many bytes. */
import { GRPC_STATUS, GrpcError } from "./status.ts";

export const PREFIX_BYTES = 5;

export class MessageReader {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Bytes that must be there before the next look: a prefix, or one with its message. */
  #wanted = PREFIX_BYTES;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** True between messages. */
  get empty(): boolean {
    return this.#bytes === 0;
  }

  /** Yields each message that is whole now. Throws GrpcError for one that will not be read. */
  *push(chunk: Buffer): Generator<Buffer> {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes >= this.#wanted) {
      const [only] = this.#chunks;
      const all = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks, this.#bytes);
      this.#chunks = [all];
      const length = all.readUInt32BE(1);
      if (all.readUInt8(0) !== 0) throw new GrpcError(GRPC_STATUS.UNIMPLEMENTED, "requests may not be compressed");
      if (length > this.#maxBytes) {
        throw new GrpcError(GRPC_STATUS.RESOURCE_EXHAUSTED, `a request of ${length} bytes, ${this.#maxBytes} at most`);
      }
      const end = PREFIX_BYTES + length;
      this.#wanted = end;
      if (this.#bytes < end) return;
      this.#bytes -= end;
      this.#wanted = PREFIX_BYTES;
      this.#chunks = this.#bytes === 0 ? [] : [all.subarray(end)];
      yield all.subarray(PREFIX_BYTES, end);
    }
  }
}
