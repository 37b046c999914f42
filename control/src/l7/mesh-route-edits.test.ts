/** Programs with routes of the Gateway API, after edits: what was kept of before must not show. */
import { fromBinary, toJson } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, it } from "vitest";
import { DestinationSchema } from "#proto/l7_pb.ts";
import { MESH_SETTINGS } from "../../../test/helpers/mesh-settings.ts";
import { MeshModel } from "../model/mesh-model.ts";
import { serviceDefinition } from "../model/service.ts";
import { httpRouteFacts } from "./gateway-api/http-route.ts";
import { MeshRoutes } from "./gateway-api/mesh-routes.ts";
import { L7World } from "./l7-world.ts";
import { WaypointProgram } from "./waypoint-program.ts";

const KEYS = ["web", "api"].map((name) => `shop/${name}.shop.svc.cluster.local`);

interface RouteSpec {
  readonly namespace: string;
  readonly parent: string;
  readonly path: string;
  readonly backend: string;
  readonly timeout: number;
}

class Mesh {
  readonly model = new MeshModel(MESH_SETTINGS);
  readonly world = new L7World(this.model);
  readonly routes = new MeshRoutes({
    services: this.model.serviceLookup,
    isWaypoint: () => false,
    isBound: () => true,
    onService: (key) => this.world.routesChanged(key),
  });
  #generation = 0;

  constructor() {
    this.world.routes = this.routes;
    this.model.onServiceChange((before, after) => this.routes.serviceChanged(before, after));
    for (const name of ["web", "api"]) this.service(name);
  }

  service(name: string): void {
    const spec = { clusterIP: "10.96.0.1", ports: [{ name: "http", port: 80 }] };
    const definition = serviceDefinition({ metadata: { namespace: "shop", name }, spec } as never, "cluster.local");
    if (definition !== undefined) this.model.services.upsert(definition);
  }

  put(name: string, { namespace, parent, path, backend, timeout }: RouteSpec): void {
    this.#generation++;
    const metadata = { namespace, name, uid: name, generation: this.#generation };
    this.routes.collections.HTTPRoute.upsert(
      httpRouteFacts("HTTPRoute", {
        metadata,
        spec: {
          parentRefs: [{ group: "", kind: "Service", name: parent, namespace: "shop" }],
          rules: [
            {
              matches: [{ path: { value: path } }, { path: { type: "Exact", value: `${path}/x` } }],
              backendRefs: [{ name: backend, namespace: "shop", port: 80 }],
              timeouts: { request: `${timeout}s` },
            },
          ],
        },
      }),
    );
  }

  /** Somebody wrote the status of a route. */
  touch(id: string): void {
    const facts = this.routes.collections.HTTPRoute.get(id);
    if (facts !== undefined) this.routes.collections.HTTPRoute.upsert(structuredClone(facts));
  }

  program(): WaypointProgram {
    this.world.modelChanged(this.model.flush());
    const waypoint = { namespace: "shop", name: "waypoint", gatewayClass: "istio-waypoint" };
    const program = new WaypointProgram(this.world, waypoint, { services: new Set(KEYS), workloads: new Set() });
    program.flush();
    return program;
  }
}

function dump(program: WaypointProgram): unknown {
  const destinations = KEYS.map((key) => program.tables.Destination.get(key)?.message ?? new Uint8Array());
  return {
    destinations: destinations.map((message) => toJson(DestinationSchema, fromBinary(DestinationSchema, message))),
    clusters: [...program.tables.Cluster.names()].sort(),
  };
}

const name = fc.constantFrom("a", "b", "c", "d");
const spec: fc.Arbitrary<RouteSpec> = fc.record({
  namespace: fc.constantFrom("shop", "shop", "client"),
  parent: fc.constantFrom("web", "web", "api"),
  path: fc.constantFrom("/", "/p", "/p/q"),
  backend: fc.constantFrom("web", "later", "never"),
  timeout: fc.integer({ min: 1, max: 3 }),
});
const edit = fc.oneof(
  fc.record({ do: fc.constant("put" as const), name, spec }),
  fc.record({ do: fc.constantFrom("remove" as const, "touch" as const), name }),
  fc.record({ do: fc.constantFrom("add backend" as const, "remove backend" as const) }),
);

it("is what it would be from scratch", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { maxLength: 16 }), fc.boolean(), async (edits, turns) => {
      const mesh = new Mesh();
      const program = mesh.program();
      const left = new Map<string, RouteSpec>();
      let later = false;
      for (const each of edits) {
        if (each.do === "put") {
          const before = left.get(each.name);
          if (before !== undefined && before.namespace !== each.spec.namespace)
            mesh.routes.collections.HTTPRoute.remove(`${before.namespace}/${each.name}`);
          left.set(each.name, each.spec);
          mesh.put(each.name, each.spec);
        } else if (each.do === "remove") {
          mesh.routes.collections.HTTPRoute.remove(`${left.get(each.name)?.namespace}/${each.name}`);
          left.delete(each.name);
        } else if (each.do === "touch") mesh.touch(`${left.get(each.name)?.namespace}/${each.name}`);
        else {
          later = each.do === "add backend";
          if (later) mesh.service("later");
          else mesh.model.services.remove("shop/later");
        }
        if (turns) await new Promise<void>((resolve) => setImmediate(resolve));
        mesh.world.modelChanged(mesh.model.flush());
        program.flush();
      }
      const fresh = new Mesh();
      if (later) fresh.service("later");
      for (const [route, value] of left) fresh.put(route, value);
      expect(dump(program)).toEqual(dump(fresh.program()));
    }),
    { numRuns: 100 },
  );
});
