import { Counter, Registry } from "prom-client";
import { expect, test } from "vitest";
import { MetricsPage } from "./metrics.ts";

test("the form is the one that the scraper asks for, also when two ask at once", async () => {
  const registry = new Registry();
  new Counter({ name: "x_total", help: "x", registers: [registry] }).inc(3);
  const page = new MetricsPage(registry);
  const [plain, open] = await Promise.all([
    page.render(undefined),
    page.render("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"),
  ]);
  expect(plain.contentType).toBe("text/plain; charset=utf-8");
  expect(plain.body).toContain("# TYPE x_total counter\nx_total 3\n");
  expect(open.contentType).toContain("application/openmetrics-text");
  expect(open.body).toContain("# TYPE x counter\nx_total 3\n# EOF\n");
});
