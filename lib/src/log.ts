/**
 * Log lines of all our processes. Constant message in lower case, facts as fields.
 *
 * Two forms: `json` (through pino) and `plain`, the tab-separated line that ambient users know:
 * RFC 3339 time, level, scope, message, then `key=value`.
 */
import pino from "pino";

export const LEVELS = ["trace", "debug", "info", "warn", "error", "off"] as const;
export type Level = (typeof LEVELS)[number];
export type LogFormat = "json" | "plain";
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  readonly scope: string;
  enabled(level: Level): boolean;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Where lines go. `flushSync` before the process ends. */
export interface LogDestination {
  write(line: string): void;
  flushSync(): void;
}

export interface LogOptions {
  readonly format: LogFormat;
  /** `info`, or `info,access=debug`: a level for everything, then levels by scope. */
  readonly filter: string;
  /** Absent: standard output, buffered for at most FLUSH_MS. */
  readonly destination?: LogDestination;
}

const FLUSH_MS = 200;
const BUFFER_BYTES = 8192;

/** Owner of the destination and of the levels, which may change while the process runs. */
export class LogRoot {
  readonly format: LogFormat;
  readonly #destination: LogDestination;
  readonly #pino: pino.Logger | undefined;
  readonly #initialFilter: string;
  #filter: LevelFilter;

  constructor(options: LogOptions) {
    this.format = options.format;
    this.#initialFilter = options.filter;
    this.#filter = LevelFilter.parse(options.filter);
    this.#destination = options.destination ?? standardOutput();
    this.#pino = options.format === "json" ? jsonLogger(this.#destination) : undefined;
  }

  logger(scope: string): Logger {
    return this.#pino === undefined ? new PlainLogger(this, scope) : new JsonLogger(this, scope, this.#pino);
  }

  /** Throws RangeError naming the part that is wrong; the old filter stays then. */
  setFilter(text: string): void {
    this.#filter = LevelFilter.parse(text);
  }

  resetFilter(): void {
    this.setFilter(this.#initialFilter);
  }

  get filter(): string {
    return this.#filter.text;
  }

  enabled(scope: string, level: Level): boolean {
    return this.#filter.enabled(scope, level);
  }

  /** A finished line with its newline, for callers that build their own. */
  writeLine(line: string): void {
    this.#destination.write(line);
  }

  flush(): void {
    this.#destination.flushSync();
  }
}

/** Levels by scope. */
export class LevelFilter {
  readonly text: string;
  readonly #default: number;
  readonly #scopes: ReadonlyMap<string, number>;

  private constructor(text: string, byDefault: number, scopes: ReadonlyMap<string, number>) {
    this.text = text;
    this.#default = byDefault;
    this.#scopes = scopes;
  }

  static parse(text: string): LevelFilter {
    let byDefault = LEVELS.indexOf("info");
    const scopes = new Map<string, number>();
    for (const part of text.split(",").map((piece) => piece.trim())) {
      if (part === "") continue;
      const separator = part.lastIndexOf("=");
      const name = part.slice(separator + 1).toLowerCase();
      const level = LEVELS.indexOf((name === "warning" ? "warn" : name) as Level);
      if (level < 0) throw new RangeError(`log level "${part}": expected one of ${LEVELS.join(", ")}`);
      if (separator < 0) byDefault = level;
      else scopes.set(part.slice(0, separator), level);
    }
    return new LevelFilter(text, byDefault, scopes);
  }

  enabled(scope: string, level: Level): boolean {
    return LEVELS.indexOf(level) >= (this.#scopes.get(scope) ?? this.#default);
  }
}

class JsonLogger implements Logger {
  readonly scope: string;
  readonly #root: LogRoot;
  readonly #pino: pino.Logger;

  constructor(root: LogRoot, scope: string, parent: pino.Logger) {
    this.#root = root;
    this.scope = scope;
    this.#pino = parent.child({ scope });
  }

  enabled(level: Level): boolean {
    return this.#root.enabled(this.scope, level);
  }

  debug(message: string, fields: LogFields = {}): void {
    if (this.enabled("debug")) this.#pino.debug(fields, message);
  }

  info(message: string, fields: LogFields = {}): void {
    if (this.enabled("info")) this.#pino.info(fields, message);
  }

  warn(message: string, fields: LogFields = {}): void {
    if (this.enabled("warn")) this.#pino.warn(fields, message);
  }

  error(message: string, fields: LogFields = {}): void {
    if (this.enabled("error")) this.#pino.error(fields, message);
  }
}

class PlainLogger implements Logger {
  readonly scope: string;
  readonly #root: LogRoot;

  constructor(root: LogRoot, scope: string) {
    this.#root = root;
    this.scope = scope;
  }

  enabled(level: Level): boolean {
    return this.#root.enabled(this.scope, level);
  }

  debug(message: string, fields?: LogFields): void {
    this.#write("debug", message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write("info", message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write("warn", message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#write("error", message, fields);
  }

  #write(level: Level, message: string, fields?: LogFields): void {
    if (!this.enabled(level)) return;
    let line = `${timestamp(Date.now())}\t${level}\t${this.scope}\t${message}`;
    let separator = "\t";
    for (const key in fields) {
      const value = fields[key];
      if (value === undefined) continue;
      line += `${separator}${key}=${plainValue(value)}`;
      separator = " ";
    }
    this.#root.writeLine(`${line}\n`);
  }
}

let lastSecond = Number.NaN;
let lastSecondText = "";

/** RFC 3339 in UTC with microseconds. The text of a second is kept: thousands of lines share it. */
export function timestamp(unixMs: number): string {
  // Rounded, because a sum of fractions of a millisecond lies a little beside the microsecond that it means.
  const micros = Math.round(unixMs * 1000);
  const second = Math.floor(micros / 1_000_000);
  if (second !== lastSecond) {
    lastSecond = second;
    lastSecondText = new Date(second * 1000).toISOString().slice(0, 20);
  }
  return `${lastSecondText}${String(micros - second * 1_000_000).padStart(6, "0")}Z`;
}

/** The text of any thrown value, with its causes, on one line. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `: ${errorText(error.cause)}`;
  return `${error.message}${cause}`.replaceAll("\n", " ");
}

function plainValue(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(errorText(value));
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  return JSON.stringify(value);
}

function jsonLogger(destination: LogDestination): pino.Logger {
  return pino(
    {
      level: "trace",
      base: null,
      messageKey: "message",
      timestamp: () => `,"time":"${timestamp(Date.now())}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: errorText },
    },
    destination,
  );
}

function standardOutput(): LogDestination {
  return pino.destination({ dest: 1, sync: false, minLength: BUFFER_BYTES, periodicFlush: FLUSH_MS });
}
