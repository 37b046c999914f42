/** gRPC bidirectional echo on argv[2]. */
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { chat } from "./grpc-service.ts";

const server = new Server();
server.addService(
  { talk: chat },
  {
    talk: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on("data", (message: Buffer) => call.write(message));
      call.on("end", () => call.end());
    },
  },
);
server.bindAsync(`[::]:${process.argv[2]}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});
