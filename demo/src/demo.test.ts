import { describe, expect, it } from "vitest";
import { Claims, must } from "./claims.ts";
import { bytes, Layout } from "./layout.ts";
import { parseMetrics, sumOf } from "./metrics-text.ts";

describe("Layout", () => {
  const rows = [
    ["productpage", { text: "12", align: "right" as const }],
    ["a", { text: "3", style: "red" as const, align: "right" as const }],
  ];

  it("aligns columns and writes no escape sequences without a terminal", () => {
    expect(new Layout(false).table(["from", "bytes"], rows)).toBe(
      "  from         bytes\n  ───────────  ─────\n  productpage     12\n  a                3\n",
    );
  });

  it("paints on a terminal", () => {
    expect(new Layout(true).table(["from", "bytes"], rows)).toContain("\u001b[31m    3\u001b[0m");
  });

  it("names sizes", () => {
    expect([999, 1234, 1_234_567].map(bytes)).toEqual(["999 B", "1.2 kB", "1.2 MB"]);
  });
});

describe("Claims", () => {
  it("records what held, what did not, and why", async () => {
    const told: string[] = [];
    const claims = new Claims((claim) => told.push(claim.text));
    await claims.check("one is one", () => "seen 1");
    await claims.check("one is two", () => {
      must(1 + 1 === 3, "it is not");
      return "never";
    });
    expect(told).toEqual(["one is one", "one is two"]);
    expect(claims.failed).toEqual([{ text: "one is two", holds: false, seen: "it is not" }]);
    expect(claims.all).toHaveLength(2);
  });
});

describe("parseMetrics", () => {
  it("reads names, labels with escapes and values, and sums over labels", () => {
    const samples = parseMetrics(
      '# HELP a b\n# TYPE a counter\na{x="1",y="q\\"}z"} 2\na{x="1",y="other"} 3 1700000000\nplain 4\n# EOF\n',
    );
    expect(samples[0]).toEqual({ name: "a", labels: { x: "1", y: 'q"}z' }, value: 2 });
    expect(sumOf(samples, "a", { x: "1" })).toBe(5);
    expect(sumOf(samples, "plain", {})).toBe(4);
  });
});
