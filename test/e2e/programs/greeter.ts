/**
 * Server on argv[2]: answers a line with one line of JSON that says how it sees the connection, then ends it. A line
 * that begins with "hold" is answered and the connection stays; "echo" lines come back as they are until the end.
 */
import { createServer, type Socket } from "node:net";
import { hostname } from "node:os";
import { rawSocket } from "./raw-socket.ts";

/** How the server sees a connection. */
export interface Greeting {
  readonly server: string;
  /** `ip port` as accept() and getpeername() say; IPv4 dotted. */
  readonly client: string;
  readonly remote: string | undefined;
  readonly local: string | undefined;
}

function greeting(socket: Socket): Greeting {
  const raw = rawSocket(socket);
  const client = `${socket.remoteAddress?.replace(/^::ffff:/, "")} ${socket.remotePort}`;
  return { server: process.argv[3] ?? hostname(), client, remote: raw?.remote, local: raw?.local };
}

createServer((socket) => {
  let text = "";
  const first = (chunk: Buffer): void => {
    text += chunk.toString("latin1");
    if (!text.includes("\n")) return;
    socket.off("data", first);
    const answer = `${JSON.stringify(greeting(socket))}\n`;
    if (!text.startsWith("hold")) {
      socket.end(answer);
      return;
    }
    socket.write(answer);
    socket.on("data", (more) => socket.write(more));
  };
  socket.on("data", first);
  socket.on("error", () => socket.destroy());
}).listen(Number(process.argv[2]), "::");
