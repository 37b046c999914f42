/** A gRPC service of one bidirectional stream of bytes, without a .proto: what matters here is the stream. */
import type { MethodDefinition } from "@grpc/grpc-js";

const pass = (bytes: Buffer): Buffer => bytes;

export const chat: MethodDefinition<Buffer, Buffer> = {
  path: "/weft.test.Chat/Talk",
  requestStream: true,
  responseStream: true,
  requestSerialize: pass,
  requestDeserialize: pass,
  responseSerialize: pass,
  responseDeserialize: pass,
};
