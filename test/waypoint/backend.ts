/** A pod's application: an HTTP server on a loopback address of its own, whose answers a test decides. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export class Backend {
  readonly name: string;
  readonly ip: string;
  readonly #server: Server;
  /** `METHOD path` of each request that came here. */
  readonly seen: string[] = [];
  /** What it does; at first it says who it is, and what it was asked. */
  handler: Handler = (request, response) => {
    const { method, url, headers } = request;
    request.resume().on("end", () => response.end(JSON.stringify({ pod: this.name, method, url, headers })));
  };

  private constructor(name: string, ip: string) {
    this.name = name;
    this.ip = ip;
    this.#server = createServer((request, response) => {
      this.seen.push(`${request.method} ${request.url}`);
      this.handler(request, response);
    });
    // A client that is cut off, as tests want it, is no error of the application.
    this.#server.on("clientError", (_, socket) => socket.destroy());
  }

  /** Port 0: any. */
  static async start(name: string, ip: string, port: number): Promise<Backend> {
    const backend = new Backend(name, ip);
    backend.#server.listen(port, ip);
    await once(backend.#server, "listening");
    return backend;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connections(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
    });
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}
