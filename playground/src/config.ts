/** What the playground's processes are told at their start: one JSON file each, readable by root only. */
import { readFileSync } from "node:fs";
import type { KeyPair } from "./auth/certificates.ts";

export interface NodeConfig {
  readonly name: string;
  /** From 1; its addresses follow from it. */
  readonly number: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface FabricConfig {
  readonly index: number;
  readonly stateDir: string;
  /** PEM. */
  readonly ca: string;
  readonly serving: KeyPair;
  readonly tokenKey: string;
  readonly historySize: number;
  readonly bookmarkMs: number;
}

export interface KubeletConfig {
  readonly playground: string;
  readonly index: number;
  readonly node: NodeConfig;
  readonly nodes: readonly NodeConfig[];
  readonly stateDir: string;
  readonly nodeDir: string;
  /** `<cgroup2 mount>/weft-<playground>/<node>`. */
  readonly cgroup: string;
  readonly ca: string;
  readonly client: KeyPair;
  readonly repository: string;
}

/** Where the API server listens in the fabric's namespace. */
export const API_PORT = 6443;

export function readConfig<T>(path: string | undefined): T {
  if (path === undefined) throw new Error("the path of the configuration file is missing");
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

/** Messages from the playground to its processes over the IPC channel. A listening socket comes along. */
export type ToProcess =
  | { readonly kind: "serve-api" }
  /** Connections of the listener go to `host:port` as seen in the process's network namespace. */
  | { readonly kind: "forward"; readonly host: string; readonly port: number };

/** And back. */
export type FromProcess = { readonly kind: "ready" } | { readonly kind: "report"; readonly message: string };
