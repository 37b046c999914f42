/** The kubelet's own server on a Unix socket: logs, exec and forwarded ports, for the API server. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Container } from "./container.ts";
import { runExec } from "./exec-session.ts";
import type { PodWorker } from "./pod-worker.ts";
import { MAX_PORTS, runPortSession } from "./port-session.ts";
import { WebSocket } from "./websocket.ts";

/** How often a followed log is looked at. */
const FOLLOW_MS = 100;
const CHUNK_BYTES = 64 * 1024;
const PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
const PORT_PROTOCOLS = ["v4.channel.k8s.io"];

export class KubeletServer {
  readonly #server: http.Server;
  readonly #find: (uid: string) => PodWorker | undefined;

  constructor(find: (uid: string) => PodWorker | undefined) {
    this.#find = find;
    this.#server = http.createServer((request, response) => this.#logs(request, response));
    this.#server.on("upgrade", (request, socket) => {
      if (request.url?.startsWith("/portforward/")) this.#forwardPorts(request, socket);
      else this.#exec(request, socket);
    });
  }

  listen(path: string): Promise<void> {
    rmSync(path, { force: true });
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(path, resolve);
    });
  }

  #locate(request: IncomingMessage): { container: Container | undefined; query: URLSearchParams; verb: string } {
    const url = new URL(request.url ?? "/", "http://kubelet");
    const [, verb = "", uid = ""] = url.pathname.split("/");
    const container = this.#find(uid)?.container(url.searchParams.get("container") ?? "");
    return { container, query: url.searchParams, verb };
  }

  #logs(request: IncomingMessage, response: ServerResponse): void {
    const { container, query } = this.#locate(request);
    const path = container?.logPath(query.get("previous") === "true");
    if (container === undefined || path === undefined || !existsSync(path)) {
      const state = container?.status.state.waiting;
      const why = state === undefined ? "there is no log" : `is waiting to start: ${state.reason}`;
      response.writeHead(400, { "content-type": "application/json" });
      const message = `container "${query.get("container")}" ${why}`;
      response.end(
        JSON.stringify({
          kind: "Status",
          apiVersion: "v1",
          metadata: {},
          status: "Failure",
          message,
          reason: "BadRequest",
          code: 400,
        }),
      );
      return;
    }
    response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
    const limit = query.get("limitBytes");
    const isFollowed = query.get("follow") === "true";
    const file = openSync(path, "r");
    let position = tailPosition(path, query.get("tailLines"));
    const end = limit === null ? Number.POSITIVE_INFINITY : position + Number(limit);
    let timer: NodeJS.Timeout | undefined;
    const done = () => {
      clearTimeout(timer);
      closeSync(file);
      response.off("close", done);
      response.end();
    };
    const pump = () => {
      const buffer = Buffer.alloc(CHUNK_BYTES);
      for (;;) {
        const { size } = fstatSync(file);
        // The file was cut short because it had grown too large.
        if (size < position) position = 0;
        const count = readSync(file, buffer, 0, Math.min(CHUNK_BYTES, end - position), position);
        if (count === 0) break;
        position += count;
        if (!response.write(Buffer.from(buffer.subarray(0, count)))) {
          response.once("drain", pump);
          return;
        }
      }
      const isCurrent = container.logPath() === path && container.isRunning;
      if (!isFollowed || position >= end || !isCurrent) return done();
      timer = setTimeout(pump, FOLLOW_MS);
    };
    response.on("close", done);
    pump();
  }

  #exec(request: IncomingMessage, socket: Duplex): void {
    const { container, query, verb } = this.#locate(request);
    const command = query.getAll("command");
    if (verb !== "exec" || container === undefined) {
      refuse(socket, 404, "container not found");
      return;
    }
    if (command.length === 0) {
      refuse(socket, 400, "you must specify at least one command for the container");
      return;
    }
    const accepted = WebSocket.accept(request, socket, PROTOCOLS);
    if (accepted === undefined) {
      refuse(socket, 400, `exec speaks ${PROTOCOLS.join(" or ")}`);
      return;
    }
    runExec(accepted.socket, container, {
      command,
      tty: query.get("tty") === "true",
      stdin: query.get("stdin") === "true",
    });
  }

  #forwardPorts(request: IncomingMessage, socket: Duplex): void {
    const url = new URL(request.url ?? "/", "http://kubelet");
    const netns = this.#find(url.pathname.split("/")[2] ?? "")?.netns;
    const ports = url.searchParams.getAll("ports").map(Number);
    if (netns === undefined) {
      refuse(socket, 404, "the pod has no network namespace");
      return;
    }
    if (ports.length === 0 || ports.length > MAX_PORTS || ports.some((port) => !(port > 0 && port < 65_536))) {
      refuse(socket, 400, `ports: 1 to ${MAX_PORTS} port numbers are expected`);
      return;
    }
    const accepted = WebSocket.accept(request, socket, PORT_PROTOCOLS);
    if (accepted === undefined) {
      refuse(socket, 400, `portforward speaks ${PORT_PROTOCOLS.join(" or ")}`);
      return;
    }
    runPortSession(accepted.socket, netns, ports);
  }
}

function refuse(socket: Duplex, code: number, message: string): void {
  const body = JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", message, code });
  const head = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
  socket.end(`HTTP/1.1 ${code} Refused\r\n${head}\r\n\r\n${body}`);
}

/** Where the last `lines` lines begin. */
function tailPosition(path: string, lines: string | null): number {
  if (lines === null || Number(lines) < 0) return 0;
  const content = readFileSync(path);
  let position = content.length;
  // A last line without its end counts too.
  if (content[position - 1] === 0x0a) position -= 1;
  for (let left = Number(lines); left > 0 && position >= 0; left--) position = content.lastIndexOf(0x0a, position - 1);
  return Number(lines) === 0 ? content.length : position + 1;
}
