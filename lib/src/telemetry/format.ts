/**
 * Format strings of access logs: `%OPERATOR(argument):length%` between literal text, `%%` for a percent sign.
 *
 * Parsed at the control plane, so that a wrong one is refused where it is written, and again where lines are made.
 */
import { isOperator, OPERATORS, type OperatorName } from "./operators.ts";

export type Segment =
  | { readonly kind: "text"; readonly text: string }
  | {
      readonly kind: "operator";
      readonly name: OperatorName;
      /** What stood in the parentheses; of headers the name in lower case. */
      readonly argument?: string;
      /** The header that is taken when the first is absent. */
      readonly alternative?: string;
      /** Longer values are cut. */
      readonly maxLength?: number;
    };
export type OperatorSegment = Extract<Segment, { kind: "operator" }>;
export type Format = readonly Segment[];

/** A JSON format: an object whose strings are formats; everything else stays as it is. */
export type JsonFormat =
  | { readonly kind: "format"; readonly format: Format }
  | { readonly kind: "constant"; readonly value: number | boolean | null }
  | { readonly kind: "list"; readonly items: readonly JsonFormat[] }
  | { readonly kind: "object"; readonly fields: readonly (readonly [string, JsonFormat])[] };

export type FormatProblem =
  | "unknown-operator"
  | "unterminated"
  | "bad-argument"
  | "missing-argument"
  | "unexpected-argument"
  | "bad-length"
  | "too-long"
  | "not-an-object";

/** Why a format was refused; `problem` for programs, the message for people. */
export class FormatError extends Error {
  readonly problem: FormatProblem;
  constructor(problem: FormatProblem, message: string) {
    super(message);
    this.name = "FormatError";
    this.problem = problem;
  }
}

/** More than anybody writes by hand. */
const MAX_FORMAT_CHARACTERS = 16_384;
const MAX_DEPTH = 8;
const MAX_LENGTH = 1_000_000;
const NAME = /[A-Z0-9_]+/y;
const LENGTH = /:(\d+)(?=%)/y;
/** Of a header; Envoy takes nothing but these either. */
const HEADER_NAME = /^:?[!#$&'*+.^_`|~0-9A-Za-z-]+$/;

/** Throws FormatError. */
export function parseFormat(text: string): Format {
  if (text.length > MAX_FORMAT_CHARACTERS) {
    throw new FormatError("too-long", `the format has more than ${MAX_FORMAT_CHARACTERS} characters`);
  }
  const segments: Segment[] = [];
  let literal = "";
  for (let at = 0; at < text.length; ) {
    if (text[at] !== "%") {
      literal += text[at++];
    } else if (text[at + 1] === "%") {
      literal += "%";
      at += 2;
    } else {
      if (literal !== "") segments.push({ kind: "text", text: literal });
      literal = "";
      const { segment, end } = parseOperator(text, at);
      segments.push(segment);
      at = end;
    }
  }
  if (literal !== "") segments.push({ kind: "text", text: literal });
  return segments;
}

/** `text[start]` is the percent sign. */
function parseOperator(text: string, start: number): { segment: OperatorSegment; end: number } {
  NAME.lastIndex = start + 1;
  const name = NAME.exec(text)?.[0] ?? "";
  let at = start + 1 + name.length;
  let argument: string | undefined;
  if (text[at] === "(") {
    const close = closing(text, at);
    if (close === -1) throw new FormatError("unterminated", `%${name}( has no closing parenthesis before its %`);
    argument = text.slice(at + 1, close);
    at = close + 1;
  }
  let maxLength: number | undefined;
  if (text[at] === ":") {
    LENGTH.lastIndex = at;
    const digits = LENGTH.exec(text)?.[1];
    maxLength = Number(digits);
    if (digits === undefined || maxLength > MAX_LENGTH) {
      throw new FormatError("bad-length", `the length behind %${name} must be a number up to ${MAX_LENGTH}, then %`);
    }
    at += 1 + digits.length;
  }
  if (text[at] !== "%") {
    throw new FormatError("unterminated", `an operator begins at character ${start} and has no % at its end`);
  }
  return { segment: operator(name, argument, maxLength), end: at + 1 };
}

/** Arguments may hold parentheses and percent signs: the end is the first `)` that the operator's end follows. */
function closing(text: string, open: number): number {
  for (let at = text.indexOf(")", open); at !== -1; at = text.indexOf(")", at + 1)) {
    LENGTH.lastIndex = at + 1;
    if (text[at + 1] === "%" || LENGTH.test(text)) return at;
  }
  return -1;
}

function operator(name: string, argument: string | undefined, maxLength: number | undefined): OperatorSegment {
  if (!isOperator(name)) throw new FormatError("unknown-operator", `%${name}% is not an operator of access logs`);
  const rule = OPERATORS[name];
  const length = maxLength === undefined ? {} : { maxLength };
  if (argument === undefined) {
    if (rule === "required" || rule === "header") {
      throw new FormatError("missing-argument", `%${name}% needs an argument in parentheses`);
    }
    return { kind: "operator", name, ...length };
  }
  if (rule === "none") throw new FormatError("unexpected-argument", `%${name}% takes no argument`);
  if (rule !== "header") return { kind: "operator", name, argument, ...length };
  const [header = "", alternative, more] = argument.split("?");
  if (more !== undefined) throw new FormatError("bad-argument", `%${name}(${argument})% has more than one alternative`);
  return {
    kind: "operator",
    name,
    argument: headerName(name, header),
    ...(alternative === undefined ? {} : { alternative: headerName(name, alternative) }),
    ...length,
  };
}

function headerName(operatorName: string, name: string): string {
  if (!HEADER_NAME.test(name)) throw new FormatError("bad-argument", `%${operatorName}(${name})%: not a header's name`);
  return name.toLowerCase();
}

/** Throws FormatError. `value` is what the resource had, or JSON.parse gave. */
export function parseJsonFormat(value: unknown): JsonFormat {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new FormatError("not-an-object", "a JSON format is an object");
  }
  return parseJsonValue(value, 0);
}

function parseJsonValue(value: unknown, depth: number): JsonFormat {
  if (depth > MAX_DEPTH) throw new FormatError("too-long", `a JSON format nests deeper than ${MAX_DEPTH}`);
  if (typeof value === "string") return { kind: "format", format: parseFormat(value) };
  if (typeof value === "number" || typeof value === "boolean" || value === null || value === undefined) {
    return { kind: "constant", value: value ?? null };
  }
  if (Array.isArray(value)) return { kind: "list", items: value.map((item) => parseJsonValue(item, depth + 1)) };
  // Envoy's structs have no order of their own; its lines come sorted.
  const fields = Object.entries(value as object).sort(([a], [b]) => (a < b ? -1 : 1));
  return { kind: "object", fields: fields.map(([key, item]) => [key, parseJsonValue(item, depth + 1)] as const) };
}

/** Headers that records must be given for a format; those that every record has are left out. */
export interface HeaderNames {
  readonly request: readonly string[];
  readonly response: readonly string[];
}

/** Parts of the request, and headers that the engine looks at anyway. */
export const RECORDED_REQUEST_HEADERS = [
  ":method",
  ":path",
  ":authority",
  ":scheme",
  "x-envoy-original-path",
  "x-forwarded-for",
  "x-request-id",
  "user-agent",
] as const;
export const RECORDED_RESPONSE_HEADERS = [":status", "x-envoy-upstream-service-time"] as const;

export function headersOf(format: Format | JsonFormat): HeaderNames {
  const request = new Set<string>();
  const response = new Set<string>();
  for (const segment of segmentsOf(format)) {
    if (segment.kind === "text") continue;
    const into = segment.name === "REQ" ? request : segment.name === "RESP" ? response : undefined;
    if (segment.argument !== undefined) into?.add(segment.argument);
    if (segment.alternative !== undefined) into?.add(segment.alternative);
  }
  for (const name of RECORDED_REQUEST_HEADERS) request.delete(name);
  for (const name of RECORDED_RESPONSE_HEADERS) response.delete(name);
  return { request: [...request].sort(), response: [...response].sort() };
}

function* segmentsOf(format: Format | JsonFormat): Generator<Segment> {
  if (!("kind" in format)) yield* format;
  else if (format.kind === "format") yield* format.format;
  else if (format.kind === "list") for (const item of format.items) yield* segmentsOf(item);
  else if (format.kind === "object") for (const [, item] of format.fields) yield* segmentsOf(item);
}
