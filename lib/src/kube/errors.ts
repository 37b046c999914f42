import type { Status } from "./types.ts";

/**
 * A request that the Kubernetes API refused, or that never got an answer (`status` 0, `cause` says why).
 * Branch on `status` and `reason`, never on the message.
 */
export class KubeError extends Error {
  override readonly name = "KubeError";
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** Kubernetes' reason, such as `NotFound` or `AlreadyExists`; `Unreachable` when there was no answer. */
  readonly reason: string;
  /** Method and path of the request. */
  readonly path: string;

  constructor(status: number, reason: string, path: string, message: string, cause?: unknown) {
    super(`${path}: ${message}`, cause === undefined ? undefined : { cause });
    this.status = status;
    this.reason = reason;
    this.path = path;
  }

  static fromStatus(path: string, code: number, status: Status | undefined): KubeError {
    const reason = status?.reason ?? `Http${code}`;
    return new KubeError(code, reason, path, `${code} ${reason}: ${status?.message ?? "no message"}`);
  }
}

export function isNotFound(error: unknown): boolean {
  return error instanceof KubeError && error.status === 404;
}

/** Another writer was first (stale resourceVersion, or the name is taken). */
/** The API knows who asks, and does not let them. */
export function isForbidden(error: unknown): boolean {
  return error instanceof KubeError && error.status === 403;
}

export function isConflict(error: unknown): boolean {
  return error instanceof KubeError && error.status === 409;
}

/** The resourceVersion or continue token is too old: list again. */
export function isGone(error: unknown): boolean {
  return error instanceof KubeError && error.status === 410;
}

/** No usable way to the API; the message says what was looked for. */
export class KubeAccessError extends Error {
  override readonly name = "KubeAccessError";
}
