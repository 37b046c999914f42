/**
 * `make bench-waypoint`: the waypoint and its peers as proxies on one core, in alternating rounds of one run. A table for
 * people; one JSON object with JSON=1. ROUNDS: rounds per load and proxy.
 */
import { tables } from "./src/report.ts";
import { editFigures, measureEdits } from "./src/waypoint/edits.ts";
import { measureWaypoint, ratesTable, waypointFigures, waypointRates } from "./src/waypoint/measure.ts";

const DEFAULT_ROUNDS = 5;
const ROUND_SECONDS = 3;

const rounds = { count: Number(process.env.ROUNDS || DEFAULT_ROUNDS), seconds: ROUND_SECONDS };

/** Progress is for people who wait; results go to standard output. */
function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

try {
  const results = await measureWaypoint(rounds, progress);
  const edits = await measureEdits(rounds, progress);
  const figures = { ...waypointFigures(results), ...editFigures(edits) };
  if (process.env.JSON === "1") {
    process.stdout.write(`${JSON.stringify({ ...figures, ...waypointRates(results) })}\n`);
  } else {
    process.stdout.write(`\n${ratesTable(results)}\n${tables([], figures)}`);
  }
} catch (error) {
  progress(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
