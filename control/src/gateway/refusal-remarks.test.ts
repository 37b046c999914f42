import { describe, expect, it } from "vitest";
import { L7_TYPE_PREFIX, type TypeUrl } from "#lib/xds/types.ts";
import type { ObjectId } from "../status/remarks.ts";
import type { Refusal } from "./program-answers.ts";
import { refusalRemarks } from "./refusal-remarks.ts";

const ROUTE: ObjectId = "HTTPRoute/shop/a";
const ORIGINS = {
  ofCluster: (): ObjectId[] => ["DestinationRule/shop/web"],
  ofDestination: (): ObjectId[] => [ROUTE, "VirtualService/shop/b"],
  ofRouteGroup: (): ObjectId[] => [ROUTE],
  ofTelemetry: (): ObjectId[] => ["Telemetry/shop/t"],
  ofLimits: (): ObjectId[] => ["EnvoyFilter/shop/f"],
};

function told(type: string, name: string, reason: string, clients = ["shop/wp-1"]): ObjectId[] {
  const refusals = clients.map(
    (client): Refusal => ({ client, type: `${L7_TYPE_PREFIX}${type}` as TypeUrl, name, reason }),
  );
  return refusalRemarks("shop/wp", refusals, ORIGINS).map(({ object }) => object);
}

describe("what a waypoint refuses", () => {
  it("is said of the object that it was made of, once for all of its pods", () => {
    expect(told("Policy", "shop/p", "no")).toEqual(["AuthorizationPolicy/shop/p"]);
    expect(told("Jwt", "shop/j", "no")).toEqual(["RequestAuthentication/shop/j"]);
    expect(told("Cluster", "c", "no", ["shop/wp-1", "shop/wp-2"])).toEqual(["DestinationRule/shop/web"]);
    expect(told("Destination", "d", "port 80: route 0 (x) of HTTPRoute/shop/a: no")).toEqual([ROUTE]);
    expect(told("RouteGroup", "g", "route 0 (x) of HTTPRoute/shop/a: no")).toEqual([ROUTE]);
    expect(told("Telemetry", "waypoint", "no")).toEqual(["Telemetry/shop/t"]);
    expect(told("Destination", "d", "port 80: rate limits: no")).toEqual(["EnvoyFilter/shop/f"]);
  });

  it("is said of nothing that is no part of it, whatever the waypoint says", () => {
    expect(told("Destination", "d", "route 0 (x) of HTTPRoute/other/foreign: no")).toEqual([]);
    expect(told("RouteGroup", "g", "route 0 (x) of VirtualService/shop/b: no")).toEqual([]);
    expect(told("Endpoints", "c", "no")).toEqual([]);
  });
});
