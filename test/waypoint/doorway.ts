/** A port of this machine whose connections come out at a service, through the waypoint: for clients that dial for themselves. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { WaypointChain } from "./chain.ts";

export class Doorway {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(chain: WaypointChain, host: string, port: number) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => socket.destroy());
      chain
        .open(host, port)
        .then((stream) => {
          stream.on("error", () => socket.destroy());
          stream.on("close", () => socket.destroy());
          socket.on("close", () => stream.destroy());
          socket.pipe(stream).pipe(socket);
        })
        .catch(() => socket.destroy());
    });
  }

  static async open(chain: WaypointChain, host: string, port = 80): Promise<Doorway> {
    const doorway = new Doorway(chain, host, port);
    doorway.#server.listen(0, "127.0.0.1");
    await once(doorway.#server, "listening");
    return doorway;
  }

  /** `host:port` to dial. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
