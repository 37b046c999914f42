/** Reading configuration from environment variables: each reader names the variable in its error. */
import { existsSync } from "node:fs";
import { LevelFilter } from "#lib/log.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** A variable that cannot be used; the message names it, the value and what is expected. */
export class EnvError extends Error {
  override readonly name = "EnvError";
  constructor(variable: string, value: string, expected: string) {
    super(`environment variable ${variable}="${value}": expected ${expected}`);
  }
}

/** An empty value counts as unset, as in a manifest that leaves a field blank. */
export function envString(env: Env, name: string): string | undefined;
export function envString(env: Env, name: string, fallback: string): string;
export function envString(env: Env, name: string, fallback?: string): string | undefined {
  const value = env[name];
  return value === undefined || value === "" ? fallback : value;
}

export function envInteger(env: Env, name: string, fallback: number, min: number, max: number): number {
  const value = envString(env, name);
  if (value === undefined) return fallback;
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < min || number > max) {
    throw new EnvError(name, value, `a whole number from ${min} to ${max}`);
  }
  return number;
}

export function envBoolean(env: Env, name: string, fallback: boolean): boolean {
  const value = envString(env, name);
  if (value === undefined) return fallback;
  if (value !== "true" && value !== "false") throw new EnvError(name, value, "true or false");
  return value === "true";
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A duration such as `10s`, `1h30m` or `250ms`, in milliseconds. */
export function envDurationMs(env: Env, name: string, fallbackMs: number): number {
  const value = envString(env, name);
  if (value === undefined) return fallbackMs;
  if (!/^(\d+(ms|s|m|h))+$/.test(value)) throw new EnvError(name, value, "a duration such as 10s, 5m or 1h30m");
  let total = 0;
  for (const [, digits, unit] of value.matchAll(/(\d+)(ms|s|m|h)/g))
    total += Number(digits) * (UNIT_MS[unit ?? ""] ?? 0);
  return total;
}

export function envOneOf<const T extends string>(env: Env, name: string, fallback: T, allowed: readonly T[]): T {
  const value = envString(env, name);
  if (value === undefined) return fallback;
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new EnvError(name, value, `one of ${allowed.join(", ")}`);
  return found;
}

/** All variables whose names begin with `prefix`, by the rest of their names. */
export function envWithPrefix(env: Env, prefix: string): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith(prefix) && name.length > prefix.length && value !== undefined) {
      result[name.slice(prefix.length)] = value;
    }
  }
  return result;
}

export interface ListenConfig {
  readonly host: string;
  readonly port: number;
}

export function envListen(env: Env, name: string, fallback: string): ListenConfig {
  const value = envString(env, name, fallback);
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new EnvError(name, value, "host:port, port 0 for any free one");
  return { host: match[1] ?? match[2] ?? "", port };
}

export function envOptionalInteger(env: Env, name: string, min: number, max: number): number | undefined {
  return envString(env, name) === undefined ? undefined : envInteger(env, name, min, min, max);
}

export function envExistingFile(env: Env, name: string): string | undefined {
  const value = envString(env, name);
  if (value !== undefined && !existsSync(value)) throw new EnvError(name, value, "a file that exists");
  return value;
}

export function envLogFilter(env: Env): string {
  const value = envString(env, "RUST_LOG", "info");
  try {
    LevelFilter.parse(value);
  } catch {
    throw new EnvError(
      "RUST_LOG",
      value,
      "a level (trace, debug, info, warn, error, off), then scope=level, comma-separated",
    );
  }
  return value;
}
