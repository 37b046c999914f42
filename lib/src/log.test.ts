import { describe, expect, test } from "vitest";
import { errorText, LevelFilter, type LogFormat, LogRoot } from "./log.ts";

function root(format: LogFormat, filter: string) {
  const lines: string[] = [];
  const log = new LogRoot({
    format,
    filter,
    destination: { write: (line) => lines.push(line), flushSync: () => undefined },
  });
  return { log, lines };
}

test("plain lines have time, level, scope, message and fields", () => {
  const { log, lines } = root("plain", "info");
  log.logger("a").warn("it failed", { pod: "n/p", count: 3, gone: undefined, error: new Error("x", { cause: "y" }) });
  expect(lines[0]).toMatch(
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\twarn\ta\tit failed\tpod="n\/p" count=3 error="x: y"\n$/,
  );
});

test("JSON lines have the same as fields", () => {
  const { log, lines } = root("json", "info");
  log.logger("a").error("it failed", { count: 3 });
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ level: "error", scope: "a", message: "it failed", count: 3 });
});

describe.each(["plain", "json"] as const)("levels of %s lines", (format) => {
  test("are by scope, and change while the process runs", () => {
    const { log, lines } = root(format, "warn,a=debug");
    log.logger("a").debug("1");
    log.logger("b").info("2");
    expect(lines).toHaveLength(1);
    log.setFilter("off");
    log.logger("a").error("3");
    expect(lines).toHaveLength(1);
    expect(() => log.setFilter("loud")).toThrow('log level "loud"');
    expect(log.filter).toBe("off");
    log.resetFilter();
    log.logger("a").debug("4");
    expect(lines).toHaveLength(2);
  });
});

test("filters are read leniently where meaning is clear", () => {
  const filter = LevelFilter.parse(" INFO , access=warning ,");
  expect([filter.enabled("x", "info"), filter.enabled("access", "info"), filter.enabled("access", "warn")]).toEqual([
    true,
    false,
    true,
  ]);
});

test("an error's causes are told on one line", () => {
  expect(errorText(new Error("a\nb", { cause: new Error("c", { cause: 7 }) }))).toBe("a b: c: 7");
});
