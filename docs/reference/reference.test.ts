import { readFileSync } from "node:fs";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { REASONS } from "#lib/reasons.ts";
import { ATTRIBUTES } from "#lib/telemetry/attributes.ts";
import { DEFAULT_JSON_FORMAT } from "#lib/telemetry/default-format.ts";
import { OPERATORS } from "#lib/telemetry/operators.ts";
import { AgentMetrics, type MetricsSources } from "../../agent/src/telemetry/agent-metrics.ts";
import { TCP_LABELS } from "../../agent/src/telemetry/series.ts";
import { HTTP_LABELS } from "../../waypoint/src/telemetry/labels.ts";
import { registerProxyMetrics } from "../../waypoint/src/telemetry/proxy-metrics.ts";
import { TrafficMetrics } from "../../waypoint/src/telemetry/traffic-metrics.ts";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

/** How lib/src/kube finds the API. */
const READ_BY_LIB = ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"];

/** What every line of the log has. */
const ALL_LINES: ReadonlySet<string> = new Set(["level", "time", "scope", "message"]);

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

  it.each([
    ["agent", "## Agent"],
    ["control", "## Control plane"],
  ])("configuration.md names every variable that the %s reads, and none that nobody reads", (part, heading) => {
    // What clients of the control plane have in common is read in lib.
    const shared = part === "agent" ? ["../../lib/src/xds/peer.ts", "../../lib/src/env.ts"].map(read) : [];
    const source = [read(`../../${part}/src/config.ts`), ...shared].join("\n");
    const quoted = [...source.matchAll(/"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|NETWORK)"/g)].map(([, name = ""]) => name);
    const inSource = new Set([...quoted, ...READ_BY_LIB]);
    for (const prefix of part === "agent" ? ["XDS", "CA"] : []) {
      for (const name of [`${prefix}_ADDRESS`, `${prefix}_ROOT_CA`, `ALT_${prefix}_HOSTNAME`]) inSource.add(name);
    }
    const section = read("configuration.md").split(heading)[1]?.split("\n## ")[0] ?? "";
    const cells = rows(section).map(([cell = ""]) => cell);
    const inDocs = new Set(cells.flatMap((cell) => [...cell.matchAll(/`([A-Z0-9_]+)`/g)]).map(([, name = ""]) => name));
    expect([...inDocs].filter((name) => !inSource.has(name))).toEqual([]);
    expect(quoted.filter((name) => !inDocs.has(name))).toEqual([]);
  });

  it("peer-redirect.md lists every reason why it is off", () => {
    const sources = ["redirect", "redirect_device", "redirect_survey"].map((name) =>
      read(`../../native/src/bpf/${name}.cc`),
    );
    // Texts are put together from names and pieces in quotes; the longest piece of each stands for it.
    const reasons = sources.flatMap((source) => [
      ...[...source.matchAll(/ENODEV, (.*?)\};/gs)].map(([, text = ""]) => text),
      ...[...source.matchAll(/return ("(?:a|an|the) .*?);/gs)].map(([, text = ""]) => text),
      ...[...source.matchAll(/unavailable_ = (".*?);/g)].map(([, text = ""]) => text.replace(/;.*/, "")),
    ]);
    const pieces = reasons.map((text) => {
      const quoted = [...text.matchAll(/"([^"]+)"?/g)].map(([, piece = ""]) => piece.trim());
      return quoted.reduce((longest, piece) => (piece.length > longest.length ? piece : longest), "");
    });
    expect(pieces.length).toBeGreaterThan(12);
    const page = read("peer-redirect.md");
    expect(pieces.filter((piece) => !page.includes(piece))).toEqual([]);
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

  it("access-log.md lists the fields of the agent's lines", () => {
    const sources = ["access-log.ts", "direct-attribution.ts", "direct-telemetry.ts"].map((name) =>
      read(`../../agent/src/telemetry/${name}`),
    );
    const objects = sources.map(
      (source) => source.split("function jsonFields")[1]?.split("return {")[1]?.split("\n}\n")[0] ?? "",
    );
    const written = [
      ...objects.flatMap((source) => [...source.matchAll(/^ {4}"?([a-z_.]+)"?(?=[:,])/gm)]),
      ...sources.flatMap((source) => [...source.matchAll(/,"([a-z_.]+)":/g)]),
    ].filter(([, name = ""]) => !ALL_LINES.has(name));
    const fields = rows(read("access-log.md")).flatMap(([cell = ""]) => [...cell.matchAll(/`([a-z_.]+)`/g)]);
    const names = (matches: RegExpMatchArray[]): string[] => [...new Set(matches.map(([, name = ""]) => name))].sort();
    expect(names(fields)).toEqual(names(written));
  });

  it("waypoint-metrics.md lists the metrics of waypoints, each with its type, and their labels", () => {
    const registry = new Registry();
    new TrafficMetrics(() => new Uint8Array()).register(registry);
    registerProxyMetrics(registry, {
      stats: none,
      linesDropped: zero,
      spansSent: zero,
      spansDropped: zero,
      tag: "",
    } as never);
    const registered = registry.getMetricsAsArray().map(({ name, type }) => `${name} ${type}`);
    const page = read("waypoint-metrics.md");
    const documented = rows(page)
      .filter(([name = ""]) => /^`\w+`$/.test(name))
      .map(([name = "", type]) => `${name.replaceAll("`", "")} ${type}`);
    expect(documented.sort()).toEqual(registered.sort());
    const labels = [...(page.split("Labels, in this order:")[1] ?? "").matchAll(/`(\w+)`[\s,(]/g)].map(
      ([, name]) => name,
    );
    expect(
      labels
        .filter((name) => (HTTP_LABELS as readonly (string | undefined)[]).includes(name))
        .slice(0, HTTP_LABELS.length),
    ).toEqual(HTTP_LABELS);
  });

  it("waypoint-access-log.md lists operators, keys and attributes", () => {
    const page = read("waypoint-access-log.md");
    const quoted = new Set([...page.matchAll(/`([A-Z_0-9]+)`/g)].map(([, name = ""]) => name));
    expect(Object.keys(OPERATORS).filter((name) => !quoted.has(name))).toEqual([]);
    const cells = rows(page).map(([key = "", value = ""]) => [key.replaceAll("`", ""), value.replaceAll("`", "")]);
    for (const [key, operator] of Object.entries(DEFAULT_JSON_FORMAT)) expect(cells).toContainEqual([key, operator]);
    for (const [root, fields] of Object.entries(ATTRIBUTES)) {
      expect(cells).toContainEqual([root, Object.keys(fields).join(", ")]);
    }
  });

  it("admin.md lists the requests that the agent answers", () => {
    const own = read("../../agent/src/admin/admin.ts").split("export function metricsRoutes")[0] ?? "";
    const source = own + read("../../lib/src/admin-routes.ts").split("export function metricsRoutes")[0];
    const answered = [...source.matchAll(/"((?:GET|POST) \/\w+)":/g)].map(([, request]) => request);
    const documented = rows(read("admin.md")).map(([cell = ""]) => cell.replaceAll("`", ""));
    expect(documented.filter((cell) => /^(GET|POST) /.test(cell))).toEqual(answered);
  });
});

function none(): void {}
function zero(): number {
  return 0;
}

/** Enough to construct the metrics; nothing is scraped. */
const NOTHING = { pods: none, mesh: none, identities: none, connected: none } as unknown as MetricsSources;
