/** The two small HTTP servers: readiness and metrics. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { ListenAddress } from "./config.ts";

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export type Routes = Readonly<Record<string, () => Answer | Promise<Answer>>>;

export interface HttpServer {
  readonly address: AddressInfo;
  close(): Promise<void>;
}

const REQUEST_TIMEOUT_MS = 10_000;

/** Answers GET of the given paths. Rejects with an Error that names the address when it cannot listen. */
export async function serveHttp(listen: ListenAddress, routes: Routes): Promise<HttpServer> {
  const server = http.createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    void answer(request, routes).then(({ status, contentType, body }) => {
      response.writeHead(status, { "content-type": contentType });
      response.end(body);
    });
  });
  server.listen({ port: listen.port, ...(listen.host === "" ? {} : { host: listen.host }) });
  await once(server, "listening").catch((error: unknown) => {
    throw listenError(listen, error);
  });
  return {
    address: server.address() as AddressInfo,
    close: async () => {
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, "close");
    },
  };
}

/** A port that cannot be had; the message says which, why and what to do. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

export function listenError({ host, port }: ListenAddress, error: unknown): ListenError {
  const code = (error as { code?: string }).code;
  const where = host === "" ? `port ${port}` : `${host}:${port}`;
  const hint =
    code === "EADDRINUSE"
      ? "another process listens there; stop it or choose another port"
      : code === "EACCES"
        ? "not allowed; choose a port above 1023 or grant CAP_NET_BIND_SERVICE"
        : String(error);
  return new ListenError(`cannot listen on ${where}: ${hint}`, { cause: error });
}

async function answer(request: http.IncomingMessage, routes: Routes): Promise<Answer> {
  const path = request.url?.split("?", 1)[0] ?? "";
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (request.method !== "GET" || route === undefined) return plain(404, "not found\n");
  try {
    return await route();
  } catch {
    return plain(500, "internal error\n");
  }
}

export function plain(status: number, body: string): Answer {
  return { status, contentType: "text/plain; charset=utf-8", body };
}
