/** Opens one connection to a greeter and tells how it went, from both ends. */
import { lookup } from "node:dns/promises";
import { connect } from "node:net";
import type { Greeting } from "./greeter.ts";
import { rawSocket } from "./raw-socket.ts";

export interface DialTarget {
  readonly id: string;
  /** An address, or a name to look up in `family`. */
  readonly host: string;
  readonly port: number;
  readonly family: 4 | 6;
  /** An IPv4 address in an IPv6 socket. */
  readonly mapped: boolean;
  /** Bytes of the request: one line, at least the id and seven. */
  readonly bytes: number;
  /** Look up at both ends where packets really go. Costs a look at every socket of the pods. */
  readonly looks: boolean;
}

export interface DialResult {
  readonly id: string;
  /** `refused`: by connect() itself; `closed`: after it, without an answer. */
  readonly outcome: "reached" | "refused" | "closed" | "silent" | "unknown name";
  /** The address that was dialled, IPv4 dotted. */
  readonly ip: string;
  /** `ip port` of this end, IPv4 dotted. */
  readonly local: string | undefined;
  /** Where its packets go. */
  readonly remote: string | undefined;
  /** `ip port` that getpeername() says, as it says it. */
  readonly peername: string | undefined;
  readonly connectMs: number;
  readonly answerBytes: number;
  readonly greeting: Greeting | undefined;
  readonly error: string | undefined;
}

/** A connection that nobody answers is a finding; a busy machine is not. */
const PATIENCE_MS = 15_000;

export async function dial(target: DialTarget): Promise<DialResult> {
  let ip: string;
  try {
    ip = (await lookup(target.host, { family: target.family })).address;
  } catch (error) {
    return { ...NOTHING, id: target.id, outcome: "unknown name", error: String(error) };
  }
  const socket = connect({ host: target.mapped ? `::ffff:${ip}` : ip, port: target.port });
  const began = performance.now();
  let connectMs: number | undefined;
  let text = "";
  let error: string | undefined;
  let local: string | undefined;
  let remote: string | undefined;
  let peername: string | undefined;
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      error = "no end";
      socket.destroy();
    }, PATIENCE_MS);
    socket.on("connect", () => {
      connectMs = performance.now() - began;
      local = `${socket.localAddress?.replace(/^::ffff:/, "")} ${socket.localPort}`;
      remote = target.looks ? rawSocket(socket)?.remote : undefined;
      peername = `${socket.remoteAddress} ${socket.remotePort}`;
      socket.write(`${target.looks ? "look" : "greet"} ${target.id} `.padEnd(target.bytes - 1, ".").concat("\n"));
    });
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      error = cause.code ?? cause.message;
    });
    socket.on("close", () => {
      clearTimeout(timer);
      const reached = text.endsWith("\n");
      resolve({
        id: target.id,
        outcome: reached ? "reached" : failure(error, connectMs !== undefined),
        ip,
        local,
        remote,
        peername,
        connectMs: connectMs ?? performance.now() - began,
        answerBytes: text.length,
        greeting: reached ? (JSON.parse(text) as Greeting) : undefined,
        error,
      });
    });
  });
}

function failure(error: string | undefined, connected: boolean): DialResult["outcome"] {
  if (error === "no end") return "silent";
  return !connected && error === "ECONNREFUSED" ? "refused" : "closed";
}

const NOTHING: DialResult = {
  id: "",
  outcome: "silent",
  ip: "",
  local: undefined,
  remote: undefined,
  peername: undefined,
  connectMs: 0,
  answerBytes: 0,
  greeting: undefined,
  error: undefined,
};
