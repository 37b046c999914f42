import { describe, expect, it } from "vitest";
import { meetsRequirement } from "./requirement.ts";

describe("a selector's requirement", () => {
  it.each([
    ["In", ["a", "b"], "a", true],
    ["In", ["a", "b"], "c", false],
    ["In", ["a", "b"], undefined, false],
    ["NotIn", ["a"], "a", false],
    ["NotIn", ["a"], "b", true],
    ["NotIn", ["a"], undefined, true],
    ["Exists", undefined, "", true],
    ["Exists", undefined, undefined, false],
    ["DoesNotExist", undefined, "", false],
    ["DoesNotExist", undefined, undefined, true],
    ["Gt", ["1"], "2", false],
  ])("%s %j of %j is %j", (operator, values, value, met) => {
    expect(meetsRequirement(value, { operator, ...(values && { values }) })).toBe(met);
  });
});
