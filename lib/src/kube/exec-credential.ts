/** Credential plugins of a kubeconfig (`exec`): a program that prints a token or a certificate. */
import { spawnSync } from "node:child_process";
import { dirname, resolve } from "node:path";
import type { Env } from "../env.ts";
import { KubeAccessError } from "./errors.ts";

export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Env;
  /** Told to the user when the program is missing. */
  readonly installHint: string | undefined;
}

interface Status {
  readonly token?: string;
  readonly clientCertificateData?: string;
  readonly clientKeyData?: string;
  readonly expirationTimestamp?: string;
}

/** A person may have to log in by a browser meanwhile. */
const RUN_MS = 120_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;
/** Before its expiry, so that a request in flight does not meet it. */
const RENEW_BEFORE_MS = 10_000;

/** Checks the `exec` field of a user. Throws KubeAccessError. */
export function parseExecPlugin(value: unknown, file: string): ExecPlugin {
  const fields = typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  const { apiVersion, command, args = [], env = [], installHint } = fields;
  if (typeof apiVersion !== "string" || typeof command !== "string" || command === "") {
    throw new KubeAccessError(`${file}: exec needs apiVersion and command`);
  }
  if (fields.provideClusterInfo === true) {
    throw new KubeAccessError(`${file}: exec with provideClusterInfo is not offered; use a token or a certificate`);
  }
  const pairs = asList(env).map((each) => each as { name?: unknown; value?: unknown });
  return {
    apiVersion,
    // A path is relative to the file; a bare name is looked up in PATH.
    command: command.includes("/") ? resolve(dirname(file), command) : command,
    args: asList(args).map(String),
    env: Object.fromEntries(pairs.map(({ name, value: text }) => [String(name), String(text ?? "")])),
    installHint: typeof installHint === "string" ? installHint.trim().split("\n")[0] : undefined,
  };
}

/** Runs the program when it must; what it printed is used until it expires. */
export class ExecCredential {
  readonly #plugin: ExecPlugin;
  readonly #env: Env;
  #status: Status | undefined;

  /** `env` is the environment of the program, with the plugin's own variables added. */
  constructor(plugin: ExecPlugin, env: Env) {
    this.#plugin = plugin;
    this.#env = env;
  }

  /** The `authorization` header; empty for a plugin that gives only a certificate. */
  authorization(): string {
    const { token } = this.#current();
    return token === undefined ? "" : `Bearer ${token}`;
  }

  certificate(): { readonly cert?: string; readonly key?: string } {
    const { clientCertificateData: cert, clientKeyData: key } = this.#current();
    return { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
  }

  #current(): Status {
    const expiry = Date.parse(this.#status?.expirationTimestamp ?? "");
    // Without an expiry it is good until the process ends.
    if (this.#status === undefined || expiry - RENEW_BEFORE_MS < Date.now()) this.#status = this.#run();
    return this.#status;
  }

  /** Waits: nothing else can be done without credentials. */
  #run(): Status {
    const { apiVersion, command, args, env, installHint } = this.#plugin;
    const info = { apiVersion, kind: "ExecCredential", spec: { interactive: process.stdin.isTTY === true } };
    const { stdout, error, status } = spawnSync(command, args, {
      env: { ...this.#env, ...env, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
      stdio: ["inherit", "pipe", "inherit"],
      timeout: RUN_MS,
      maxBuffer: MAX_OUTPUT_BYTES,
      encoding: "utf8",
    });
    if (error !== undefined) {
      const hint = installHint === undefined ? "" : `; ${installHint}`;
      throw new KubeAccessError(`credential plugin ${command} cannot be run: ${error.message}${hint}`);
    }
    if (status !== 0) throw new KubeAccessError(`credential plugin ${command} ended with exit code ${status}`);
    return credential(command, stdout);
  }
}

function credential(command: string, output: string): Status {
  try {
    const { kind, status } = JSON.parse(output) as { kind?: string; status?: Status };
    if (kind === "ExecCredential" && (status?.token ?? status?.clientCertificateData) !== undefined)
      return status ?? {};
  } catch {
    // Falls to the answer below: what was printed may hold a secret and is not repeated.
  }
  throw new KubeAccessError(`credential plugin ${command} printed no ExecCredential with a token or a certificate`);
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
