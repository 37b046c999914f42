/** One access log of a Telemetry: which requests, in what form, where to. */
import { CelError, type CelExpression, compileFilter } from "#lib/telemetry/cel.ts";
import { DEFAULT_TEXT_FORMAT } from "#lib/telemetry/default-format.ts";
import { FormatError, parseFormat, parseJsonFormat } from "#lib/telemetry/format.ts";
import type { AccessLog as AccessLogMessage } from "#proto/l7_pb.ts";
import { compileJson, compileText, type LineHost } from "./access-line.ts";
import { RecordAttributes } from "./attributes.ts";
import type { RequestRecord } from "./records.ts";

export const DEFAULT_PATH = "/dev/stdout";

/** A message that cannot be executed; the control plane refuses it before, as a rule. */
export class AccessLogError extends Error {}

export class AccessLog {
  readonly #line: (record: RequestRecord) => string;
  readonly #filter: CelExpression | undefined;
  readonly #write: (line: string) => void;

  /** Throws AccessLogError. */
  constructor(message: AccessLogMessage, host: LineHost, write: (line: string) => void) {
    this.#line = compiled(() => lineOf(message, host));
    this.#filter = message.filter === "" ? undefined : compiled(() => compileFilter(message.filter));
    this.#write = write;
  }

  log(record: RequestRecord): void {
    if (this.#filter !== undefined && this.#filter.evaluate(new RecordAttributes(record)) !== true) return;
    this.#write(this.#line(record));
  }
}

function compiled<T>(compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    if (error instanceof FormatError || error instanceof CelError || error instanceof SyntaxError) {
      throw new AccessLogError(error.message);
    }
    throw error;
  }
}

function lineOf({ format }: AccessLogMessage, host: LineHost): (record: RequestRecord) => string {
  if (format.case === "json") {
    const { fields, object } = format.value;
    const json = compileJson(parseJsonFormat(object === "" ? fields : JSON.parse(object)), host);
    return (record) => `${JSON.stringify(json(record))}\n`;
  }
  const text = format.case === "text" ? format.value : DEFAULT_TEXT_FORMAT;
  return compileText(parseFormat(text.endsWith("\n") ? text : `${text}\n`), host);
}
