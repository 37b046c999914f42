/** Messages that somebody does not want to see. */
import type { KubeObject } from "#lib/kube/types.ts";
import { CODES, type Code } from "./codes.ts";
import { type Message, nameOfOrigin } from "./message.ts";

const ANNOTATION = "galley.istio.io/analyze-suppress";

/** Of one object: codes with commas between, or `*`. */
export function isSuppressedBy({ metadata }: KubeObject, code: Code): boolean {
  const wanted = (metadata.annotations?.[ANNOTATION] ?? "").split(",").map((part) => part.trim());
  return wanted.includes("*") || wanted.includes(code);
}

export interface Suppression {
  readonly code: Code;
  /** `Kind namespace/name`; stars stand for anything. */
  readonly object: RegExp;
}

/** Of `IST0102=Namespace shop*`; undefined: it is none. */
export function parseSuppression(text: string): Suppression | undefined {
  const equals = text.indexOf("=");
  const code = text.slice(0, Math.max(equals, 0));
  const pattern = text.slice(equals + 1).trim();
  if (!Object.hasOwn(CODES, code) || pattern === "") return undefined;
  const source = pattern
    .split("*")
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
    .join(".*");
  return { code: code as Code, object: new RegExp(`^${source}$`) };
}

export function isSuppressed({ code, origin }: Message, suppressions: readonly Suppression[]): boolean {
  return suppressions.some((each) => each.code === code && each.object.test(nameOfOrigin(origin)));
}
