/** Dials all targets of the JSON in argv[2] at once, and prints what came of each as JSON. */
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
  /** Bytes of the request: one line. */
  readonly bytes: number;
}

export interface DialResult {
  readonly id: string;
  /** `refused`: by connect() itself; `closed`: after it, without an answer. */
  readonly outcome: "reached" | "refused" | "closed" | "silent" | "unknown name";
  /** The address that was dialled, IPv4 dotted. */
  readonly ip: string;
  /** `ip port` of this end and of where its packets go. */
  readonly local: string | undefined;
  readonly remote: string | undefined;
  /** `ip port` that getpeername() says, as it says it. */
  readonly peername: string | undefined;
  readonly connectMs: number;
  readonly answerBytes: number;
  readonly greeting: Greeting | undefined;
  readonly error: string | undefined;
}

const PATIENCE_MS = 6_000;

async function dial(target: DialTarget): Promise<DialResult> {
  let ip: string;
  try {
    ip = (await lookup(target.host, { family: target.family })).address;
  } catch (error) {
    return { ...nothing(target.id, ""), outcome: "unknown name", error: String(error) };
  }
  const socket = connect({ host: target.mapped ? `::ffff:${ip}` : ip, port: target.port });
  const began = performance.now();
  let connected = Number.NaN;
  let text = "";
  let error: string | undefined;
  let raw: ReturnType<typeof rawSocket>;
  let peername: string | undefined;
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      error = "no end";
      socket.destroy();
    }, PATIENCE_MS);
    socket.on("connect", () => {
      connected = performance.now() - began;
      raw = rawSocket(socket);
      peername = `${socket.remoteAddress} ${socket.remotePort}`;
      socket.write(`${target.id} `.padEnd(target.bytes - 1, ".").concat("\n"));
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
        ...nothing(target.id, ip),
        outcome: reached ? "reached" : outcome(error, !Number.isNaN(connected)),
        local: raw?.local,
        remote: raw?.remote,
        peername,
        connectMs: Number.isNaN(connected) ? performance.now() - began : connected,
        answerBytes: text.length,
        greeting: reached ? (JSON.parse(text) as Greeting) : undefined,
        error,
      });
    });
  });
}

function outcome(error: string | undefined, connected: boolean): DialResult["outcome"] {
  if (error === "no end") return "silent";
  return !connected && error === "ECONNREFUSED" ? "refused" : "closed";
}

function nothing(id: string, ip: string): DialResult {
  return {
    id,
    outcome: "silent",
    ip,
    local: undefined,
    remote: undefined,
    peername: undefined,
    connectMs: 0,
    answerBytes: 0,
    greeting: undefined,
    error: undefined,
  };
}

const targets = JSON.parse(process.argv[2] ?? "[]") as DialTarget[];
process.stdout.write(JSON.stringify(await Promise.all(targets.map(dial))));
