/**
 * `make bench-control`: the control plane with a large mesh and many agents. A table for people; one JSON object with
 * JSON=1. PODS, SERVICES and NODES: another size than the aims are for.
 */
import { CONTROL_SIZE, controlFigures, controlTable, measureControl } from "./src/control/measure.ts";
import { tables } from "./src/report.ts";

const number = (name: string, fallback: number): number => Number(process.env[name] || fallback);
const size = {
  services: number("SERVICES", CONTROL_SIZE.services),
  pods: number("PODS", CONTROL_SIZE.pods),
  nodes: number("NODES", CONTROL_SIZE.nodes),
};

/** Progress is for people who wait; results go to standard output. */
function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

try {
  const results = await measureControl(size, progress);
  const figures = controlFigures(results);
  process.stdout.write(
    process.env.JSON === "1" ? `${JSON.stringify(figures)}\n` : `\n${tables([], figures)}\n${controlTable(results)}`,
  );
} catch (error) {
  progress(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
