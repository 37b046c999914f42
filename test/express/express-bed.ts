/** Two pods whose TCP connections are express, by the same programs as in a mesh, without the mesh. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { fileURLToPath } from "node:url";
import { sweepBeds } from "../helpers/netns.ts";
import { type BedPod, finished, PodBed, type RunResult } from "../helpers/pod-bed.ts";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const BUILT = fileURLToPath(new URL("../../build/test/express/", import.meta.url));
const TAG = "wexpr";

export const PEER = `${BUILT}peer`;
export const SELF_CHECK = `${BUILT}self-check`;

/** Compiles the programs of these tests when they are not there. */
export function buildPrograms(): void {
  execFileSync("make", ["-s", "-C", HERE], { stdio: ["ignore", "ignore", "inherit"] });
}

/** Connections that have ended, and the bytes that went directly in them. */
export interface Total {
  readonly connections: number;
  readonly bytes: number;
}

export class ExpressBed {
  readonly pods: PodBed;
  readonly client: BedPod;
  readonly server: BedPod;
  /** For what servers want on disk. */
  readonly dir: string;
  readonly #express: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #servers: ChildProcess[] = [];
  #port = 20_000;

  /** `subnet`: the third byte of the bed's addresses, unique per test file. */
  static async create(subnet: number): Promise<ExpressBed> {
    buildPrograms();
    await sweepBeds(TAG);
    const bed = new ExpressBed(subnet);
    if ((await bed.#answers.next()).value !== "ready") throw new Error("the express bed did not start");
    return bed;
  }

  private constructor(subnet: number) {
    this.pods = new PodBed(TAG, subnet);
    this.client = this.pods.addPod("client");
    this.server = this.pods.addPod("server");
    this.dir = mkdtempSync(join(tmpdir(), "weft-express-"));
    mkdirSync(this.pods.podsCgroup, { recursive: true });
    this.#express = spawn(`${BUILT}bed`, [this.pods.podsCgroup, this.client.netnsPath, this.server.netnsPath], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    if (this.#express.stdout === null) throw new Error("no output of the express bed");
    this.#answers = createInterface({ input: this.#express.stdout })[Symbol.asyncIterator]();
  }

  /** A port that nothing has used yet. */
  nextPort(): number {
    this.#port += 1;
    return this.#port;
  }

  async total(): Promise<Total> {
    this.#express.stdin?.write("\n");
    const [connections, bytes] = String((await this.#answers.next()).value).split(" ");
    return { connections: Number(connections), bytes: Number(bytes) };
  }

  /** Starts a server in its pod and waits until it listens. */
  async serve(port: number, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
    const child = this.pods.spawn(this.server, command, args, {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, ...env },
    });
    this.#servers.push(child);
    await this.pods.listening(this.server, port);
  }

  async stopServers(): Promise<void> {
    const gone = this.#servers.map((child) => finished(child));
    for (const child of this.#servers.splice(0)) child.kill("SIGKILL");
    await Promise.all(gone);
  }

  /** Runs two peers against each other; both must say ok. Gives what they said. */
  async exchange(server: PeerOptions, client: PeerOptions): Promise<{ server: RunResult; client: RunResult }> {
    const port = this.nextPort();
    const address = this.server.ip;
    const listening = this.pods.run(this.server, PEER, peerArgs("listen", address, port, server), {});
    await this.pods.listening(this.server, port);
    const connecting = this.pods.run(this.client, PEER, peerArgs("connect", address, port, client), {});
    return { server: await listening, client: await connecting };
  }

  async dispose(): Promise<void> {
    const gone = finished(this.#express);
    this.#express.stdin?.end();
    await gone;
    await this.pods.dispose();
    rmSync(this.dir, { recursive: true });
  }
}

/** See peer/peer.cc. */
export type PeerOptions = Readonly<Record<string, string | number>>;

function peerArgs(role: string, address: string, port: number, options: PeerOptions): string[] {
  return [role, address, String(port), ...Object.entries(options).map(([key, value]) => `${key}=${value}`)];
}
