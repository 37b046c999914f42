import { describe, expect, it } from "vitest";
import { durationMs } from "./duration.ts";

describe("a duration of the Gateway API", () => {
  it("adds its parts up, in any order and also twice", () => {
    expect(durationMs("1m30s")).toBe(90_000);
    expect(durationMs("10s1h10ms10s")).toBe(3_620_010);
    expect(durationMs("0s")).toBe(0);
  });

  it("has neither fractions nor bare numbers nor more than four parts", () => {
    for (const text of ["", "0", "1", "1.5s", "-1s", "100000s", "1s1s1s1s1s", "1d", " 1s"]) {
      expect(durationMs(text)).toBeUndefined();
    }
  });
});
