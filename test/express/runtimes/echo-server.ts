/** Node's stock HTTP server: sends every body back as it comes. Arguments: ADDRESS PORT. */
import { createServer } from "node:http";

const [address, port] = process.argv.slice(2);
createServer((request, response) => {
  response.writeHead(200);
  request.pipe(response);
}).listen(Number(port), address);
