/** Text for a terminal: tables and headings, coloured only where somebody looks at a terminal. */

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Style = keyof typeof CODES;

export interface Cell {
  readonly text: string;
  readonly style?: Style;
  readonly align?: "right";
}

export class Layout {
  readonly #coloured: boolean;

  constructor(coloured: boolean) {
    this.#coloured = coloured;
  }

  paint(text: string, style: Style | undefined): string {
    return style === undefined || !this.#coloured ? text : `\u001b[${CODES[style]}m${text}\u001b[0m`;
  }

  heading(text: string): string {
    return `\n${this.paint(text, "bold")}`;
  }

  /** Columns as wide as their widest cell; the head is underlined. */
  table(head: readonly string[], rows: readonly (readonly (Cell | string)[])[]): string {
    const cells = rows.map((row) => row.map((cell) => (typeof cell === "string" ? { text: cell } : cell)));
    const widths = head.map((title, i) => Math.max(width(title), ...cells.map((row) => width(row[i]?.text ?? ""))));
    const titles = head.map((title, i) => this.paint(pad(title, widths[i] ?? 0), "dim")).join("  ");
    const rule = this.paint(widths.map((n) => "─".repeat(n)).join("  "), "dim");
    const lines = cells.map((row) => this.#line(row, widths));
    return `${["", titles.trimEnd(), rule, ...lines].map((line) => `  ${line}`.trimEnd()).join("\n")}\n`;
  }

  #line(row: readonly Cell[], widths: readonly number[]): string {
    return row
      .map((cell, i) => this.paint(pad(cell.text, widths[i] ?? 0, cell.align), cell.style))
      .join("  ")
      .trimEnd();
  }
}

/** 1234567 → `1.2 MB`. */
export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  if (count < 1e6) return `${(count / 1e3).toFixed(1)} kB`;
  return `${(count / 1e6).toFixed(1)} MB`;
}

/** Characters, not UTF-16 units; nothing here is wider than one column. */
function width(text: string): number {
  return [...text].length;
}

function pad(text: string, to: number, align?: "right"): string {
  const fill = " ".repeat(Math.max(to - width(text), 0));
  return align === "right" ? fill + text : text + fill;
}
