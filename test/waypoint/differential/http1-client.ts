/** HTTP/1 by hand: sends exactly the bytes that a test wants, and reports exactly what came. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as after } from "node:timers/promises";

export interface Answer {
  readonly informational: readonly number[];
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
  readonly trailers: readonly (readonly [string, string])[];
  /** The message did not come to its end. */
  readonly cut: boolean;
}

const DEADLINE_MS = 10_000;

export class Http1Client {
  readonly #socket: Socket;
  #bytes: Buffer = Buffer.alloc(0);
  #ended = false;
  #heard = (): void => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
      this.#heard();
    });
    const end = () => {
      this.#ended = true;
      this.#heard();
    };
    socket.on("end", end);
    socket.on("close", end);
    socket.on("error", end);
  }

  static async connect(port: number): Promise<Http1Client> {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true });
    const client = new Http1Client(socket);
    await once(socket, "connect");
    return client;
  }

  get ended(): boolean {
    return this.#ended;
  }

  write(bytes: Buffer | string): void {
    if (this.#socket.writable) this.#socket.write(bytes);
  }

  close(): void {
    this.#socket.destroy();
  }

  /** An interim answer is there, or a final one: time to send a body that waits for it. */
  async anything(): Promise<void> {
    await this.#until(() => this.#bytes.includes("\r\n\r\n"));
  }

  /** The next message; undefined when the connection ended without one. */
  async answer(method: string): Promise<Answer | undefined> {
    const informational: number[] = [];
    for (;;) {
      await this.#until(() => this.#bytes.includes("\r\n\r\n"));
      const end = this.#bytes.indexOf("\r\n\r\n");
      if (end < 0) return undefined;
      const [first = "", ...lines] = this.#take(end + 4)
        .toString("latin1")
        .trimEnd()
        .split("\r\n");
      const status = Number(first.split(" ")[1]);
      const headers = lines.map(field);
      if (status >= 100 && status < 200 && status !== 101) {
        informational.push(status);
        continue;
      }
      const bodiless = method === "HEAD" || status === 204 || status === 304 || status === 101;
      const { body, trailers, cut } = bodiless
        ? { body: Buffer.alloc(0), trailers: [], cut: false }
        : await this.#body(headers);
      return { informational, status, headers, body, trailers, cut };
    }
  }

  async #body(headers: readonly (readonly [string, string])[]): Promise<Pick<Answer, "body" | "trailers" | "cut">> {
    const length = headers.find(([name]) => name.toLowerCase() === "content-length")?.[1];
    if (headers.some(([name]) => name.toLowerCase() === "transfer-encoding")) return this.#chunks();
    const wanted = length === undefined ? Number.POSITIVE_INFINITY : Number(length);
    await this.#until(() => this.#bytes.length >= wanted);
    const cut = length !== undefined && this.#bytes.length < wanted;
    return { body: this.#take(Math.min(wanted, this.#bytes.length)), trailers: [], cut };
  }

  async #chunks(): Promise<Pick<Answer, "body" | "trailers" | "cut">> {
    const pieces: Buffer[] = [];
    const cut = () => ({ body: Buffer.concat(pieces), trailers: [], cut: true });
    for (;;) {
      await this.#until(() => this.#bytes.includes("\r\n"));
      const end = this.#bytes.indexOf("\r\n");
      if (end < 0) return cut();
      const size = Number.parseInt(this.#bytes.toString("latin1", 0, end), 16);
      if (size === 0) break;
      await this.#until(() => this.#bytes.length >= end + 2 + size + 2);
      if (this.#bytes.length < end + 2 + size + 2) return cut();
      this.#take(end + 2);
      pieces.push(this.#take(size));
      this.#take(2);
    }
    const over = () => this.#bytes.indexOf("\r\n\r\n");
    await this.#until(() => over() >= 0);
    if (over() < 0) return cut();
    const lines = this.#take(over() + 4)
      .toString("latin1")
      .trimEnd()
      .split("\r\n");
    return { body: Buffer.concat(pieces), trailers: lines.slice(1).map(field), cut: false };
  }

  #take(bytes: number): Buffer {
    const taken = this.#bytes.subarray(0, bytes);
    this.#bytes = this.#bytes.subarray(bytes);
    return taken;
  }

  async #until(condition: () => boolean): Promise<void> {
    const late = new AbortController();
    const deadline = after(DEADLINE_MS, true, { signal: late.signal }).catch(() => false);
    while (!this.#ended && !condition()) {
      const heard = new Promise<false>((resolve) => {
        this.#heard = () => resolve(false);
      });
      if (await Promise.race([heard, deadline])) throw new Error(`no answer within ${DEADLINE_MS} ms`);
    }
    late.abort();
  }
}

function field(line: string): readonly [string, string] {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}
