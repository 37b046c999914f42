/** Names of gRPC's status codes, by number. */
const NAMES = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
] as const;

/** `NotFound`, or `NOT_FOUND`; the number when it has no name; undefined for -1. */
export function grpcStatusText(code: number, snake = false): string | undefined {
  if (code < 0) return undefined;
  const name = NAMES[code];
  if (name === undefined) return String(code);
  return snake ? name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase() : name;
}
