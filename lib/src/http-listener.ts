/** One small HTTP server: a table of paths, a bound address, an orderly end. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ListenConfig } from "#lib/env.ts";

export type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => void | Promise<void>;
/** `METHOD /path` to handler. */
export type Routes = Readonly<Record<string, Handler>>;

const REQUEST_TIMEOUT_MS = 10_000;

export class HttpListener {
  readonly #server: Server;
  #routes: Routes | undefined;

  private constructor() {
    this.#server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
      if (this.#routes === undefined) respond(response, 503, "starting\n");
      else void dispatch(this.#routes, request, response);
    });
  }

  /** Takes the port; answers 503 until there is something to serve. Rejects naming the address when it is taken. */
  static async open(listen: ListenConfig): Promise<HttpListener> {
    const listener = new HttpListener();
    const server = listener.#server;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen(listen.port, listen.host, resolve);
    try {
      await promise;
    } catch (cause) {
      throw new Error(`cannot listen on ${listen.host}:${listen.port}`, { cause });
    }
    return listener;
  }

  serve(routes: Routes): void {
    this.#routes = routes;
  }

  get address(): { readonly host: string; readonly port: number } {
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function dispatch(routes: Routes, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://process");
  const method = request.method === "HEAD" ? "GET" : (request.method ?? "GET");
  const handler = routes[`${method} ${url.pathname}`];
  if (handler === undefined) {
    const other = Object.keys(routes).some((route) => route.endsWith(` ${url.pathname}`));
    respond(response, other ? 405 : 404, other ? "method not allowed\n" : "not found\n");
    return;
  }
  try {
    await handler(request, response, url);
  } catch (error) {
    if (!response.headersSent) respond(response, 500, `${error instanceof Error ? error.message : error}\n`);
    else response.destroy();
  }
}

export function respond(response: ServerResponse, status: number, body: string, type = "text/plain"): void {
  response.writeHead(status, { "content-type": type });
  response.end(body);
}
