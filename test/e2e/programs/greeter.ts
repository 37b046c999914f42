/**
 * Server on argv[2], called argv[3]. The first word of the line that a client sends says what it wants: `look` is
 * answered with a line of JSON that says how the server sees the connection, `greet` with one that leaves out what costs
 * a look at the kernel's table, `hush` with an empty line; then the connection ends. After `hold`, which is answered like
 * `greet`, it stays, and what comes is sent back.
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

function greeting(socket: Socket, looks: boolean): Greeting {
  const raw = looks ? rawSocket(socket) : undefined;
  const client = `${socket.remoteAddress?.replace(/^::ffff:/, "")} ${socket.remotePort}`;
  return { server: process.argv[3] ?? hostname(), client, remote: raw?.remote, local: raw?.local };
}

createServer({ noDelay: true }, (socket) => {
  let text = "";
  const first = (chunk: Buffer): void => {
    text += chunk.toString("latin1");
    if (!text.includes("\n")) return;
    socket.off("data", first);
    const [verb] = text.split(/\s/);
    const answer = verb === "hush" ? "" : JSON.stringify(greeting(socket, verb === "look"));
    if (verb !== "hold") {
      socket.end(`${answer}\n`);
      return;
    }
    socket.write(`${answer}\n`);
    socket.on("data", (more) => socket.write(more));
  };
  socket.on("data", first);
  socket.on("error", () => socket.destroy());
}).listen(Number(process.argv[2]), "::");
