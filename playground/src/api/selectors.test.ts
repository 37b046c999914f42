import { describe, expect, it } from "vitest";
import type { Obj } from "./objects.ts";
import { formatSelector, matchesSelector, parseFieldSelector, parseLabelSelector } from "./selectors.ts";

describe("label selectors", () => {
  const labels = { app: "web", tier: "front" };
  it.each([
    ["app=web", true],
    ["app==web,tier!=back", true],
    ["app in (web, api)", true],
    ["app notin (web)", false],
    ["missing notin (x)", true],
    ["missing!=x", true],
    ["tier", true],
    ["!tier", false],
    ["app=web,missing", false],
  ])("%s is %s", (selector, expected) => {
    expect(parseLabelSelector(selector)(labels)).toBe(expected);
  });

  it("refuses what is no selector", () => {
    expect(() => parseLabelSelector("a~b")).toThrow('unable to parse label selector requirement: "a~b"');
  });

  it("matches and formats the structured form", () => {
    const selector = {
      matchLabels: { app: "web" },
      matchExpressions: [{ key: "tier", operator: "In", values: ["front"] }],
    };
    expect(matchesSelector(selector, labels)).toBe(true);
    expect(matchesSelector(selector, { app: "web" })).toBe(false);
    expect(matchesSelector(undefined, labels)).toBe(false);
    expect(formatSelector(selector)).toBe("app=web,tier in (front)");
  });
});

describe("field selectors", () => {
  const pod = { metadata: { name: "a" }, spec: { nodeName: "n1" } } as unknown as Obj;
  it("compares any path; an absent value is empty", () => {
    expect(parseFieldSelector("metadata.name=a,spec.nodeName!=n2")(pod)).toBe(true);
    expect(parseFieldSelector("status.phase=")(pod)).toBe(true);
    expect(parseFieldSelector("status.phase=Running")(pod)).toBe(false);
  });
});
