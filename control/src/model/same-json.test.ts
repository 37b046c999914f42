import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, it } from "vitest";
import { sameJson } from "./same-json.ts";

it("finds two values of JSON the same when, and only when, the platform does", () => {
  const value = fc.jsonValue({ maxDepth: 3 });
  const near = fc
    .tuple(value, value)
    .chain(([a, b]) => fc.constantFrom([a, structuredClone(a)], [a, b], [{ a }, { b }]));
  fc.assert(
    fc.property(near, ([a, b]) => {
      const parsed = [a, b].map((each) => JSON.parse(JSON.stringify(each)) as unknown);
      expect(sameJson(parsed[0], parsed[1])).toBe(isDeepStrictEqual(parsed[0], parsed[1]));
    }),
  );
});

it("takes no member that every object has for one of the value", () => {
  expect(sameJson(JSON.parse('{"toString": 1}'), {})).toBe(false);
  expect(sameJson({}, JSON.parse('{"toString": 1}'))).toBe(false);
  expect(sameJson(JSON.parse('{"__proto__": {}}'), { x: 1 })).toBe(false);
});
