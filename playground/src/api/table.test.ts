import { describe, expect, it } from "vitest";
import type { Pod } from "../kinds/types.ts";
import { jsonPath, podReason, since } from "./table.ts";

describe("tables", () => {
  it.each([
    [5, "5s"],
    [119, "119s"],
    [125, "2m5s"],
    [3000, "50m"],
    [4 * 3600 + 60, "4h1m"],
    [3 * 86_400, "3d"],
  ])("shows an age of %d seconds as %s", (seconds, expected) => {
    const now = Date.UTC(2026, 0, 10);
    expect(since(new Date(now - seconds * 1000).toISOString(), now)).toBe(expected);
  });

  it("follows the paths of printer columns", () => {
    const object = {
      spec: { hosts: ["a", "b"], ports: [{ n: 1 }, { n: 2 }] },
      status: { c: [{ type: "Ready", status: "True" }] },
    };
    expect(jsonPath(object, ".spec.hosts")).toEqual([["a", "b"]]);
    expect(jsonPath(object, ".spec.ports[*].n")).toEqual([1, 2]);
    expect(jsonPath(object, '.status.c[?(@.type=="Ready")].status')).toEqual(["True"]);
    expect(jsonPath(object, ".spec.none.more")).toEqual([]);
  });

  it("shows the most telling word of a pod's state", () => {
    const pod = (status: object, metadata = {}) => ({ metadata, spec: { containers: [] }, status }) as unknown as Pod;
    const waiting = { containerStatuses: [{ state: { waiting: { reason: "CrashLoopBackOff" } } }] };
    expect(podReason(pod({ phase: "Running", ...waiting }))).toBe("CrashLoopBackOff");
    expect(podReason(pod({ phase: "Running" }, { deletionTimestamp: "now" }))).toBe("Terminating");
    const init = { initContainerStatuses: [{ state: { running: {} } }] };
    expect(podReason(pod({ phase: "Pending", ...init }))).toBe("Init:0/1");
  });
});
