/** The shell that all four services share: JSON over HTTP/1.1, readiness, orderly end. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Answer {
  readonly status: number;
  /** Sent as JSON, or as it is when it is a string (HTML). */
  readonly body: unknown;
}

/** Answers GET requests; undefined: no such path. */
export type Handler = (path: string, request: IncomingMessage) => Answer | undefined | Promise<Answer | undefined>;

export interface RunningService {
  readonly port: number;
  /** Readiness turns false, open requests are finished, then the port closes. */
  stop(): Promise<void>;
}

/** A request for which the answer is not there after this long is given up by whoever asked. */
export const UPSTREAM_TIMEOUT_MS = 2_000;

/** Listens on all addresses, IPv6 included. Port 0 picks a free one. */
export async function startService(port: number, handler: Handler): Promise<RunningService> {
  let ready = true;
  const server = createServer((request, response) => {
    // Once stopping, a connection that goes back to idle would hold the port open for its keep-alive time.
    response.once("finish", () => ready || request.socket.end());
    const path = new URL(request.url ?? "/", "http://service").pathname;
    if (path === "/healthz/live") return send(response, { status: 200, body: { live: true } });
    if (path === "/healthz/ready") return send(response, { status: ready ? 200 : 503, body: { ready } });
    if (request.method !== "GET") return send(response, { status: 405, body: { error: "only GET is answered" } });
    void answer(handler, path, request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "::", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => {
      ready = false;
      return close(server);
    },
  };
}

async function answer(
  handler: Handler,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    send(response, (await handler(path, request)) ?? { status: 404, body: { error: `no such path: ${path}` } });
  } catch (error) {
    send(response, { status: 500, body: { error: error instanceof Error ? error.message : String(error) } });
  }
}

function send(response: ServerResponse, { status, body }: Answer): void {
  const text = typeof body === "string" ? body : `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    "content-type": typeof body === "string" ? "text/html; charset=utf-8" : "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
