import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { httpRouteFacts } from "./http-route.ts";
import { compareCandidates, inPrecedence } from "./precedence.ts";

const match = fc.record({
  path: fc.record({
    type: fc.constantFrom("Exact", "PathPrefix", "RegularExpression"),
    value: fc.constantFrom("/", "/a", "/a/b"),
  }),
  method: fc.option(fc.constantFrom("GET", "POST"), { nil: undefined }),
  headers: fc.uniqueArray(fc.record({ name: fc.constantFrom("a", "b"), value: fc.constant("1") }), {
    selector: (h) => h.name,
  }),
});
const routes = fc
  .uniqueArray(
    fc.record({
      name: fc.constantFrom("a", "b", "c", "d"),
      second: fc.integer({ min: 0, max: 2 }),
      rules: fc.array(fc.record({ matches: fc.array(match, { minLength: 1, maxLength: 3 }) }), {
        minLength: 1,
        maxLength: 3,
      }),
    }),
    { selector: ({ name }) => name, maxLength: 4 },
  )
  .map((all) =>
    all.map(({ name, second, rules }) =>
      httpRouteFacts("HTTPRoute", {
        metadata: { namespace: "n", name, creationTimestamp: `2026-01-01T00:00:0${second}Z` },
        spec: { rules },
      }),
    ),
  );

describe("the precedence of rules", () => {
  it("is a total order that does not depend on where the routes stood before", () => {
    fc.assert(
      fc.property(routes, fc.infiniteStream(fc.nat()), (all, salt) => {
        const order = inPrecedence(all);
        const shuffled = all
          .map((route) => ({ route, key: salt.next().value as number }))
          .sort((a, b) => a.key - b.key)
          .map(({ route }) => route);
        const names = (list: typeof order) =>
          list.map(({ route, rule, matchIndex }) => [route.name, rule.index, matchIndex]);
        expect(names(inPrecedence(shuffled))).toEqual(names(order));
        const others = shuffled.filter(() => (salt.next().value as number) % 2 === 0);
        expect(names(inPrecedence(others, order))).toEqual(names(inPrecedence(others)));
        expect(names(inPrecedence(shuffled, inPrecedence(others)))).toEqual(names(order));
        for (const [i, a] of order.entries()) {
          for (const [j, b] of order.entries()) {
            expect(Math.sign(compareCandidates(a, b))).toBe(Math.sign(i - j));
          }
        }
      }),
    );
  });
});
