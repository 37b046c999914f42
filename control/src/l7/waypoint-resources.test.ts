import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { Reflector } from "#lib/kube/reflector.ts";
import {
  AUTHORIZATION_POLICIES,
  type Condition,
  HTTP_ROUTES,
  type IstioObject,
  REQUEST_AUTHENTICATIONS,
  type RouteObject,
  SERVICES,
  type Service,
} from "#lib/kube/types.ts";
import { FakeKube } from "../../../test/helpers/fake-kube.ts";
import { MESH_SETTINGS } from "../../../test/helpers/mesh-settings.ts";
import { joined, modelInputs } from "../kube/inputs.ts";
import { MeshModel } from "../model/mesh-model.ts";
import { policyFinding } from "../status/findings.ts";
import { Remarks } from "../status/remarks.ts";
import type { Finding } from "../status/status-writer.ts";
import { StatusWriter } from "../status/status-writer.ts";
import { MESH_CONTROLLER } from "./gateway-api/controller.ts";
import { blockListOf } from "./security/bounded-fetch.ts";
import { WaypointResources } from "./waypoint-resources.ts";

const LOG = pino({ level: "silent" });
const service = (name: string): Service => ({
  metadata: { namespace: "shop", name },
  spec: { clusterIP: "10.0.0.1", ports: [{ name: "http", port: 80 }] },
});
const route = (name: string, backend: string, status?: RouteObject["status"]): RouteObject => ({
  metadata: { namespace: "shop", name, uid: name, generation: 1 },
  spec: {
    parentRefs: [{ group: "", kind: "Service", name: "s" }],
    rules: [{ backendRefs: [{ name: backend, port: 80 }] }],
  },
  ...(status === undefined ? {} : { status }),
});

describe("what users say of waypoints", () => {
  let kube: FakeKube;
  let stopping: AbortController;
  let running: Promise<unknown>[];
  let leads: boolean;
  let bound: Set<string>;
  let resources: WaypointResources;
  let changedServices: string[];

  beforeEach(async () => {
    kube = await FakeKube.start();
    stopping = new AbortController();
    leads = true;
    bound = new Set();
    changedServices = [];
    const client = kube.client();
    const settings = MESH_SETTINGS;
    const model = new MeshModel(settings);
    const policyWriter = new StatusWriter({ client, type: AUTHORIZATION_POLICIES, leads: () => leads, log: LOG });
    const found = (finding: Finding | undefined) => {
      if (finding !== undefined) policyWriter.found(finding);
    };
    resources = new WaypointResources({
      beginsTls: () => false,
      remarks: new Remarks(() => {}),
      client,
      leads: () => leads,
      log: LOG,
      services: model.serviceLookup,
      bindings: {
        isWaypoint: () => false,
        isWaypointClass: () => false,
        isBound: ({ namespace, name }) => bound.has(`${namespace}/${name}`),
      },
      clusterDomain: "cluster.local",
      rootNamespace: "istio-system",
      trustDomains: () => ["cluster.local"],
      provider: () => undefined,
      blockedJwksAddresses: blockListOf([]),
      onPolicyFinding: found,
      onService: (key) => changedServices.push(key),
    });
    model.onServiceChange((before, after) => resources.serviceChanged(before, after));
    const ignored = () => {};
    const inputs = modelInputs(model, {
      authorizationPolicy: (verdict) => found(policyFinding(verdict)),
      peerAuthentication: ignored,
      serviceEntry: ignored,
      workloadEntry: ignored,
    });
    const reflectors = joined([...inputs, ...resources.inputs()]).map(
      ({ type, handler, optional }) => new Reflector(client, { type, handler, optional }),
    );
    running = [resources, policyWriter, ...reflectors].map((part) => part.run(stopping.signal));
    await Promise.all(reflectors.map(({ synced }) => synced));
  });

  afterEach(async () => {
    stopping.abort();
    await Promise.all(running);
    await kube.stop();
  });

  const parents = (name: string) => kube.read(HTTP_ROUTES, "shop", name)?.status?.parents ?? [];
  const condition = (conditions: readonly Condition[] | undefined, type: string) =>
    conditions?.find((each) => each.type === type);

  it("is answered in a route's status beside what others wrote, and again when a backend appears", async () => {
    const theirs = { parentRef: { name: "gw" }, controllerName: "example.com/other", conditions: [], odd: 1 };
    kube.put(SERVICES, service("s"));
    kube.put(HTTP_ROUTES, route("r", "later", { parents: [theirs] }));
    await eventually("the first answer", () => parents("r").length === 2);
    expect(parents("r")[0]).toEqual(theirs);
    const ours = () => parents("r").find(({ controllerName }) => controllerName === MESH_CONTROLLER);
    expect(condition(ours()?.conditions, "Accepted")).toMatchObject({ status: "True", observedGeneration: 1 });
    expect(condition(ours()?.conditions, "ResolvedRefs")).toMatchObject({ status: "False", reason: "BackendNotFound" });
    kube.put(SERVICES, service("later"));
    await eventually("the second answer", () => condition(ours()?.conditions, "ResolvedRefs")?.status === "True");
    expect(changedServices).toContain("shop/s.shop.svc.cluster.local");
  });

  it("is answered by the leader alone, who writes what was found before it led", async () => {
    leads = false;
    kube.put(SERVICES, service("s"));
    kube.put(HTTP_ROUTES, route("r", "s"));
    await eventually("the route", () => resources.routes.verdictsOf("HTTPRoute", "shop/r") !== undefined);
    expect(kube.requests.some((request) => request.startsWith("PATCH"))).toBe(false);
    leads = true;
    resources.refresh();
    await eventually("an answer", () => parents("r").length === 1);
  });

  it("is written again when somebody else's write came in between", async () => {
    kube.put(SERVICES, service("s"));
    await eventually("the service", () => resources.routes !== undefined);
    kube.put(HTTP_ROUTES, route("r", "s"));
    kube.failures.push(409);
    await eventually("an answer", () => parents("r").length === 1);
  });

  it("is told of policies whose service is missing, then unbound, then bound, each by one watch", async () => {
    const policy: IstioObject = {
      metadata: { namespace: "shop", name: "p", generation: 1 },
      spec: { targetRefs: [{ kind: "Service", name: "s" }], rules: [{}] },
    };
    kube.put(AUTHORIZATION_POLICIES, policy);
    const accepted = () =>
      condition(kube.read(AUTHORIZATION_POLICIES, "shop", "p")?.status?.conditions, "WaypointAccepted");
    await eventually("no target", () => accepted()?.reason === "TargetNotFound");
    kube.put(SERVICES, service("s"));
    await eventually("no waypoint", () => accepted()?.reason === "AncestorNotBound");
    bound.add("shop/s");
    kube.put(SERVICES, { ...service("s"), metadata: { namespace: "shop", name: "s", labels: { a: "b" } } });
    await eventually("all well", () => accepted()?.status === "True");
    const watches = kube.requests.filter(
      (each) => each.includes("authorizationpolicies?") && each.includes("watch=true"),
    );
    expect(watches).toHaveLength(1);
  });

  it("is told of token rules whose keys cannot be had", async () => {
    bound.add("shop/s");
    kube.put(SERVICES, service("s"));
    kube.put(REQUEST_AUTHENTICATIONS, {
      metadata: { namespace: "shop", name: "j", generation: 1 },
      spec: {
        targetRefs: [{ kind: "Service", name: "s" }],
        jwtRules: [{ issuer: "i", jwksUri: "http://127.0.0.1:1/keys" }],
      },
    });
    const accepted = () =>
      condition(kube.read(REQUEST_AUTHENTICATIONS, "shop", "j")?.status?.conditions, "WaypointAccepted");
    await eventually("a complaint", () => accepted()?.message?.includes("its tokens are refused"));
    expect(resources.policies.jwt("shop/j")?.rules[0]?.jwksMissing).toBe(true);
  });
});
