/** What is written down of each running playground, so that `down` can undo it after anything. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NodeConfig } from "./config.ts";
import { MAX_PLAYGROUNDS } from "./network/plan.ts";

export const STATE_ROOT = "/run/weft-playground";

export interface PlaygroundState {
  readonly name: string;
  readonly index: number;
  readonly pid: number;
  readonly cgroup: string;
  readonly nodes: readonly NodeConfig[];
  readonly kubeconfig: string;
  /** Host addresses by what they lead to, such as `api` or `node1/metrics`. */
  readonly addresses: Readonly<Record<string, string>>;
}

const NAME = /^[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?$/;

export function checkName(name: string): void {
  if (!NAME.test(name)) {
    throw new Error(`"${name}" is no name for a playground: 1 to 20 lower case letters, digits and dashes`);
  }
}

export function stateDir(name: string): string {
  return join(STATE_ROOT, name);
}

/** Takes a free number for `name`. The folder of the number is the lock: making it is atomic. */
export function claimIndex(name: string): number {
  for (let index = 0; index < MAX_PLAYGROUNDS; index++) {
    try {
      // Each time: whoever ends the last playground removes the folder.
      mkdirSync(numbersDir(), { recursive: true, mode: 0o700 });
      writeFileSync(numberFile(index), name, { flag: "wx" });
      return index;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") index -= 1;
      else if (code !== "EEXIST") throw error;
    }
  }
  throw new Error(
    `all ${MAX_PLAYGROUNDS} numbers of playgrounds are taken; end some with: weft playground down --name NAME`,
  );
}

export function releaseIndex(name: string): void {
  if (!existsSync(numbersDir())) return;
  for (const file of readdirSync(numbersDir())) {
    const path = join(numbersDir(), file);
    if (readFileSync(path, "utf8") === name) rmSync(path);
  }
}

export function writeState(state: PlaygroundState): void {
  writeFileSync(join(stateDir(state.name), "state.json"), `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
}

export function readState(name: string): PlaygroundState | undefined {
  const path = join(stateDir(name), "state.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as PlaygroundState) : undefined;
}

/** Says to whoever watches over the playground that its end is wanted. */
export function announceEnd(name: string): void {
  if (existsSync(stateDir(name))) writeFileSync(endFile(name), "");
}

export function isEnding(name: string): boolean {
  return !existsSync(stateDir(name)) || existsSync(endFile(name));
}

/** Whether the process that started a playground is gone without having ended it. */
export function isAbandoned(name: string): boolean {
  const pid = readState(name)?.pid;
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}

function endFile(name: string): string {
  return join(stateDir(name), "ending");
}

/** Names of all playgrounds that have left something. */
export function playgroundNames(): string[] {
  if (!existsSync(STATE_ROOT)) return [];
  return readdirSync(STATE_ROOT).filter((entry) => !entry.startsWith("."));
}

function numbersDir(): string {
  return join(STATE_ROOT, ".numbers");
}

function numberFile(index: number): string {
  return join(numbersDir(), String(index));
}
