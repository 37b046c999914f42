/** Loads on a proxy: as much as it takes, or at a fixed rate. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseWrk } from "../loads.ts";
import { load } from "./bed.ts";
import { cpuSecondsOf } from "./cpu.ts";
import type { Scenario } from "./scenarios.ts";

export interface Rate {
  readonly perSecond: number;
  /** Requests per second of the proxy's CPU time. */
  readonly perCore: number;
}

export interface Target {
  readonly scenario: Scenario;
  readonly port: number;
  readonly pid: number;
  readonly folder: string;
  readonly token: string;
}

const CONNECTIONS = 32;
const HTTP2_CONNECTIONS = 8;
const HTTP2_STREAMS = 8;
/** A gRPC message: no compression, its length, 64 bytes. */
const MESSAGE_BYTES = 64;
const PACED_CONNECTIONS = 16;
const MICROSECONDS_PER_MS = 1000;

/** Saturates the proxy. Rejects when an answer was not 200. */
export async function saturate(target: Target, seconds: number): Promise<Rate> {
  const before = cpuSecondsOf(target.pid);
  const output = await load(saturating(target, seconds), seconds);
  const cpu = cpuSecondsOf(target.pid) - before;
  const { value, work } = target.scenario.client === "http1" ? parseWrk(output) : parseH2load(output);
  return { perSecond: value, perCore: work / cpu };
}

/** Milliseconds that 99 of 100 requests stay below, at `perSecond` requests. */
export async function pacedP99(target: Target, perSecond: number, seconds: number): Promise<number> {
  const log = join(target.folder, "paced.log");
  writeFileSync(log, "");
  const pace = String(Math.max(1, Math.round(perSecond / PACED_CONNECTIONS)));
  const flags = ["--h1", "-t1", `-c${PACED_CONNECTIONS}`, "-D", String(seconds), "--rps", pace, "--log-file", log];
  parseH2load(await load(["h2load", ...flags, urlOf(target)], seconds));
  return percentile(latencies(readFileSync(log, "utf8")), 0.99);
}

function urlOf({ scenario, port }: Target): string {
  return `http${scenario.tls ? "s" : ""}://127.0.0.1:${port}${scenario.path}`;
}

function saturating(target: Target, seconds: number): string[] {
  const { client, name } = target.scenario;
  if (client === "http1") {
    const token = name === "jwt" ? ["-H", `Authorization: Bearer ${target.token}`] : [];
    return ["wrk", "-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, ...token, urlOf(target)];
  }
  const shape = ["-t1", `-c${HTTP2_CONNECTIONS}`, `-m${HTTP2_STREAMS}`, "-D", String(seconds)];
  if (client === "http2") return ["h2load", ...shape, urlOf(target)];
  const message = join(target.folder, "message");
  writeFileSync(message, Buffer.concat([Buffer.from([0, 0, 0, 0, MESSAGE_BYTES]), Buffer.alloc(MESSAGE_BYTES, "w")]));
  const headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"];
  return ["h2load", ...shape, "-d", message, ...headers, urlOf(target)];
}

/** h2load's text. A run with failures or answers other than 2xx would compare something else: refused. */
export function parseH2load(output: string): { readonly value: number; readonly work: number } {
  const rate = /finished in [\d.]+\w+, ([\d.]+) req\/s/.exec(output)?.[1];
  const counts = /(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/.exec(output);
  const codes = /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/.exec(output);
  if (rate === undefined || counts === null || codes === null) throw new Error(`h2load: no result in: ${output}`);
  const [, succeeded, failed, errored, timeout] = counts.map(Number);
  const [, , moved, refused, broken] = codes.map(Number);
  if ([failed, errored, timeout, moved, refused, broken].some((n) => n !== 0) || succeeded === 0) {
    throw new Error(`h2load: ${counts[0]}; ${codes[0]}`);
  }
  return { value: Number(rate), work: succeeded ?? 0 };
}

/** h2load's log: start in microseconds, status, microseconds, one request a line. */
export function latencies(log: string): number[] {
  return log
    .split("\n")
    .map((line) => Number(line.split("\t")[2]) / MICROSECONDS_PER_MS)
    .filter((ms) => !Number.isNaN(ms));
}

export function percentile(values: readonly number[], share: number): number {
  const value = values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1];
  if (value === undefined) throw new RangeError("a percentile of no values");
  return value;
}
