/** Figures from comparisons, as a table for people or one JSON object. */
import { AIMS, type Figure, type FigureName, figure } from "./aims.ts";
import type { Load } from "./loads.ts";
import type { Comparison } from "./rounds.ts";

export type Figures = Readonly<Partial<Record<FigureName, Figure>>>;

const BYTES_PER_GB = 1e9;
const REQUESTS_PER_UNIT = 100_000;

/** Ratios of the comparisons; a load that was not run leaves its names out. */
export function tunnelFigures(comparisons: readonly Comparison[]): Figures {
  const figures: Partial<Record<FigureName, Figure>> = {};
  for (const { load, plain, mesh } of comparisons) {
    figures[`tunnel.${load}`] = figure(`tunnel.${load}`, mesh.value / plain.value);
    const cpuName = CPU_NAMES[load];
    if (cpuName !== undefined) figures[cpuName] = figure(cpuName, mesh.cpuPerWork / plain.cpuPerWork);
  }
  return figures;
}

const CPU_NAMES: Readonly<Partial<Record<Load["name"], FigureName>>> = {
  throughput: "tunnel.cpu_per_gb",
  requests: "tunnel.cpu_per_request",
};

export function table(comparisons: readonly Comparison[], figures: Figures): string {
  const measured = [["load", "no mesh", "mesh", "unit"], ...comparisons.flatMap(measuredRows)];
  const aims = [["figure", "value", "aim", "", "what"], ...Object.entries(figures).map(figureRow)];
  return `${columns(measured)}\n\n${columns(aims)}\n`;
}

function measuredRows({ load, unit, plain, mesh }: Comparison): string[][] {
  const rows = [[load, number(plain.value), number(mesh.value), unit]];
  const [scale, cpuUnit] = load === "throughput" ? [BYTES_PER_GB, "CPU s/GB"] : [REQUESTS_PER_UNIT, "CPU s/100,000"];
  rows.push(["", number(plain.cpuPerWork * scale), number(mesh.cpuPerWork * scale), cpuUnit]);
  return rows;
}

function figureRow([name, { value, aim, met, unit }]: [string, Figure]): string[] {
  const { bound, title } = AIMS[name as FigureName];
  const short = unit.startsWith("ratio") ? "×" : ` ${unit}`;
  return [name, `${number(value)}${short}`, `${bound} ${aim}`, met ? "met" : "MISSED", title];
}

function number(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}

function columns(rows: readonly (readonly string[])[]): string {
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
