import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressPair, allocate } from "./ip-allocator.ts";

describe("allocate", () => {
  it("gives each host one address of each family, none that is taken, and the same ones again", () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.uniqueArray(fc.domain(), { maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 65_534 })),
        (owner, hosts, numbers) => {
          const taken = new Set(numbers.flatMap(addressPair));
          const given = allocate(owner, hosts, taken) ?? [];
          expect(given).toHaveLength(hosts.length * 2);
          expect(new Set(given.map(({ value }) => value)).size).toBe(given.length);
          for (const { value } of given) {
            expect(taken.has(value)).toBe(false);
            expect(value).toMatch(/^(240\.240\.\d+\.\d+|2001:2::[0-9a-f]+)$/);
          }
          expect(allocate(owner, hosts, taken)).toEqual(given);
        },
      ),
    );
  });

  it("says so when all are taken", () => {
    const taken = new Set(Array.from({ length: 65_534 }, (_, index) => addressPair(index + 1)[0]));
    expect(allocate("a/b", ["h"], taken)).toBeUndefined();
  });
});
