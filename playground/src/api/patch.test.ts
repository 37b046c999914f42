import { describe, expect, it } from "vitest";
import { jsonPatch, mergePatch, strategicMergePatch } from "./patch.ts";

describe("merge patch", () => {
  it("replaces, removes by null and keeps the rest", () => {
    expect(mergePatch({ a: 1, b: { c: 2, d: 3 } }, { b: { c: null, e: 4 } })).toEqual({ a: 1, b: { d: 3, e: 4 } });
  });

  it("replaces lists whole and leaves its arguments alone", () => {
    const target = { list: [1, 2] };
    expect(mergePatch(target, { list: [3] })).toEqual({ list: [3] });
    expect(target).toEqual({ list: [1, 2] });
  });
});

describe("JSON patch", () => {
  it("adds, replaces, removes, moves and copies", () => {
    const result = jsonPatch({ a: [1, 2], b: { "c/d": 1 } }, [
      { op: "add", path: "/a/-", value: 3 },
      { op: "replace", path: "/b/c~1d", value: 2 },
      { op: "remove", path: "/a/0" },
      { op: "copy", from: "/b", path: "/e" },
      { op: "move", from: "/a", path: "/f" },
    ]);
    expect(result).toEqual({ b: { "c/d": 2 }, e: { "c/d": 2 }, f: [2, 3] });
  });

  it("refuses a test that fails and a path that is not there", () => {
    expect(() => jsonPatch({ a: 1 }, [{ op: "test", path: "/a", value: 2 }])).toThrow("test of /a failed");
    expect(() => jsonPatch({}, [{ op: "remove", path: "/a" }])).toThrow("/a does not exist");
    expect(() => jsonPatch({ a: [] }, [{ op: "replace", path: "/a/3", value: 1 }])).toThrow("no element 3");
  });
});

describe("strategic merge patch", () => {
  const pod = {
    containers: [
      { name: "a", image: "x", ports: [{ containerPort: 1 }] },
      { name: "b", image: "y" },
    ],
  };

  it("merges lists by their key", () => {
    expect(strategicMergePatch(pod, { containers: [{ name: "b", image: "z" }] })).toEqual({
      containers: [pod.containers[0], { name: "b", image: "z" }],
    });
  });

  it("removes an element by directive and orders by $setElementOrder", () => {
    const patch = {
      containers: [{ name: "c" }, { name: "a", $patch: "delete" }],
      "$setElementOrder/containers": [{ name: "c" }, { name: "b" }],
    };
    expect(strategicMergePatch(pod, patch)).toEqual({ containers: [{ name: "c" }, { name: "b", image: "y" }] });
  });

  it("replaces with $patch: replace and keeps only $retainKeys", () => {
    expect(strategicMergePatch({ s: { a: 1, b: 2 } }, { s: { $patch: "replace", c: 3 } })).toEqual({ s: { c: 3 } });
    expect(strategicMergePatch({ s: { a: 1, b: 2 } }, { s: { $retainKeys: ["b"], b: 4 } })).toEqual({ s: { b: 4 } });
  });

  it("joins finalizers and removes single ones", () => {
    expect(strategicMergePatch({ finalizers: ["a"] }, { finalizers: ["b"] })).toEqual({ finalizers: ["a", "b"] });
    expect(strategicMergePatch({ finalizers: ["a", "b"] }, { "$deleteFromPrimitiveList/finalizers": ["a"] })).toEqual({
      finalizers: ["b"],
    });
  });
});
