/** One `portforward`: ports on localhost of a pod, joined to a WebSocket by Kubernetes' channel protocol. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { programPath } from "../system/command.ts";
import type { WebSocket } from "./websocket.ts";

/** More than one is for clients that keep one WebSocket; nobody needs many. */
export const MAX_PORTS = 8;
/** An answer such as "connection refused" is one line. */
const MAX_COMPLAINT_BYTES = 4096;
const PIPE = join(import.meta.dirname, "port-pipe.ts");

/** Channel 2i carries the bytes of the i-th port, 2i+1 what went wrong with it; each begins with the port's number. */
export function runPortSession(socket: WebSocket, netns: string, ports: readonly number[]): void {
  const pipes = ports.map((port, i) => openPipe(socket, netns, port, 2 * i));
  socket.onMessage = (message) => {
    const channel = message[0] ?? 0;
    const pipe = channel % 2 === 0 ? pipes[channel / 2] : undefined;
    pipe?.stdin?.write(message.subarray(1));
  };
  socket.onClose = () => {
    for (const pipe of pipes) pipe.kill("SIGKILL");
  };
}

function openPipe(socket: WebSocket, netns: string, port: number, channel: number): ChildProcess {
  const send = (to: number, data: Buffer) => socket.send(Buffer.concat([Buffer.from([to]), data]));
  const number = Buffer.alloc(2);
  number.writeUInt16LE(port);
  send(channel, number);
  send(channel + 1, number);
  const program = [process.execPath, "--disable-warning=ExperimentalWarning", PIPE, String(port)];
  const child = spawn("nsenter", [`--net=${netns}`, ...program], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: programPath(), NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE },
  });
  child.stdout.on("data", (data: Buffer) => {
    if (send(channel, data)) return;
    child.stdout.pause();
    socket.drained(() => child.stdout.resume());
  });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (data: string) => {
    if (complaint.length < MAX_COMPLAINT_BYTES) complaint += data;
  });
  child.stdin.on("error", () => {});
  child.on("error", (error) => {
    complaint = error.message;
  });
  child.on("close", () => {
    if (complaint !== "") send(channel + 1, Buffer.from(`cannot forward to port ${port}: ${complaint}`));
    socket.close();
  });
  return child;
}
