/**
 * A gRPC server on Node's HTTP/2. Why not grpc-js's: see docs/adr/0014-own-grpc-server.md.
 */
import { once } from "node:events";
import http2, { type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import type { SecureContextOptions } from "node:tls";
import { GrpcCall } from "./call.ts";
import { CONNECTION_LIMITS, type ConnectionLimits, ServedConnection } from "./connection.ts";
import { GRPC_STATUS } from "./status.ts";

export interface GrpcServerOptions {
  readonly context: SecureContextOptions;
  /** What takes a call, by the path of its method. */
  readonly methods: ReadonlyMap<string, (call: GrpcCall) => void>;
  readonly maxRequestBytes: number;
  readonly connections?: ConnectionLimits;
}

/** Streams per connection: one of discovery, and certificates asked for at the same time. */
const MAX_STREAMS = 100;
/** After a restart all agents shake hands at once, and each brings a megabyte of what it knows. */
const HANDSHAKE_TIMEOUT_MS = 60_000;
/** Of one connection, in megabytes: more than the largest answer that a client takes at once. */
const MAX_SESSION_MB = 256;
const CLOSE_GRACE_MS = 3_000;

export class GrpcServer {
  readonly #server: http2.Http2SecureServer;
  readonly #connections = new Set<ServedConnection>();
  readonly #options: GrpcServerOptions;
  #closing: Promise<void> | undefined;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#server = http2.createSecureServer({
      ...options.context,
      settings: { maxConcurrentStreams: MAX_STREAMS, enablePush: false },
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      maxSessionMemory: MAX_SESSION_MB,
    });
    this.#server.on("session", (session) => this.#connected(session));
    this.#server.on("stream", (stream: ServerHttp2Stream, headers) => this.#called(stream, headers));
    // Broken connections are their clients' business; the session and its streams are closed by then.
    this.#server.on("sessionError", () => undefined);
  }

  /** On all addresses where `host` is empty. Resolves with the port. */
  async listen(host: string, port: number): Promise<number> {
    this.#server.listen({ port, ...(host === "" ? {} : { host }) });
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  /** For connections that come from now on. */
  setSecureContext(context: SecureContextOptions): void {
    this.#server.setSecureContext(context);
  }

  /** Takes no more calls, waits for those that are open, and after a grace time ends them. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const connection of this.#connections) connection.retire(CLOSE_GRACE_MS);
    await closed;
  }

  #connected(session: ServerHttp2Session): void {
    const connection = new ServedConnection(session, this.#options.connections ?? CONNECTION_LIMITS);
    this.#connections.add(connection);
    session.once("close", () => this.#connections.delete(connection));
  }

  #called(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    // A call that a client breaks off is over; who serves it learns that by its end.
    stream.on("error", () => undefined);
    if (headers[":method"] !== "POST" || headers["content-type"]?.startsWith("application/grpc") !== true) {
      stream.respond({ ":status": 415 }, { endStream: true });
      return;
    }
    const call = new GrpcCall(stream, headers, this.#options.maxRequestBytes);
    const method = this.#options.methods.get(headers[":path"] ?? "");
    if (method === undefined) call.end(GRPC_STATUS.UNIMPLEMENTED, "no such method");
    else method(call);
  }
}
