/** Runs h2spec, the conformance tests of HTTP/2 and HPACK, and reads what it found. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const H2SPEC = fileURLToPath(new URL("../../build/tools/h2spec", import.meta.url));
/** Of each answer that does not come; loaded machines are slow, and silence is never what a case waits for. */
const PATIENCE_S = "30";

export interface Case {
  /** Section and number in it, as h2spec takes them: `http2/6.9.1/3`. */
  readonly id: string;
  readonly title: string;
  /** What was expected and what came; absent: it passed. */
  readonly failure?: string;
}

/** All cases, the strict ones too. */
export async function h2spec(port: number, tls: boolean): Promise<Case[]> {
  const folder = await mkdtemp(join(tmpdir(), "weft-h2spec-"));
  const report = join(folder, "report.xml");
  const args = ["--strict", "--port", String(port), "--timeout", PATIENCE_S, "--junit-report", report];
  try {
    // Failed cases are an error of the process too; what counts is the report.
    const error = await run(H2SPEC, tls ? [...args, "--tls", "--insecure"] : args).then(() => undefined, String);
    return casesOf(
      await readFile(report, "utf8").catch((cause: unknown) => {
        throw new Error(`h2spec left no report: ${error}`, { cause });
      }),
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Of a report in JUnit's XML, as h2spec writes it: one line for a case that passed. */
function casesOf(report: string): Case[] {
  const counts = new Map<string, number>();
  const cases: Case[] = [];
  for (const [, section = "", title = "", rest = ""] of report.matchAll(
    /<testcase package="([^"]*)" classname="([^"]*)"[^>]*>(.*?)<\/testcase>/gs,
  )) {
    const number = (counts.get(section) ?? 0) + 1;
    counts.set(section, number);
    const failure = rest.replace(/<[^>]*>/g, " ").trim();
    cases.push({ id: `${section}/${number}`, title, ...(rest === "" ? {} : { failure }) });
  }
  return cases;
}
