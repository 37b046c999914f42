/**
 * The one server behind both proxies. What it answers is in the request's `x-script`, so that a request means the same
 * whoever forwards it; what came is kept by `x-diff-id`.
 */
import { hash } from "node:crypto";
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from "node:http";
import {
  constants,
  createServer as createH2Server,
  type Http2Server,
  type Http2ServerRequest,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";

export interface Script {
  readonly status?: number;
  readonly headers?: readonly (readonly [string, string])[];
  readonly size?: number;
  /** Length known, chunked, or ended by the end of the connection. */
  readonly framing?: "length" | "chunked" | "close";
  readonly trailers?: readonly (readonly [string, string])[];
  /** An interim answer of 103. */
  readonly hints?: boolean;
  /** So many attempts of a request fail first, and how. */
  readonly failures?: number;
  readonly how?: "503" | "409" | "close" | "reset" | "unavailable" | "late";
  /** The connection ends after so many bytes of the body. */
  readonly cutAt?: number;
}

export interface Attempt {
  readonly at: string;
  readonly protocol: string;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly [string, string][];
  readonly bodyBytes: number;
  readonly bodyHash: string;
  readonly trailers: readonly [string, string][];
}

type Incoming = IncomingMessage | Http2ServerRequest;

export class Upstream {
  readonly attempts = new Map<string, Attempt[]>();
  readonly #begun = new Map<string, number>();
  readonly #sockets = new Set<Socket>();
  readonly #http1: Server;
  readonly #http2: Http2Server;

  private constructor() {
    this.#http1 = createServer({ maxHeaderSize: 128 * 1024, keepAliveTimeout: 0 }, (request, response) => {
      this.#serve(request, response);
    });
    this.#http2 = createH2Server((request, response) => this.#serve(request, response as unknown as ServerResponse));
    for (const server of [this.#http1, this.#http2]) {
      server.on("connection", (socket: Socket) => {
        this.#sockets.add(socket);
        socket.on("error", () => undefined);
        socket.once("close", () => this.#sockets.delete(socket));
      });
    }
  }

  static async start(): Promise<Upstream> {
    const upstream = new Upstream();
    for (const server of [upstream.#http1, upstream.#http2]) {
      await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
    }
    return upstream;
  }

  get http1Port(): number {
    return (this.#http1.address() as AddressInfo).port;
  }

  get http2Port(): number {
    return (this.#http2.address() as AddressInfo).port;
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#http1.close();
    this.#http2.close();
  }

  #serve(request: Incoming, response: ServerResponse): void {
    const id = String(request.headers["x-diff-id"]);
    const { socket } = request;
    const at = `${socket.localAddress}`;
    const pieces: Buffer[] = [];
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const body = Buffer.concat(pieces);
      const attempt: Attempt = {
        at,
        protocol: request.httpVersion,
        method: request.method ?? "",
        path: request.url ?? "",
        headers: pairs(request.rawHeaders),
        bodyBytes: body.length,
        bodyHash: hash("sha1", body),
        trailers: pairs(request.rawTrailers),
      };
      const all = this.attempts.get(id);
      if (all === undefined) this.attempts.set(id, [attempt]);
      else all.push(attempt);
      this.#answer(id, at, request, response);
    });
  }

  #answer(id: string, at: string, request: Incoming, response: ServerResponse): void {
    const text = request.headers["x-script"];
    const script = (typeof text === "string" ? JSON.parse(text) : {}) as Script;
    const failed = this.#begun.get(id) ?? 0;
    if (failed < (script.failures ?? 0) && at !== MIRROR_IP) {
      this.#begun.set(id, failed + 1);
      this.#fail(script, request, response);
      return;
    }
    const body = bodyOf(script.size ?? 0);
    const status = script.status ?? 200;
    const h2 = request.httpVersionMajor === 2;
    const headers: [string, string][] = [...(script.headers ?? [])].map(([name, value]) => [name, value]);
    const framing = script.framing ?? "length";
    if (framing === "length" && status !== 204) headers.push(["content-length", String(body.length)]);
    if (framing === "close" && !h2) {
      response.shouldKeepAlive = false;
      response.useChunkedEncodingByDefault = false;
    }
    response.sendDate = false;
    if (script.hints === true) response.writeEarlyHints({ link: "</a.css>; rel=preload" });
    if (script.cutAt !== undefined && "stream" in request) {
      cutShort(request.stream, status, headers, body.subarray(0, script.cutAt));
      return;
    }
    for (const [name, value] of headers) response.appendHeader(name, value);
    response.statusCode = status;
    response.flushHeaders();
    if (script.cutAt !== undefined) {
      response.write(body.subarray(0, script.cutAt), () => cut(request, false));
      return;
    }
    const trailers = Object.fromEntries(script.trailers ?? []);
    // Both kinds of response have it.
    response.addTrailers(trailers);
    response.end(request.method === "HEAD" ? undefined : body);
  }

  #fail(script: Script, request: Incoming, response: ServerResponse): void {
    switch (script.how) {
      case "close":
        cut(request, false);
        return;
      case "reset":
        cut(request, true);
        return;
      case "late":
        // Over HTTP/2 Envoy takes what is late for an error of the protocol.
        setTimeout(() => refuse(script, response), "stream" in request ? 0 : LATE_MS);
        return;
      case "unavailable":
        response.sendDate = false;
        response.writeHead(200, { "content-type": "application/grpc", "grpc-status": "14", "content-length": "0" });
        response.end();
        return;
      default:
        refuse(script, response);
    }
  }
}

/** After every timeout of the rules, by far. */
const LATE_MS = 5_000;

/** Where mirrored requests go: they have no say in what an attempt is. */
export const MIRROR_IP = "127.0.0.9";

function refuse(script: Script, response: ServerResponse): void {
  response.sendDate = false;
  response.writeHead(script.how === "409" ? 409 : 503, { "content-length": "5" });
  response.end("again");
}

export function bodyOf(bytes: number): Buffer {
  return Buffer.alloc(bytes, "0123456789abcdefghijklmnopqrstuvwxyz\n");
}

/** Not by the ordinary way: a response of that waits for trailers, and Node dies when its stream is gone by then. */
function cutShort(stream: ServerHttp2Stream, status: number, headers: [string, string][], body: Buffer): void {
  const fields: OutgoingHttpHeaders = { ":status": status };
  for (const [name, value] of headers) fields[name] = [fields[name] ?? [], value].flat().map(String);
  stream.respond(fields);
  stream.write(body, () => stream.close(constants.NGHTTP2_CANCEL));
}

function cut(request: Incoming, reset: boolean): void {
  if ("stream" in request) request.stream.close(reset ? 2 : 8);
  else if (reset) request.socket.resetAndDestroy();
  else request.socket.destroy();
}

function pairs(raw: readonly string[] | undefined): [string, string][] {
  const found: [string, string][] = [];
  for (let i = 0; raw !== undefined && i + 1 < raw.length; i += 2) found.push([String(raw[i]), String(raw[i + 1])]);
  return found;
}
