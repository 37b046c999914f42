import fc from "fast-check";
import { Counter, Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { samples } from "./prometheus-text.ts";

describe("the text format of Prometheus", () => {
  it("is read as prom-client writes it, whatever the label values are", async () => {
    const value = fc.string({ unit: "grapheme" });
    await fc.assert(
      fc.asyncProperty(value, value, fc.nat(), async (a, b, count) => {
        const registry = new Registry();
        const counter = new Counter({
          name: "requests_total",
          help: "h",
          labelNames: ["a", "b"],
          registers: [registry],
        });
        counter.inc({ a, b }, count);
        expect([...samples(await registry.metrics())]).toEqual([
          { name: "requests_total", labels: { a, b }, value: count },
        ]);
      }),
      { numRuns: 100, examples: [["\r", "\u2028", 1]] },
    );
  });

  it("may have samples without labels, times, and lines that are none", () => {
    expect([...samples("# HELP a b\na 1\nb{} 2 1700000000\n\nnonsense\n")]).toEqual([
      { name: "a", labels: {}, value: 1 },
      { name: "b", labels: {}, value: 2 },
    ]);
  });
});
