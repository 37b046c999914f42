import { describe, expect, it } from "vitest";
import type { GatewayObject } from "#lib/kube/types.ts";
import { gatewayFacts } from "../model/gateway.ts";
import { gatewayStatus } from "./gateway-status.ts";

const NOW = "2026-01-01T00:00:00Z";
const MESH = { name: "mesh", port: 15008, protocol: "HBONE" };
const READY = {
  addresses: [{ type: "Hostname" as const, value: "wp.shop.svc.cluster.local" }],
  readyPods: 1,
  attachedRoutes: () => 2,
  program: { pods: 1, refusals: [] },
  references: { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "" },
} as const;

function gateway(spec: object) {
  const metadata = { namespace: "shop", name: "wp", uid: "u", generation: 3 };
  return gatewayFacts({ metadata, spec: { gatewayClassName: "weft-waypoint", ...spec } });
}

function told(status: GatewayObject["status"], listener?: string): Record<string, string> {
  const { conditions = [] } =
    listener === undefined ? (status ?? {}) : (status?.listeners?.find(({ name }) => name === listener) ?? {});
  return Object.fromEntries(conditions.map(({ type, status: value, reason }) => [type, `${value}/${reason}`]));
}

describe("a waypoint's Gateway", () => {
  it("is programmed and has addresses once a pod is ready", () => {
    const waiting = gatewayStatus(gateway({ listeners: [MESH] }), { ...READY, readyPods: 0 }, undefined, NOW);
    expect(waiting.addresses).toEqual([]);
    expect(told(waiting)).toEqual({
      Accepted: "True/Accepted",
      Programmed: "False/Pending",
      ResolvedRefs: "True/ResolvedRefs",
      "weft.dev/ProgramAccepted": "True/Accepted",
    });
    const ready = gatewayStatus(gateway({ listeners: [MESH] }), READY, waiting, NOW);
    expect(ready.addresses).toEqual(READY.addresses);
    expect(told(ready).Programmed).toBe("True/Programmed");
    expect(told(ready, "mesh")).toEqual({
      Accepted: "True/Accepted",
      ResolvedRefs: "True/ResolvedRefs",
      Conflicted: "False/NoConflicts",
      Programmed: "True/Programmed",
    });
    expect(ready.listeners?.[0]?.attachedRoutes).toBe(2);
    expect(ready.conditions?.every(({ observedGeneration }) => observedGeneration === 3)).toBe(true);
  });

  it("keeps its addresses when its pods go", () => {
    const ready = gatewayStatus(gateway({ listeners: [MESH] }), READY, undefined, NOW);
    const later = gatewayStatus(gateway({ listeners: [MESH] }), { ...READY, readyPods: 0 }, ready, "later");
    expect(later.addresses).toEqual(READY.addresses);
    const failed = gatewayStatus(
      gateway({ listeners: [MESH] }),
      { ...READY, addresses: [], readyPods: 0, failure: "forbidden" },
      ready,
      "later",
    );
    expect(failed.addresses).toEqual(READY.addresses);
    expect(told(failed).Programmed).toBe("False/NoResources");
  });

  it("says which resources its pods have refused", () => {
    const refusal = {
      client: "shop/wp-1",
      type: "type.googleapis.com/weft.l7.Cluster",
      name: "c",
      reason: "bad",
    } as const;
    const program = { pods: 1, refusals: [refusal] };
    const status = gatewayStatus(gateway({ listeners: [MESH] }), { ...READY, program }, undefined, NOW);
    expect(told(status)).toMatchObject({
      Programmed: "True/Programmed",
      "weft.dev/ProgramAccepted": "False/ResourcesRefused",
    });
    expect(status.conditions?.at(-1)?.message).toContain("shop/wp-1 refused Cluster c: bad");
  });

  it("leaves the conditions of others alone, and the times of what did not change", () => {
    const foreign = { type: "example.com/Checked", status: "True" as const };
    const before = gatewayStatus(gateway({ listeners: [MESH] }), READY, { conditions: [foreign] }, NOW);
    const after = gatewayStatus(gateway({ listeners: [MESH] }), READY, before, "later");
    expect(after).toEqual(before);
    expect(after.conditions?.[0]).toEqual(foreign);
  });

  it.each([
    ["that refers to parameters", { infrastructure: { parametersRef: { name: "x" } } }, "InvalidParameters"],
    ["that asks for an address", { addresses: [{ value: "10.0.0.1" }] }, "UnsupportedAddress"],
    ["without a usable listener", { listeners: [{ ...MESH, protocol: "HTTP" }] }, "ListenersNotValid"],
  ])("is not accepted %s", (_what, spec, reason) => {
    const status = gatewayStatus(gateway({ listeners: [MESH], ...spec }), READY, undefined, NOW);
    expect(told(status)).toMatchObject({ Accepted: `False/${reason}`, Programmed: "False/Invalid" });
    expect(status.addresses).toEqual([]);
  });

  it("is accepted with what is usable, and says what is not", () => {
    const kinds = [{ kind: "HTTPRoute" }, { group: "example.com", kind: "Mystery" }];
    const listeners = [
      { ...MESH, allowedRoutes: { kinds } },
      { name: "web", port: 80, protocol: "HTTP" },
    ];
    const status = gatewayStatus(gateway({ listeners }), READY, undefined, NOW);
    expect(told(status).Accepted).toBe("True/ListenersNotValid");
    expect(told(status, "mesh").ResolvedRefs).toBe("False/InvalidRouteKinds");
    expect(told(status, "web")).toMatchObject({ Accepted: "False/UnsupportedProtocol", Programmed: "False/Invalid" });
    expect(status.listeners?.map(({ supportedKinds }) => supportedKinds.map(({ kind }) => kind))).toEqual([
      ["HTTPRoute"],
      [],
    ]);
  });
});
