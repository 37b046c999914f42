/**
 * Opens a connection to the greeter at argv[2]:argv[3] and keeps it; with a fourth argument it sends that many bytes at a
 * time and waits until they have come back. Prints a line of JSON at the start, every 100 ms and at the end.
 */
import { connect } from "node:net";

export interface Held {
  /** CLOCK_MONOTONIC in ms. */
  readonly at: number;
  readonly state: "open" | "going" | "closed";
  /** Came back so far, without the greeting. */
  readonly bytes: number;
  readonly error: string | undefined;
}

const [, , host = "", port = "", chunk = "0"] = process.argv;
const payload = Buffer.alloc(Number(chunk), 46);
let bytes = 0;
let greeted = false;
let error: string | undefined;

function tell(state: Held["state"]): void {
  const line: Held = { at: Number(process.hrtime.bigint()) / 1e6, state, bytes, error };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const socket = connect({ host, port: Number(port), noDelay: true });
const timer = setInterval(() => greeted && tell("going"), 100);
socket.on("connect", () => socket.write("hold\n"));
socket.on("data", (data: Buffer) => {
  const first = !greeted;
  if (first && !data.includes(10)) return;
  greeted = true;
  if (first) tell("open");
  else bytes += data.length;
  if (payload.length > 0 && bytes % payload.length === 0) socket.write(payload);
});
socket.on("error", (cause: NodeJS.ErrnoException) => {
  error = cause.code;
});
socket.on("close", () => {
  clearInterval(timer);
  tell("closed");
});
