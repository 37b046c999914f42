import { expect, it } from "vitest";
import { routeRows } from "./routes.ts";

it("shows the routes of groups where they are tried: before a host's own", () => {
  const host = { name: "web", domains: ["*"], routeGroups: ["b", "a"], routes: [{ origin: "own" }] };
  const rows = routeRows({
    Destination: [
      {
        name: "shop/web",
        version: "1",
        resource: { hostname: "web.shop", ports: [{ port: 80, chain: { http: { hosts: [host] } } }] },
      },
    ],
    RouteGroup: [
      { name: "a", version: "1", resource: { routes: [{ origin: "a1" }] } },
      { name: "b", version: "1", resource: { routes: [{ origin: "b1" }, { origin: "b2" }] } },
    ],
  });
  expect(rows.map(({ name, host: of, origin }) => `${name} ${of} ${origin}`)).toEqual([
    "web.shop:80 web b1",
    "web.shop:80 web b2",
    "web.shop:80 web a1",
    "web.shop:80 web own",
  ]);
});
