/** HTTP/1 on argv[2] and HTTP/2 without TLS on argv[3]: answers each request but `/hang` with 200. */
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";

const [http1, http2] = process.argv.slice(2).map(Number);

createServer((request, response) => {
  if (request.url !== "/hang") response.end("ok");
}).listen(http1, "::");

createHttp2Server((request, response) => {
  if (request.url !== "/hang") response.end("ok");
}).listen(http2, "::");
