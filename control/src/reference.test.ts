import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ControlMetrics } from "./metrics.ts";
import { MeshModel } from "./model/mesh-model.ts";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

/** Names in backquotes in the first cell of each row of a page's tables. */
function firstCells(page: string): string[] {
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));
  return rows.flatMap((row) => [...(row.split("|")[1] ?? "").matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name));
}

describe("docs/reference of the control plane", () => {
  it("lists every variable that is read, and none that nobody reads", () => {
    const source = read("config.ts");
    const inSource = new Set([...source.matchAll(/"([A-Z][A-Z0-9]*_[A-Z0-9_]+)"/g)].map(([, name]) => name));
    inSource.delete("DEFAULT_TRUST_DOMAIN");
    const section = read("../../docs/reference/configuration.md")
      .split(/^## /m)
      .find((part) => part.startsWith("Control plane"));
    const documented = new Set(firstCells(section ?? ""));
    documented.delete("KUBECONFIG");
    expect([...documented].sort()).toEqual([...inSource].sort());
  });

  it("lists every metric with its type", () => {
    const model = new MeshModel({} as never);
    const registered = new ControlMetrics(() => model).registry.getMetricsAsArray();
    const own = registered.filter(({ name }) => !/^(process|nodejs)_/.test(name)).map(({ name }) => name);
    expect(firstCells(read("../../docs/reference/control-metrics.md")).sort()).toEqual(own.sort());
  });
});
