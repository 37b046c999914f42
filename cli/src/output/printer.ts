/** Prints objects as `-o` asks. */
import { stringify } from "yaml";
import type { Format } from "../frame/flags.ts";
import { type Column, tableText } from "./table.ts";

export class Printer {
  readonly #write: (text: string) => void;
  readonly format: Format;

  constructor(format: Format, write: (text: string) => void) {
    this.format = format;
    this.#write = write;
  }

  /** Rows as a table, or as they are in JSON and YAML. `nothing` is what a table without rows says. */
  rows<T>(rows: readonly T[], columns: readonly Column<T>[], nothing: string): void {
    if (this.isData) this.data(rows);
    else if (rows.length === 0) this.#write(`${nothing}\n`);
    else this.#write(tableText(rows, columns, this.format === "wide"));
  }

  /** True when a program reads it: JSON or YAML. */
  get isData(): boolean {
    return this.format === "json" || this.format === "yaml";
  }

  data(value: unknown): void {
    // Aliases are for people who write YAML, not for those who read it.
    if (this.format === "yaml") this.#write(stringify(value, { aliasDuplicateObjects: false }));
    else this.#write(`${JSON.stringify(value, null, 2)}\n`);
  }
}
