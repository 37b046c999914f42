/** Formats and expressions are refused where they are written, not where they are executed. */
import { CelError, type CelExpression, compileCel, compileFilter } from "#lib/telemetry/cel.ts";
import { FormatError, parseFormat, parseJsonFormat } from "#lib/telemetry/format.ts";
import type { Fields } from "../../model/fields.ts";

export function checkFilter(fields: Fields, name: string, text: string): CelExpression | undefined {
  return attempt(fields, name, () => compileFilter(text));
}

export function checkExpression(fields: Fields, name: string, text: string): CelExpression | undefined {
  return attempt(fields, name, () => compileCel(text));
}

export function checkText(fields: Fields, name: string, text: string): boolean {
  return attempt(fields, name, () => parseFormat(text)) !== undefined;
}

export function checkJson(fields: Fields, name: string, value: () => unknown): boolean {
  return attempt(fields, name, () => parseJsonFormat(value())) !== undefined;
}

function attempt<T>(fields: Fields, name: string, make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof FormatError || error instanceof CelError || error instanceof SyntaxError)) throw error;
    fields.problem(name, error.message);
    return undefined;
  }
}
