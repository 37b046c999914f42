import { describe, expect, it } from "vitest";
import { MESH_SETTINGS } from "../../../test/helpers/mesh-settings.ts";
import { gatewayFacts } from "./gateway.ts";
import { MeshModel } from "./mesh-model.ts";
import { scopeFacts } from "./scope.ts";
import { waypointWishes, weightedWaypoints } from "./waypoints.ts";

const LABELS = { "istio.io/use-waypoint": "main", "istio.io/use-waypoint-canary": "canary" };
const weight = (text: string) => ({ "istio.io/use-waypoint-canary-weight": text });

function mesh(...gateways: [name: string, more?: { namespace?: string; from?: string }][]): MeshModel {
  const model = new MeshModel(MESH_SETTINGS);
  for (const [name, { namespace = "shop", from = "Same" } = {}] of gateways) {
    const allowedRoutes = { namespaces: { from } };
    const listeners = [{ name: "mesh", port: 15008, protocol: "HBONE", allowedRoutes }];
    const object = { metadata: { namespace, name }, spec: { gatewayClassName: "weft-waypoint", listeners } };
    model.gateways.upsert(gatewayFacts(object));
  }
  return model;
}

/** Whose shares a service of namespace `shop` has, and what its owner is told. */
function shares(model: MeshModel, labels: Record<string, string>, annotations: Record<string, string> = {}) {
  const binding = model.waypoints.serviceBinding("shop", waypointWishes(labels, annotations, "shop"));
  const all = weightedWaypoints(binding).map((each) => {
    const { destination } = each.destination;
    return [destination.case === "hostname" ? destination.value.hostname.split(".")[0] : "", each.weight];
  });
  return { all, message: binding?.message };
}

describe("a canary of waypoints", () => {
  const both = mesh(["main"], ["canary"]);

  it("gets its share of a service, and the other the rest", () => {
    expect(shares(both, LABELS, weight("20"))).toEqual({
      all: [
        ["main", 80],
        ["canary", 20],
      ],
      message: "bound to waypoint shop/main, and 20 % of the connections to canary shop/canary",
    });
    expect(shares(both, LABELS, weight("100")).all).toEqual([
      ["main", 0],
      ["canary", 100],
    ]);
  });

  it.each([
    ["without a weight", both, LABELS, {}, "its weight is 0"],
    ["with a weight that is none", both, LABELS, weight("101"), "its weight is 0"],
    ["that is not there", mesh(["main"]), LABELS, weight("20"), "there is no waypoint shop/canary"],
    [
      "that does not let the service in",
      mesh(["main"], ["canary", { namespace: "other" }]),
      { ...LABELS, "istio.io/use-waypoint-canary-namespace": "other" },
      weight("20"),
      "allowedRoutes of waypoint other/canary",
    ],
  ] as const)("%s gets nothing, and the owner is told", (_, model, labels, annotations, why) => {
    const { all, message } = shares(model, labels, annotations);
    expect(all).toEqual([]);
    expect(message).toContain(why);
  });

  it("that is the waypoint itself, or beside one that is not there, is none", () => {
    const same = { ...LABELS, "istio.io/use-waypoint-canary": "main" };
    expect(shares(both, same, weight("20"))).toEqual({ all: [], message: "bound to waypoint shop/main" });
    expect(shares(mesh(["canary"]), LABELS, weight("20")).all).toEqual([]);
  });

  it("of the namespace is for what names no waypoint of its own", () => {
    const model = mesh(["main"], ["canary"], ["own"]);
    model.namespaces.upsert(scopeFacts({ metadata: { name: "shop", labels: LABELS, annotations: weight("5") } }));
    expect(shares(model, {}).all).toEqual([
      ["main", 95],
      ["canary", 5],
    ]);
    expect(shares(model, { "istio.io/use-waypoint": "own" }).all).toEqual([]);
  });
});
