import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { REASONS } from "#lib/reasons.ts";
import { AgentMetrics, type MetricsSources } from "../../agent/src/telemetry/agent-metrics.ts";
import { TCP_LABELS } from "../../agent/src/telemetry/series.ts";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

/** Cells of the tables of a page. */
function rows(page: string): string[][] {
  return page
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("|--"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

describe("docs/reference", () => {
  it("reasons.md lists every reason with its number and flag", () => {
    const documented = rows(read("reasons.md"))
      .slice(1)
      .map(([number, reason, flag]) => [Number(number), reason?.replaceAll("`", ""), flag]);
    expect(documented).toEqual(Object.entries(REASONS).map(([reason, [number, flag]]) => [number, reason, flag]));
  });

  it("configuration.md names every variable that the agent reads, and none that nobody reads", () => {
    const source = read("../../agent/src/config.ts");
    const inSource = new Set(
      [...source.matchAll(/"((?:[A-Z][A-Z0-9]*_)+[A-Z0-9]+)"/g)]
        .map(([, name = ""]) => name)
        .filter((n) => !n.endsWith("_")),
    );
    for (const name of ["XDS", "CA"]) {
      for (const variable of [`${name}_ADDRESS`, `${name}_ROOT_CA`, `ALT_${name}_HOSTNAME`]) inSource.add(variable);
    }
    const section = read("configuration.md").split(/^## /m)[1] ?? "";
    const inDocs = new Set(
      rows(section)
        .flatMap(([cell = ""]) => [...cell.matchAll(/`([A-Z0-9_]+)`/g)])
        .map(([, name = ""]) => name),
    );
    for (const metadata of ["INSTANCE_IPS"]) inSource.delete(metadata);
    expect([...inDocs].filter((name) => !inSource.has(name) && !source.includes(name))).toEqual([]);
    expect([...inSource].filter((name) => !inDocs.has(name))).toEqual([]);
  });

  it("metrics.md lists the metrics of the agent, each with its type, and their labels", () => {
    const metrics = new AgentMetrics(NOTHING);
    const registered = metrics.registry.getMetricsAsArray().map(({ name, type }) => `${name} ${type}`);
    const page = read("metrics.md");
    const documented = rows(page)
      .filter(([name = ""]) => /^`\w+`$/.test(name))
      .map(([name = "", type]) => `${name.replaceAll("`", "")} ${type}`);
    expect(documented.sort()).toEqual(registered.sort());
    for (const label of TCP_LABELS) expect(page).toContain(`\`${label}\``);
  });
});

function none(): void {}

/** Enough to construct the metrics; nothing is scraped. */
const NOTHING = { pods: none, mesh: none, identities: none, connected: none } as unknown as MetricsSources;
