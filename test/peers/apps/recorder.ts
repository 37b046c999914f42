/** TCP server on argv[2] that prints a line for each connection and each piece of data, and never answers. */
import { createServer } from "node:net";

createServer((socket) => {
  process.stdout.write("connection\n");
  socket.on("data", (chunk) => process.stdout.write(`data ${chunk.length}\n`));
  socket.on("error", () => socket.destroy());
}).listen(Number(process.argv[2]), "::");
