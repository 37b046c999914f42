/** HTTP/1.1 on argv[2] and HTTP/2 without TLS on argv[3]; both answer with the client's address as they see it. */
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";

createServer((request, response) => {
  response.end(`${request.socket.remoteAddress}\n`);
}).listen(Number(process.argv[2]), "::");

createHttp2Server((request, response) => {
  response.end(`${request.socket.remoteAddress}\n`);
}).listen(Number(process.argv[3]), "::");
