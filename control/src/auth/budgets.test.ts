import { expect, test } from "vitest";
import { Budgets } from "./budgets.ts";

test("who has used up its budget waits until it has grown again, and nobody else does", () => {
  let now = 0;
  const budgets = new Budgets({ burst: 2, perSecond: 1, maxKeys: 10, now: () => now });
  expect([budgets.take("a"), budgets.take("a"), budgets.take("a")]).toEqual([true, true, false]);
  expect([budgets.exhausted("a"), budgets.exhausted("b"), budgets.take("b")]).toEqual([true, false, true]);
  now += 1_000;
  expect([budgets.exhausted("a"), budgets.take("a"), budgets.take("a")]).toEqual([false, true, false]);
  now += 60_000;
  expect([budgets.take("a"), budgets.take("a"), budgets.take("a")]).toEqual([true, true, false]);
});

test("a flood of keys does not grow without bound", () => {
  const budgets = new Budgets({ burst: 1, perSecond: 0, maxKeys: 2 });
  for (const key of ["a", "b", "c"]) budgets.take(key);
  expect(["a", "b", "c"].map((key) => budgets.exhausted(key))).toEqual([false, true, true]);
});
