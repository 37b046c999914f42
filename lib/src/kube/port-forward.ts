/** Connections to ports on localhost of a pod, by way of the API server and the kubelet. */
import { Duplex } from "node:stream";
import WebSocket from "ws";
import type { KubeAccess } from "./access.ts";
import { type ObjectName, objectPath } from "./client.ts";
import { KubeError } from "./errors.ts";
import { PODS, type Status } from "./types.ts";

/** The kubelet's oldest WebSocket protocol: each message begins with a byte that says which channel it is of. */
const PROTOCOL = "v4.channel.k8s.io";
const DATA_CHANNEL = 0;
const ERROR_CHANNEL = 1;
/** Each channel begins with the number of its port. */
const PORT_BYTES = 2;
const HANDSHAKE_MS = 15_000;
const MAX_REFUSAL_BYTES = 16 * 1024;

/**
 * One connection to `port` on localhost of a pod. Rejects with KubeError when the API refuses. That nothing listens there is
 * known only later, maybe before the caller goes on: look at `errored` of the stream, then listen.
 */
export function connectToPod(access: KubeAccess, pod: ObjectName, port: number, signal: AbortSignal): Promise<Duplex> {
  const path = `${objectPath(PODS, pod, "portforward")}?ports=${port}`;
  const what = `CONNECT ${path}`;
  const authorization = access.authorization?.() ?? "";
  const socket = new WebSocket(`${access.server.replace(/^http/, "ws")}${path}`, PROTOCOL, {
    handshakeTimeout: HANDSHAKE_MS,
    perMessageDeflate: false,
    headers: { "user-agent": "weft", ...(authorization === "" ? {} : { authorization }) },
    rejectUnauthorized: access.skipTlsVerify !== true,
    ...(access.ca === undefined ? {} : { ca: access.ca }),
    ...(access.cert === undefined ? {} : { cert: access.cert }),
    ...(access.key === undefined ? {} : { key: access.key }),
    ...(access.servername === undefined ? {} : { servername: access.servername }),
  });
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const abort = () => socket.terminate();
  signal.addEventListener("abort", abort, { once: true });
  socket.on("close", () => signal.removeEventListener("abort", abort));
  socket.on("unexpected-response", (_request, response) => {
    let body = "";
    response.setEncoding("utf8");
    response.on("data", (part: string) => {
      if (body.length < MAX_REFUSAL_BYTES) body += part;
    });
    response.on("close", () => {
      reject(KubeError.fromStatus(what, response.statusCode ?? 0, statusOf(body)));
      socket.terminate();
    });
  });
  socket.on("error", (error) => reject(new KubeError(0, "Unreachable", what, error.message, error)));
  socket.on("open", () => resolve(new ForwardedPort(socket, what)));
  return promise;
}

/** The two channels of one forwarded port as a stream. */
class ForwardedPort extends Duplex {
  readonly #socket: WebSocket;
  readonly #what: string;
  /** Bytes at the begin of each channel that are still to be passed over. */
  readonly #head: [number, number] = [PORT_BYTES, PORT_BYTES];

  constructor(socket: WebSocket, what: string) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    this.#what = what;
    socket.on("message", (message) => this.#receive(message as Buffer));
    socket.on("close", () => {
      this.push(null);
      this.end();
    });
    socket.on("error", (error) => this.destroy(error));
    // The kubelet may refuse in the same breath in which it opens, before anybody can listen: see `errored`.
    this.on("error", () => {});
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // The other end has closed: its end of the stream says so.
    if (this.#socket.readyState !== WebSocket.OPEN) done();
    else this.#socket.send(Buffer.concat([Buffer.from([DATA_CHANNEL]), chunk]), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.close();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.terminate();
    done(error);
  }

  #receive(message: Buffer): void {
    const channel = message[0];
    if (channel !== DATA_CHANNEL && channel !== ERROR_CHANNEL) return;
    const skipped = Math.min(this.#head[channel], message.length - 1);
    this.#head[channel] -= skipped;
    const data = message.subarray(1 + skipped);
    if (data.length === 0) return;
    if (channel === ERROR_CHANNEL) {
      this.destroy(new KubeError(0, "PortForward", this.#what, data.toString("utf8").trim()));
    } else if (!this.push(data)) {
      this.#socket.pause();
    }
  }
}

function statusOf(body: string): Status | undefined {
  try {
    return JSON.parse(body) as Status;
  } catch {
    return body === "" ? undefined : { message: body.trim().slice(0, 200) };
  }
}
