/** What the commands of a playground share: its name, and the right to make one. */
import { Failure, UsageError } from "../../frame/errors.ts";
import type { Flag } from "../../frame/flags.ts";

export const NAME_FLAG = {
  type: "string",
  value: "NAME",
  about: "which playground (default: demo); several may run side by side",
} as const satisfies Flag;

export const DEFAULT_NAME = "demo";

/** Namespaces, cgroups and BPF are root's. */
export function needRoot(verb: string): void {
  if (process.getuid?.() !== 0) throw new Failure("a playground needs root", `run: sudo weft playground ${verb}`);
}

export function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new UsageError(`${option} ${text}: a whole number is expected`);
  return Number(text);
}
