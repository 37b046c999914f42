import { describe, expect, it } from "vitest";
import { BUILT_IN_KEYS, serverSideApply } from "./apply.ts";
import type { JsonRecord, Obj } from "./objects.ts";

function apply(current: JsonRecord | undefined, applied: JsonRecord, manager = "m", force = false): Obj {
  const config = { apiVersion: "v1", kind: "Pod", ...applied };
  const options = { manager, force, keyOf: BUILT_IN_KEYS };
  return serverSideApply(current as Obj | undefined, config, options) as unknown as Obj;
}

describe("server-side apply", () => {
  it("removes what its manager no longer applies, and nothing else", () => {
    const first = apply(undefined, { metadata: { name: "x" }, data: { a: "1", b: "2" } });
    const touched = { ...first, data: { ...(first.data as JsonRecord), other: "3" } };
    expect(apply(touched, { metadata: { name: "x" }, data: { a: "1" } }).data).toEqual({ a: "1", other: "3" });
  });

  it("merges lists by key and removes single elements", () => {
    const first = apply(undefined, {
      spec: {
        containers: [
          { name: "a", image: "1" },
          { name: "b", image: "1" },
        ],
      },
    });
    const second = apply(first, { spec: { containers: [{ name: "a", image: "2" }] } });
    expect(second.spec).toEqual({ containers: [{ name: "a", image: "2" }] });
  });

  it("names the owner of a value in conflict, and takes it when forced", () => {
    const first = apply(undefined, { spec: { replicas: 1 } }, "one");
    expect(() => apply(first, { spec: { replicas: 2 } }, "two")).toThrow('conflict with "one": .spec.replicas');
    const forced = apply(first, { spec: { replicas: 2 } }, "two", true);
    expect(forced.spec).toEqual({ replicas: 2 });
    // What was taken is no longer the first manager's to remove.
    expect(apply(forced, {}, "one").spec).toEqual({ replicas: 2 });
  });

  it("lets two managers apply the same value", () => {
    const first = apply(undefined, { spec: { replicas: 1 } }, "one");
    const both = apply(first, { spec: { replicas: 1 } }, "two");
    expect(apply(both, {}, "one").spec).toEqual({ replicas: 1 });
  });
});
