/** Figures from comparisons, as a table for people or one JSON object. */
import { AIMS, type Figure, type FigureName, figure, isFigure } from "./aims.ts";
import type { Load } from "./loads.ts";
import type { Comparison, Measured } from "./rounds.ts";

export type Figures = Readonly<Partial<Record<FigureName, Figure>>>;

const BYTES_PER_GB = 1e9;
const REQUESTS_PER_UNIT = 100_000;

/** Ratios to no mesh, `<path>.<load>`; a load or a path that was not run leaves its names out. */
export function ratios(comparisons: readonly Comparison[]): Figures {
  const figures: Partial<Record<FigureName, Figure>> = {};
  const add = (name: string, value: number): void => {
    if (isFigure(name)) figures[name] = figure(name, value);
  };
  for (const { load, plain, paths } of comparisons) {
    for (const [path, measured] of Object.entries(paths)) {
      add(`${path}.${load}`, measured.value / plain.value);
      const cpu = CPU_NAMES[load];
      if (cpu !== undefined) add(`${path}.${cpu}`, measured.cpuPerWork / plain.cpuPerWork);
    }
  }
  return figures;
}

const CPU_NAMES: Readonly<Partial<Record<Load["name"], string>>> = {
  throughput: "cpu_per_gb",
  requests: "cpu_per_request",
};

/** One table per set of comparisons with the same paths, then the figures beside their aims. */
export function tables(sets: readonly (readonly Comparison[])[], figures: Figures): string {
  const aims = [["figure", "value", "aim", "", "what"], ...Object.entries(figures).map(figureRow)];
  return [...sets.map(measuredTable), columns(aims)].map((text) => `${text}\n`).join("\n");
}

function measuredTable(comparisons: readonly Comparison[]): string {
  const paths = Object.keys(comparisons[0]?.paths ?? {});
  return columns([["load", "no mesh", ...paths, "unit"], ...comparisons.flatMap(measuredRows)]);
}

function measuredRows({ load, unit, plain, paths }: Comparison): string[][] {
  const sides: Measured[] = [plain, ...Object.values(paths)];
  const [scale, cpuUnit] = load === "throughput" ? [BYTES_PER_GB, "CPU s/GB"] : [REQUESTS_PER_UNIT, "CPU s/100,000"];
  return [
    [load, ...sides.map(({ value }) => number(value)), unit],
    ["", ...sides.map(({ cpuPerWork }) => number(cpuPerWork * scale)), cpuUnit],
  ];
}

function figureRow([name, { value, aim, met, unit }]: [string, Figure]): string[] {
  const { bound, title } = AIMS[name as FigureName];
  const short = unit.startsWith("ratio") ? "×" : ` ${unit}`;
  return [name, `${number(value)}${short}`, `${bound} ${aim}`, met ? "met" : "MISSED", title];
}

function number(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}

/** Cells below each other. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows.reduce<number[]>((sofar, row) => row.map((cell, i) => Math.max(sofar[i] ?? 0, cell.length)), []);
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
