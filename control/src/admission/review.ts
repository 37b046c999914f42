/** `admission.k8s.io/v1`: what the API server asks before it takes an object, and what it is told. */
import type { KubeObject } from "#lib/kube/types.ts";

export interface AdmissionRequest {
  readonly uid: string;
  readonly operation: string;
  readonly object: KubeObject;
  /** Of an UPDATE. */
  readonly oldObject: KubeObject | undefined;
}

export interface Decision {
  readonly allowed: boolean;
  /** Why not. */
  readonly message: string;
  /** Shown to whoever applies the object. */
  readonly warnings: readonly string[];
}

export const ALLOWED: Decision = { allowed: true, message: "", warnings: [] };

/** An API server cuts longer ones off, and leaves out what is more than 4 KiB in all. */
const MAX_WARNING_LENGTH = 250;
const MAX_WARNINGS = 16;

/** Undefined when it is no review; `object` is undefined when there is nothing to judge, as at a DELETE. */
export function parseReview(
  body: string,
): { readonly uid: string; readonly request: AdmissionRequest | undefined } | undefined {
  const review = parseJson(body);
  if (!isRecord(review) || review.kind !== "AdmissionReview" || !isRecord(review.request)) return undefined;
  const { uid, operation, object, oldObject } = review.request;
  if (typeof uid !== "string" || uid === "") return undefined;
  if (typeof operation !== "string" || !isObject(object)) return { uid, request: undefined };
  return { uid, request: { uid, operation, object, oldObject: isObject(oldObject) ? oldObject : undefined } };
}

export function reviewAnswer(uid: string, { allowed, message, warnings }: Decision): string {
  const shown = warnings.slice(0, MAX_WARNINGS).map((text) => text.slice(0, MAX_WARNING_LENGTH));
  return JSON.stringify({
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    response: {
      uid,
      allowed,
      ...(allowed ? {} : { status: { code: 422, reason: "Invalid", message } }),
      ...(shown.length === 0 ? {} : { warnings: shown }),
    },
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isObject(value: unknown): value is KubeObject {
  return isRecord(value) && isRecord(value.metadata) && typeof value.metadata.name === "string";
}
