/** One finding of the analysis, and how it is written: as `istioctl analyze` writes it. */
import { compareText } from "../model/meta.ts";
import { CODES, type Code, LEVELS, type Level } from "./codes.ts";

/** An object, and where it was read. */
export interface Origin {
  readonly kind: string;
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
  /** Absent: from the cluster. */
  readonly file?: string;
  readonly line?: number;
}

export interface Message {
  readonly code: Code;
  readonly origin: Origin;
  readonly text: string;
}

export function levelOf({ code }: Pick<Message, "code">): Level {
  return CODES[code].level;
}

export function isAtLeast(level: Level, threshold: Level): boolean {
  return LEVELS.indexOf(level) >= LEVELS.indexOf(threshold);
}

/** `Kind namespace/name`. */
export function nameOfOrigin({ kind, namespace, name }: Origin): string {
  return `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`;
}

/** `Level [ISTxxxx] (Kind ns/name file:line) text`. */
export function formatMessage(message: Message): string {
  const reference = referenceOf(message.origin);
  const where = [nameOfOrigin(message.origin), ...(reference === "" ? [] : [reference])].join(" ");
  return `${levelOf(message)} [${message.code}] (${where}) ${message.text}`;
}

/** One message as `-o json` and `-o yaml` have it. */
export function messageRecord(message: Message): Readonly<Record<string, string>> {
  const reference = referenceOf(message.origin);
  return {
    code: message.code,
    level: levelOf(message),
    origin: nameOfOrigin(message.origin),
    ...(reference === "" ? {} : { reference }),
    message: message.text,
  };
}

function referenceOf({ file, line }: Origin): string {
  if (file === undefined) return "";
  return line === undefined ? file : `${file}:${line}`;
}

/** The worst first, then by code and object, so that the same set of objects always reads the same. */
export function byWeight(a: Message, b: Message): number {
  return (
    LEVELS.indexOf(levelOf(b)) - LEVELS.indexOf(levelOf(a)) ||
    compareText(a.code, b.code) ||
    compareText(nameOfOrigin(a.origin), nameOfOrigin(b.origin)) ||
    (a.origin.line ?? 0) - (b.origin.line ?? 0) ||
    compareText(a.text, b.text)
  );
}
