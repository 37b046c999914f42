/**
 * Where waypoints and their peers are measured: loopback, the proxy under load on one core, everything else (load, the
 * servers behind the proxy) on another.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

export const PROXY_CORE = 1;
export const LOAD_CORE = 0;

const START_DEADLINE_MS = 20_000;
const LOOK_MS = 20;
const STOP_DEADLINE_MS = 5000;
/** Standard error of a program that did not start: its last lines say why. */
const KEPT_LOG = 4000;

const run = promisify(execFile);

export interface Program {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cores: readonly number[];
  /** Listens when it is ready. */
  readonly port: number;
}

export interface Running {
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts a program on its cores; resolves when its port takes connections, rejects with its last words when it ends. */
export async function start({ argv, env, cores, port }: Program): Promise<Running> {
  const child = spawn("taskset", ["-c", cores.join(","), ...argv], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-KEPT_LOG);
    });
  }
  const deadline = Date.now() + START_DEADLINE_MS;
  while (!(await accepts(port))) {
    if (child.exitCode !== null) throw new Error(`${argv[0]} ended with ${child.exitCode}: ${log}`);
    if (Date.now() > deadline) {
      await stop(child);
      throw new Error(`${argv[0]} does not listen on ${port}: ${log}`);
    }
    await sleep(LOOK_MS);
  }
  return { pid: child.pid ?? 0, stop: () => stop(child) };
}

/** Runs a load to its end on the core of loads; resolves with what it prints. */
export async function load(argv: readonly string[], seconds: number): Promise<string> {
  const timeout = (seconds + START_DEADLINE_MS / 1000) * 1000;
  const { stdout } = await run("taskset", ["-c", String(LOAD_CORE), ...argv], { timeout });
  return stdout;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), STOP_DEADLINE_MS);
  await exited;
  clearTimeout(force);
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port }, () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
