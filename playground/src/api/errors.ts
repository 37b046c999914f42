/** Failures of API requests, in the shape that clients of Kubernetes know. */

export interface StatusCause {
  reason: string;
  message: string;
  field: string;
}

export interface Status {
  kind: "Status";
  apiVersion: "v1";
  metadata: Record<string, unknown>;
  status: "Failure" | "Success";
  message?: string;
  reason?: string;
  details?: Record<string, unknown>;
  code: number;
}

/** A refused request. `reason` is Kubernetes' word for it, `code` the HTTP status. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: number;
  readonly reason: string;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: number, reason: string, message: string, details?: Record<string, unknown>) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  toStatus(): Status {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      reason: this.reason,
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    };
  }
}

interface Named {
  readonly group: string;
  readonly plural: string;
  readonly kind?: string;
}

/** `deployments.apps`, or `pods` for the core group. */
export function qualified(resource: Named): string {
  return resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
}

function details(resource: Named, name: string, causes?: readonly StatusCause[]): Record<string, unknown> {
  return { name, group: resource.group, kind: resource.plural, ...(causes === undefined ? {} : { causes }) };
}

export function notFound(resource: Named, name: string): ApiError {
  return new ApiError(404, "NotFound", `${qualified(resource)} "${name}" not found`, details(resource, name));
}

export function alreadyExists(resource: Named, name: string): ApiError {
  const message = `${qualified(resource)} "${name}" already exists`;
  return new ApiError(409, "AlreadyExists", message, details(resource, name));
}

export function conflict(resource: Named, name: string, why: string): ApiError {
  const message = `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`;
  return new ApiError(409, "Conflict", message, details(resource, name));
}

export const STALE = "the object has been modified; please apply your changes to the latest version and try again";

/** 422 that lists every field that is wrong. */
export function invalid(resource: Named, name: string, causes: readonly StatusCause[]): ApiError {
  const list = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const text = list.length === 1 ? list[0] : `[${list.join(", ")}]`;
  const what = `${resource.kind ?? resource.plural}${resource.group === "" ? "" : `.${resource.group}`}`;
  return new ApiError(422, "Invalid", `${what} "${name}" is invalid: ${text}`, details(resource, name, causes));
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, "BadRequest", message);
}

export function forbidden(message: string): ApiError {
  return new ApiError(403, "Forbidden", message);
}

export function gone(message: string): ApiError {
  return new ApiError(410, "Expired", message);
}

/** For what this API server does not do; the message says so in plain words. */
export function notOffered(what: string): ApiError {
  return new ApiError(405, "MethodNotAllowed", `the playground does not offer ${what}`);
}

/** Collects field errors of one object. */
export class FieldErrors {
  readonly causes: StatusCause[] = [];

  required(field: string, hint = ""): void {
    this.causes.push({ reason: "FieldValueRequired", message: `Required value${hint && `: ${hint}`}`, field });
  }

  invalid(field: string, value: unknown, why: string): void {
    const message = `Invalid value: ${JSON.stringify(value)}: ${why}`;
    this.causes.push({ reason: "FieldValueInvalid", message, field });
  }

  duplicate(field: string, value: unknown): void {
    this.causes.push({
      reason: "FieldValueDuplicate",
      message: `Duplicate value: ${JSON.stringify(value)}`,
      field,
    });
  }

  unsupported(field: string, value: unknown, allowed: readonly unknown[]): void {
    const list = allowed.map((each) => JSON.stringify(each)).join(", ");
    const message = `Unsupported value: ${JSON.stringify(value)}: supported values: ${list}`;
    this.causes.push({ reason: "FieldValueNotSupported", message, field });
  }

  throwIfAny(resource: Named, name: string): void {
    if (this.causes.length > 0) throw invalid(resource, name, this.causes);
  }
}
