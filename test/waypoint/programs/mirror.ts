/**
 * Answers each HTTP request on argv[2] with what came of it, as JSON; `/status/<code>` with that status. gRPC on argv[3]
 * sends back what it gets; TCP on argv[4] too.
 */
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { chat } from "../../peers/apps/grpc-service.ts";

const [http, grpc, tcp] = process.argv.slice(2).map(Number);

createServer((request, response) => {
  let bytes = 0;
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  request.on("end", () => {
    response.statusCode = Number(/^\/status\/(\d+)/.exec(request.url ?? "")?.[1] ?? 200);
    response.setHeader("x-served", "mirror");
    response.end(JSON.stringify({ method: request.method, path: request.url, headers: request.headers, bytes }));
  });
}).listen(http, "::");

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
server.bindAsync(`[::]:${grpc}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});

createTcpServer((socket) => {
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
}).listen(tcp, "::");
