/** Dials all targets of the JSON in argv[2] at once, and prints what came of each as JSON. */
import { type DialTarget, dial } from "./dial.ts";

const targets = JSON.parse(process.argv[2] ?? "[]") as DialTarget[];
process.stdout.write(JSON.stringify(await Promise.all(targets.map(dial))));
