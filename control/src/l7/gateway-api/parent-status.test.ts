import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RouteParentStatus } from "#lib/kube/types.ts";
import { MESH_CONTROLLER } from "./controller.ts";
import { mergedParents, type ParentVerdict } from "./parent-status.ts";

function verdict(name: string, status: "True" | "False" = "True", more: string[] = []): ParentVerdict {
  const written = { group: "", kind: "Service", name };
  const condition = (type: string) => ({ type, status, reason: "R", message: "m" });
  return {
    parent: { written },
    conditions: ["Accepted", "ResolvedRefs", ...more].map(condition),
  };
}

const THEIRS: RouteParentStatus = {
  parentRef: { name: "gw", odd: [1] },
  controllerName: "example.com/other",
  conditions: [{ type: "Accepted", status: "True", observedGeneration: 99 }],
};

describe("status.parents", () => {
  it("gets an entry for each of our parents, with the generation in every condition", () => {
    const merged = mergedParents([THEIRS], [verdict("a"), verdict("b", "False")], 3, "T1") ?? [];
    expect(merged[0]).toBe(THEIRS);
    expect(merged.slice(1).map(({ parentRef, controllerName }) => [parentRef, controllerName])).toEqual([
      [{ group: "", kind: "Service", name: "a" }, MESH_CONTROLLER],
      [{ group: "", kind: "Service", name: "b" }, MESH_CONTROLLER],
    ]);
    const conditions = merged.slice(1).flatMap((entry) => entry.conditions ?? []);
    expect(
      conditions.every(
        ({ observedGeneration, lastTransitionTime }) => observedGeneration === 3 && lastTransitionTime === "T1",
      ),
    ).toBe(true);
  });

  it("keeps the time of a condition whose status stays, and takes PartiallyInvalid away when it ends", () => {
    const first = mergedParents([], [verdict("a", "True", ["PartiallyInvalid"])], 1, "T1") ?? [];
    const second = mergedParents(first, [verdict("a")], 2, "T2") ?? [];
    expect(
      second[0]?.conditions?.map(({ type, lastTransitionTime, observedGeneration }) => [
        type,
        lastTransitionTime,
        observedGeneration,
      ]),
    ).toEqual([
      ["Accepted", "T1", 2],
      ["ResolvedRefs", "T1", 2],
    ]);
    const third = mergedParents(second, [verdict("a", "False")], 2, "T3") ?? [];
    expect(third[0]?.conditions?.[0]).toMatchObject({ status: "False", lastTransitionTime: "T3" });
  });

  it("loses our entries for parents that are gone, and nothing of others", () => {
    const first = mergedParents([THEIRS], [verdict("a")], 1, "T1") ?? [];
    expect(mergedParents(first, [], 2, "T2")).toEqual([THEIRS]);
  });

  it("is left alone when another replica has seen a newer version", () => {
    const first = mergedParents([], [verdict("a")], 5, "T1") ?? [];
    expect(mergedParents(first, [verdict("b")], 4, "T2")).toBeUndefined();
  });

  it("is the same however often it is merged, and never touches what others wrote", () => {
    const entry = fc.record({
      parentRef: fc.record({
        name: fc.constantFrom("a", "b", "c"),
        group: fc.constant(""),
        kind: fc.constant("Service"),
      }),
      controllerName: fc.constantFrom(MESH_CONTROLLER, "x.io/y"),
      conditions: fc.array(
        fc.record({ type: fc.constantFrom("Accepted", "Own"), status: fc.constantFrom("True", "False") }),
      ),
    }) as fc.Arbitrary<RouteParentStatus>;
    const verdicts = fc
      .uniqueArray(fc.constantFrom("a", "b", "c"))
      .chain((names) =>
        fc.tuple(
          ...names.map((name) => fc.constantFrom("True" as const, "False" as const).map((s) => verdict(name, s))),
        ),
      );
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), verdicts, (present, wanted) => {
        const merged = mergedParents(present, wanted, 1, "T1") ?? present;
        expect(mergedParents(merged, wanted, 1, "T2")).toBeUndefined();
        const others = (list: readonly RouteParentStatus[]) =>
          list.filter(({ controllerName }) => controllerName !== MESH_CONTROLLER);
        expect(others(merged)).toEqual(others(present));
      }),
    );
  });
});
