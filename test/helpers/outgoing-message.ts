import { inflateSync } from "node:zlib";
import type { OutgoingMessage } from "../../control/src/grpc/call.ts";

/** What a client reads of a message. */
export function bytesOf({ parts, deflated }: OutgoingMessage): Buffer {
  const bytes = Buffer.concat(parts);
  return deflated ? inflateSync(bytes) : bytes;
}
