/** One `kubectl exec`: a process in a container, joined to a WebSocket by Kubernetes' channel protocol. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Readable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import { shellQuote } from "../system/command.ts";
import type { Container } from "./container.ts";
import type { WebSocket } from "./websocket.ts";

const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

/**
 * kubectl makes its streams after the handshake, and throws away what comes before them ("Unknown stream id"). Across a
 * network nothing does; here a command could be that fast. What kubectl sends is taken at once: it waits for nothing.
 */
const CLIENT_READY_MS = 30;

export interface ExecRequest {
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
}

export function runExec(socket: WebSocket, container: Container, request: ExecRequest): void {
  const { command, tty } = request;
  // script(1) gives the command a terminal; resizing goes to that terminal's device.
  const argv = tty ? ["script", "-qec", command.map(shellQuote).join(" "), "/dev/null"] : command;
  const clientReady = setTimeout(CLIENT_READY_MS);
  // Answers keep their order: each waits for the same promise.
  const end = (status: unknown) => void clientReady.then(() => finish(socket, status));
  const entered = container.command(argv);
  if (entered === undefined) {
    end(failureStatus(`container ${container.spec.name} is not running`));
    return;
  }
  const child = spawn(entered.program, entered.args, { stdio: [request.stdin ? "pipe" : "ignore", "pipe", "pipe"] });
  forward(socket, CHANNEL.stdout, child.stdout, clientReady);
  forward(socket, CHANNEL.stderr, child.stderr, clientReady);
  socket.onMessage = (message) => onMessage(child, message);
  socket.onClose = () => child.kill("SIGKILL");
  child.stdin?.on("error", () => {});
  child.on("error", (error) => end(failureStatus(error.message)));
  child.on("close", (code, signal) => end(exitStatus(code ?? (signal === null ? 1 : 137))));
}

function onMessage(child: ChildProcess, message: Buffer): void {
  const data = message.subarray(1);
  switch (message[0]) {
    case CHANNEL.stdin:
      if (data.length > 0) child.stdin?.write(data);
      return;
    case CHANNEL.close:
      if (data[0] === CHANNEL.stdin) child.stdin?.end();
      return;
    case CHANNEL.resize:
      resize(child, data);
      return;
  }
}

function forward(socket: WebSocket, channel: number, stream: Readable | null, ready: Promise<void>): void {
  stream?.on("data", async (data: Buffer) => {
    await ready;
    if (socket.send(Buffer.concat([Buffer.from([channel]), data]))) return;
    stream.pause();
    socket.drained(() => stream.resume());
  });
}

function resize(child: ChildProcess, data: Buffer): void {
  const { Width, Height } = JSON.parse(data.toString("utf8")) as { Width?: number; Height?: number };
  const terminal = child.pid === undefined ? undefined : terminalOf(child.pid);
  if (terminal === undefined || !Width || !Height) return;
  spawn("stty", ["-F", terminal, "rows", String(Height), "cols", String(Width)], { stdio: "ignore" });
}

/** The device that script(1) gave to its child. */
function terminalOf(pid: number): string | undefined {
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      for (const child of readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ")) {
        if (child === "") continue;
        const path = readlinkSync(`/proc/${child}/fd/0`);
        if (path.startsWith("/dev/pts/")) return path;
      }
    }
  } catch {
    // The process has just ended.
  }
  return undefined;
}

function finish(socket: WebSocket, status: unknown): void {
  socket.send(Buffer.concat([Buffer.from([CHANNEL.error]), Buffer.from(JSON.stringify(status))]));
  socket.close();
}

function exitStatus(code: number): unknown {
  if (code === 0) return { metadata: {}, status: "Success" };
  return {
    metadata: {},
    status: "Failure",
    message: `command terminated with non-zero exit code: exit status ${code}`,
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(code) }] },
  };
}

function failureStatus(message: string): unknown {
  return { metadata: {}, status: "Failure", message, reason: "InternalError", code: 500 };
}
