/** Passes queries on to the node's own name servers, as they are: all record types, all flags, the client's id. */
import { createSocket } from "node:dgram";
import { readFileSync, statSync } from "node:fs";
import { connect, isIP, isIPv6 } from "node:net";

export interface ForwarderOptions {
  readonly resolvConf: string;
  readonly attemptTimeoutMs?: number;
  /** Where name servers listen; tests have no port 53. */
  readonly port?: number;
}

/** Below glibc's 5 s, so that the client hears from us before it gives up. */
const ATTEMPT_TIMEOUT_MS = 1500;
const ATTEMPTS = 3;
const MAX_IN_FLIGHT = 2048;
const DNS_PORT = 53;
/** resolv.conf(5): what is used when it names no server. */
const FALLBACK_SERVER = "127.0.0.1";

export class DnsForwarder {
  readonly #options: ForwarderOptions;
  #servers: readonly string[] = [];
  #readAt = -1;
  #inFlight = 0;

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  /** The raw answer. Rejects when no server gave one. */
  async forward(query: Buffer, udp: boolean): Promise<Buffer> {
    if (this.#inFlight >= MAX_IN_FLIGHT) throw new Error(`more than ${MAX_IN_FLIGHT} queries under way`);
    this.#inFlight++;
    try {
      const servers = this.#nameServers();
      let last: unknown;
      for (let attempt = 0; attempt < Math.max(ATTEMPTS, servers.length); attempt++) {
        const server = servers[attempt % servers.length] ?? FALLBACK_SERVER;
        try {
          return await (udp ? this.#askUdp(server, query) : this.#askTcp(server, query));
        } catch (error) {
          last = error;
        }
      }
      throw last;
    } finally {
      this.#inFlight--;
    }
  }

  /** A socket and so a source port of its own for each query: an answer cannot be guessed. */
  #askUdp(server: string, query: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const socket = createSocket(isIPv6(server) ? "udp6" : "udp4");
      const end = (error: Error | undefined, answer?: Buffer) => {
        clearTimeout(timer);
        socket.close();
        if (answer === undefined) reject(error);
        else resolve(answer);
      };
      const timer = setTimeout(() => end(noAnswer(server)), this.#timeoutMs);
      socket.on("error", end);
      socket.on("message", (answer) => {
        if (isAnswerTo(query, answer)) end(undefined, answer);
      });
      socket.connect(this.#port, server, () => socket.send(query));
    });
  }

  #askTcp(server: string, query: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: server, port: this.#port, timeout: this.#timeoutMs });
      const reader = new FrameReader((answer) => {
        if (!isAnswerTo(query, answer)) return;
        socket.destroy();
        resolve(answer);
      });
      socket.on("connect", () => socket.write(frame(query)));
      socket.on("data", (chunk: Buffer) => reader.push(chunk));
      socket.on("timeout", () => socket.destroy(noAnswer(server)));
      socket.on("error", reject);
      socket.on("close", () => reject(noAnswer(server)));
    });
  }

  get #port(): number {
    return this.#options.port ?? DNS_PORT;
  }

  get #timeoutMs(): number {
    return this.#options.attemptTimeoutMs ?? ATTEMPT_TIMEOUT_MS;
  }

  /** The file is read again when it has changed. */
  #nameServers(): readonly string[] {
    const changedAt = statSync(this.#options.resolvConf, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (changedAt !== this.#readAt) {
      this.#readAt = changedAt;
      this.#servers = changedAt === 0 ? [] : parseNameServers(readFileSync(this.#options.resolvConf, "utf8"));
    }
    return this.#servers.length === 0 ? [FALLBACK_SERVER] : this.#servers;
  }
}

/** Addresses of the `nameserver` lines. */
export function parseNameServers(text: string): string[] {
  return text
    .split("\n")
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? "")
    .filter((address) => isIP(address.replace(/%.*$/, "")) !== 0);
}

/** A message with its length in front, as DNS over TCP has it. */
export function frame(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(message.length + 2);
  framed.writeUInt16BE(message.length);
  message.copy(framed, 2);
  return framed;
}

/** Cuts a TCP stream into messages. Holds at most one unfinished message, 64 KiB. */
export class FrameReader {
  readonly #onMessage: (message: Buffer) => void;
  #held: Buffer = Buffer.alloc(0);

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  push(chunk: Buffer): void {
    let data = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    while (data.length >= 2) {
      const length = data.readUInt16BE();
      if (data.length < length + 2) break;
      this.#onMessage(Buffer.from(data.subarray(2, length + 2)));
      data = data.subarray(length + 2);
    }
    this.#held = data;
  }
}

function isAnswerTo(query: Buffer, answer: Buffer): boolean {
  return answer.length >= 12 && answer.readUInt16BE() === query.readUInt16BE() && ((answer[2] ?? 0) & 0x80) !== 0;
}

function noAnswer(server: string): Error {
  return new Error(`no answer from name server ${server}`);
}
