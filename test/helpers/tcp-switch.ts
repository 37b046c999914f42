/** A port that leads somewhere else when it is told to, or nowhere: a Service's endpoints, a network that breaks. */
import { once } from "node:events";
import net from "node:net";

export class TcpSwitch {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  /** Both directions of each connection. */
  readonly #ways = new Set<readonly [net.Socket, net.Socket]>();
  #held = false;
  /** Ports of this machine, tried in turn; none: connections are refused. */
  targets: readonly number[] = [];
  #turn = 0;

  private constructor() {
    this.#server = net.createServer((client) => this.#connect(client));
  }

  static async start(...targets: number[]): Promise<TcpSwitch> {
    const created = new TcpSwitch();
    created.targets = targets;
    created.#server.listen(0, "127.0.0.1");
    await once(created.#server, "listening");
    return created;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  /** Leads to these from now on; what is open is cut. */
  turn(...targets: number[]): void {
    this.targets = targets;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nothing passes any more, and nothing ends: connections are taken and stay without an answer. */
  hold(): void {
    this.#held = true;
    for (const [from, to] of this.#ways) {
      from.unpipe(to);
      from.pause();
    }
  }

  /** What was held passes. */
  release(): void {
    this.#held = false;
    for (const [from, to] of this.#ways) from.pipe(to);
  }

  async stop(): Promise<void> {
    this.turn();
    this.#server.close();
    await once(this.#server, "close");
  }

  #connect(client: net.Socket): void {
    const target = this.targets[this.#turn++ % this.targets.length];
    this.#follow(client);
    if (target === undefined) return void client.destroy();
    const server = net.connect(target, "127.0.0.1");
    this.#follow(server);
    for (const way of [
      [client, server],
      [server, client],
    ] as const) {
      const [from, to] = way;
      this.#ways.add(way);
      if (!this.#held) from.pipe(to);
      from.on("close", () => {
        this.#ways.delete(way);
        to.destroy();
      });
    }
  }

  #follow(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    // The other end goes with it.
    socket.on("error", () => undefined);
  }
}
