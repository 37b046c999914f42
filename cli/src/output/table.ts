/** Tables as kubectl prints them: columns under capital titles, two or more spaces between. */
import { stripVTControlCharacters } from "node:util";

export interface Column<T> {
  readonly title: string;
  readonly of: (row: T) => string | number | undefined;
  /** Only with `-o wide`. */
  readonly wide?: boolean;
}

const GAP = "   ";
/** What an empty cell shows, so that columns can be counted. */
const NOTHING = "-";

export function tableText<T>(rows: readonly T[], columns: readonly Column<T>[], isWide: boolean): string {
  const shown = columns.filter(({ wide }) => wide !== true || isWide);
  const cells = [shown.map(({ title }) => title), ...rows.map((row) => shown.map(({ of }) => cellText(of(row))))];
  const widths = shown.map((_, i) => Math.max(...cells.map((line) => visibleLength(line[i] ?? ""))));
  const lines = cells.map((line) => line.map((cell, i) => padded(cell, widths[i] ?? 0)).join(GAP));
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

function cellText(value: string | number | undefined): string {
  return value === undefined || value === "" ? NOTHING : String(value);
}

function padded(cell: string, width: number): string {
  return cell + " ".repeat(width - visibleLength(cell));
}

function visibleLength(cell: string): number {
  return stripVTControlCharacters(cell).length;
}
