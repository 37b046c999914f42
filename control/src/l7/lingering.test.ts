import { expect, it } from "vitest";
import { Lingering } from "./lingering.ts";

it("keeps who has left for a while, unless they come back", () => {
  let now = 0;
  const set = new Lingering(10, () => now);
  set.set(["a", "b"]);
  set.set(["b"]);
  now = 5;
  set.set(["c"]);
  expect([...set.members()].sort()).toEqual(["a", "b", "c"]);
  now = 11;
  expect([...set.members()].sort()).toEqual(["b", "c"]);
  set.set(["b"]);
  now = 30;
  expect([...set.members()]).toEqual(["b"]);
  expect(set.waits).toBe(false);
});
