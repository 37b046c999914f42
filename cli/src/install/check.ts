/** One thing that was looked at before an installation: a line with what is wrong and what to do. */

export type Severity = "ok" | "warning" | "error";

export interface Check {
  readonly severity: Severity;
  readonly what: string;
  readonly todo?: string;
}

export function ok(what: string): Check {
  return { severity: "ok", what };
}

export function warning(what: string, todo: string): Check {
  return { severity: "warning", what, todo };
}

export function error(what: string, todo: string): Check {
  return { severity: "error", what, todo };
}
