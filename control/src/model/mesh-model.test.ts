import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { KubeObject } from "#lib/kube/types.ts";
import { AddressSchema } from "#proto/workload_pb.ts";
import { MESH_SETTINGS } from "../../../test/helpers/mesh-settings.ts";
import { type Input, modelInputs } from "../kube/inputs.ts";
import { MeshModel } from "./mesh-model.ts";
import type { MeshSettings } from "./settings.ts";

const SETTINGS: MeshSettings = { ...MESH_SETTINGS, autoAllowWaypoint: true };

function newModel(onFailure = (...failure: unknown[]): unknown => expect.fail(String(failure))) {
  const model = new MeshModel(SETTINGS, { onFailure });
  const ignore = () => {};
  const verdicts = {
    authorizationPolicy: ignore,
    peerAuthentication: ignore,
    serviceEntry: ignore,
    workloadEntry: ignore,
  };
  const inputs = new Map(modelInputs(model, verdicts).map((input) => [input.type.kind, input]));
  return { model, input: (kind: string) => inputs.get(kind) as Input };
}

// A small world, so that objects meet: three namespaces, two labels, few names.
const namespace = fc.constantFrom("a", "b", "istio-system");
const name = fc.constantFrom("one", "two", "three");
const useWaypoint = fc.constantFrom("one", "two", "none");
const labels = fc.record(
  {
    app: fc.constantFrom("x", "y"),
    tier: fc.constantFrom("p", "q"),
    "istio.io/use-waypoint": useWaypoint,
    "istio.io/use-waypoint-namespace": fc.constantFrom("a", "b"),
    "istio.io/use-waypoint-canary": fc.constantFrom("one", "two"),
  },
  { requiredKeys: [] },
);
const selector = fc.record({ app: fc.constantFrom("x", "y"), tier: fc.constantFrom("p") }, { requiredKeys: ["app"] });
const created = fc.constantFrom("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z");
const targetPort = fc.constantFrom(80, 8080, "web");
const ip = fc.integer({ min: 1, max: 20 }).map((n) => `10.0.0.${n}`);
const mode = fc.constantFrom("UNSET", "DISABLE", "PERMISSIVE", "STRICT");

const canaryWeight = fc.constantFrom({}, { "istio.io/use-waypoint-canary-weight": "20" });
const meta = fc.record({ namespace, name, labels, annotations: canaryWeight, creationTimestamp: created });

function object(kind: string, rest: fc.Arbitrary<object>): fc.Arbitrary<KubeObject> {
  return fc.tuple(meta, rest).map(([metadata, body]) => ({ kind, metadata, ...body }));
}

const optionalSelector = fc.option(selector, { nil: undefined }).map((matchLabels) => matchLabels && { matchLabels });

const objects = fc.oneof(
  {
    weight: 5,
    arbitrary: object(
      "Pod",
      fc.record({
        spec: fc.record({
          nodeName: fc.constantFrom("n1", "n2"),
          containers: fc.constantFrom([], [{ name: "c", ports: [{ name: "web", containerPort: 8000 }] }]),
        }),
        status: fc.record(
          { phase: fc.constantFrom("Running", "Succeeded", "Failed", "Pending"), podIP: ip },
          { requiredKeys: ["phase"] },
        ),
      }),
    ),
  },
  object(
    "Service",
    fc.record({
      spec: fc.record({
        selector: fc.option(selector, { nil: undefined }),
        clusterIPs: fc.constantFrom(["None"], ["10.96.0.1"]),
        ports: fc.array(
          fc.record({ port: fc.constantFrom(80, 81), name: fc.constantFrom("web", "http"), targetPort }),
          { maxLength: 2 },
        ),
      }),
    }),
  ),
  object(
    "ServiceEntry",
    fc.record({
      spec: fc.record({
        hosts: fc.constantFrom(["h.example"], ["h.example", "i.example"], ["one.a.svc.cluster.local"]),
        ports: fc.constant([{ number: 80, name: "http", protocol: "HTTP" }]),
        resolution: fc.constantFrom("STATIC", "DNS", "NONE"),
        endpoints: fc.option(
          fc.uniqueArray(fc.record({ address: ip, labels }), { maxLength: 2, selector: (e) => e.address }),
          { nil: undefined },
        ),
      }),
    }),
  ),
  object(
    "ServiceEntry",
    fc.record({
      spec: fc.record({
        hosts: fc.constantFrom(["h.example"], ["s.example"]),
        ports: fc.constant([{ number: 80, name: "web", targetPort: 8080 }]),
        resolution: fc.constant("STATIC"),
        workloadSelector: selector.map((matched) => ({ labels: matched })),
      }),
    }),
  ),
  object(
    "WorkloadEntry",
    fc.record({
      spec: fc.record({
        address: ip,
        labels,
        ports: fc.constantFrom({}, { web: 9000 }),
        serviceAccount: fc.constant("sa"),
      }),
    }),
  ),
  object(
    "EndpointSlice",
    fc.record({
      addressType: fc.constant("IPv4"),
      ports: fc.constant([{ name: "web", port: 7000 }]),
      endpoints: fc.array(
        fc.oneof(
          fc.record({ addresses: ip.map((a) => [a]) }),
          fc.record({ addresses: ip.map((a) => [a]), targetRef: fc.record({ kind: fc.constant("Pod"), name }) }),
        ),
        { maxLength: 3 },
      ),
    }),
  ).map((slice) => ({ ...slice, metadata: { ...slice.metadata, labels: { "kubernetes.io/service-name": "one" } } })),
  object(
    "AuthorizationPolicy",
    fc.record({
      spec: fc.record({
        selector: optionalSelector,
        action: fc.constantFrom("ALLOW", "DENY", "CUSTOM"),
        rules: fc.constantFrom([{}], [{ from: [{ source: { namespaces: ["a"] } }] }]),
      }),
    }),
  ),
  object(
    "PeerAuthentication",
    fc.record({ spec: fc.record({ selector: optionalSelector, mtls: fc.record({ mode }) }) }),
  ),
  object(
    "PeerAuthentication",
    fc.record({
      spec: fc.record({
        selector: selector.map((matchLabels) => ({ matchLabels })),
        mtls: fc.record({ mode }),
        portLevelMtls: fc.dictionary(fc.constantFrom("80", "8080"), fc.record({ mode })),
      }),
    }),
  ),
  fc.record({
    kind: fc.constant("Namespace"),
    metadata: fc.record({
      name: namespace,
      labels: fc.record(
        {
          "topology.istio.io/network": fc.constant("net1"),
          "istio.io/use-waypoint": useWaypoint,
          "istio.io/use-waypoint-canary": fc.constantFrom("one", "two"),
        },
        { requiredKeys: [] },
      ),
      annotations: fc.constantFrom(
        {},
        { "networking.istio.io/traffic-distribution": "PreferClose" },
        { "istio.io/use-waypoint-canary-weight": "30" },
        { "istio.io/use-waypoint-canary-weight": "60" },
      ),
    }),
  }),
  fc.record({
    kind: fc.constant("Node"),
    metadata: fc.record({
      name: fc.constantFrom("n1", "n2"),
      labels: fc.constantFrom({}, { "topology.kubernetes.io/region": "r1", "topology.kubernetes.io/zone": "z1" }),
    }),
  }),
);

const gateways = fc.oneof(
  object(
    "Gateway",
    fc.record({
      spec: fc.record({
        gatewayClassName: fc.constantFrom("weft-waypoint", "other"),
        listeners: fc.array(
          fc.record({
            name: fc.constant("mesh"),
            port: fc.constantFrom(15008, 80),
            protocol: fc.constantFrom("HBONE", "HTTP"),
            allowedRoutes: fc.record({
              namespaces: fc.record({
                from: fc.constantFrom("Same", "All", "Selector"),
                selector: fc.constantFrom(undefined, { matchLabels: { "kubernetes.io/metadata.name": "b" } }),
              }),
            }),
          }),
          { maxLength: 1 },
        ),
      }),
    }),
  ).chain((gateway) =>
    fc
      .constantFrom({}, ...["workload", "all", "service"].map((kind) => ({ "istio.io/waypoint-for": kind })))
      .map((own) => ({
        ...gateway,
        metadata: { ...gateway.metadata, labels: own, uid: JSON.stringify([gateway, own]) },
      })),
  ),
  fc.record({
    kind: fc.constant("GatewayClass"),
    metadata: fc.record({
      name: fc.constantFrom("weft-waypoint", "other"),
      labels: fc.constantFrom({}, { "istio.io/waypoint-for": "workload" }),
    }),
    spec: fc.record({ controllerName: fc.constantFrom("istio.io/mesh-controller", "somebody.else/controller") }),
  }),
);

const anything = fc.oneof({ weight: 4, arbitrary: objects }, { weight: 1, arbitrary: gateways });

type Step = { op: "upsert" | "remove"; object: KubeObject } | { op: "flush" };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ op: fc.constant("upsert" as const), object: anything }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant("remove" as const), object: anything }) },
    { weight: 2, arbitrary: fc.constant({ op: "flush" as const }) },
  ),
  { maxLength: 60, size: "max" },
);

function dump(model: MeshModel): Record<string, string> {
  const entries = [model.addresses, model.authorizations].flatMap((table) =>
    [...table.values()].map(({ name: key, encoded }) => [key, Buffer.from(encoded).toString("base64")] as const),
  );
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function behindWaypoints({ bound }: MeshModel): unknown {
  return ["a", "b", "istio-system"].flatMap((where) =>
    ["one", "two", "three"].map((gateway) => [
      [...bound.services(`${where}/${gateway}`)].sort(),
      [...bound.workloads(`${where}/${gateway}`)].sort(),
    ]),
  );
}

describe("MeshModel", () => {
  it("derives the same from changes one by one as from scratch", () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const incremental = newModel();
        const last = new Map<string, KubeObject>();
        for (const step of sequence) {
          if (step.op === "flush") {
            incremental.model.flush();
            continue;
          }
          const { kind = "", metadata } = step.object;
          const key = `${kind}/${metadata.namespace}/${metadata.name}`;
          if (step.op === "upsert") {
            last.set(key, step.object);
            incremental.input(kind).handler.upsert(step.object);
          } else {
            last.delete(key);
            incremental.input(kind).handler.remove(step.object);
          }
        }
        incremental.model.flush();
        const scratch = newModel();
        for (const each of last.values()) scratch.input(each.kind ?? "").handler.upsert(each);
        scratch.model.flush();
        expect(dump(incremental.model)).toEqual(dump(scratch.model));
        expect(behindWaypoints(incremental.model)).toEqual(behindWaypoints(scratch.model));
      }),
      { numRuns: 500 },
    );
  });

  it("reports as changed exactly what differs from the last flush", () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const { model, input } = newModel();
        let before: Record<string, string> = {};
        for (const step of sequence) {
          if (step.op === "upsert") input(step.object.kind ?? "").handler.upsert(step.object);
          if (step.op === "remove") input(step.object.kind ?? "").handler.remove(step.object);
          if (step.op !== "flush") continue;
          const { addresses, authorizations } = model.flush();
          const after = dump(model);
          const changed = Object.keys(after).filter((key) => before[key] !== after[key]);
          expect([...addresses.changed, ...authorizations.changed].sort()).toEqual(changed.sort());
          for (const key of Object.keys(before)) {
            if (!(key in after)) expect(addresses.removed.has(key) || authorizations.removed.has(key)).toBe(true);
          }
          before = after;
        }
      }),
      { numRuns: 500 },
    );
  });

  it("derives one pod again when one pod changes", () => {
    const { model, input } = newModel();
    const pod = (index: number, ready: string) => ({
      metadata: { namespace: "a", name: `p${index}`, labels: { app: "x" } },
      spec: { nodeName: "n1" },
      status: { phase: "Running", podIP: `10.0.0.${index}`, conditions: [{ type: "Ready", status: ready }] },
    });
    for (let i = 1; i <= 50; i++) input("Pod").handler.upsert(pod(i, "True"));
    model.flush();
    input("Pod").handler.upsert(pod(7, "False"));
    const { addresses } = model.flush();
    expect([...addresses.changed]).toEqual(["Kubernetes//Pod/a/p7"]);
    const resource = model.addresses.get("Kubernetes//Pod/a/p7");
    expect(fromBinary(AddressSchema, resource?.message ?? new Uint8Array()).type.case).toBe("workload");
  });
});

describe("a change of the whole mesh", () => {
  const COUNT = 300;
  const strict = { kind: "PeerAuthentication", metadata: { namespace: "istio-system", name: "default" } };

  function meshOf(mode: string | undefined) {
    const { model, input } = newModel();
    for (let i = 0; i < COUNT; i++) {
      const metadata = { namespace: "a", name: `p${i}` };
      input("Pod").handler.upsert({
        metadata,
        status: { phase: "Running", podIP: `10.0.${i >> 8}.${i & 255}` },
      } as KubeObject);
    }
    if (mode !== undefined)
      input("PeerAuthentication").handler.upsert({ ...strict, spec: { mtls: { mode } } } as KubeObject);
    model.flush();
    return { model, input };
  }

  /** Flushes with no time at all until nothing is left. */
  function flushInSlices(model: MeshModel) {
    const changes = [model.flush(0)];
    while (!model.settled) changes.push(model.flush(0));
    return changes;
  }

  it("is derived slice by slice, each a part of the whole, the policy before all of them", () => {
    const { model, input } = meshOf(undefined);
    input("PeerAuthentication").handler.upsert({ ...strict, spec: { mtls: { mode: "STRICT" } } } as KubeObject);
    const changes = flushInSlices(model);
    expect(changes.length).toBeGreaterThan(2);
    expect(changes[0]?.authorizations.changed.size).toBe(1);
    expect(changes.reduce((sum, { addresses }) => sum + addresses.changed.size, 0)).toBe(COUNT);
    const fresh = meshOf("STRICT").model;
    for (const { name: each, version } of fresh.addresses.values())
      expect(model.addresses.get(each)?.version).toBe(version);
  });

  it("takes a policy away when nothing names it any more", () => {
    const { model, input } = meshOf("STRICT");
    input("PeerAuthentication").handler.remove({ ...strict, spec: {} } as KubeObject);
    const changes = flushInSlices(model);
    expect(changes.length).toBeGreaterThan(2);
    expect(changes.map(({ authorizations }) => authorizations.removed.size)).toEqual([
      ...new Array<number>(changes.length - 1).fill(0),
      1,
    ]);
  });

  it("takes what changes meanwhile along", () => {
    const { model, input } = meshOf(undefined);
    input("PeerAuthentication").handler.upsert({ ...strict, spec: { mtls: { mode: "STRICT" } } } as KubeObject);
    model.flush(0);
    for (const index of [0, COUNT - 1]) {
      const metadata = { namespace: "a", name: `p${index}` };
      input("Pod").handler.remove({ metadata } as KubeObject);
    }
    flushInSlices(model);
    expect(model.addresses.size).toBe(COUNT - 2);
  });
});

describe("hostile objects", () => {
  const KINDS = ["AuthorizationPolicy", "PeerAuthentication", "ServiceEntry", "WorkloadEntry"];
  const keys = ["hosts", "ports", "endpoints", "address", "labels", "rules", "from", "to", "when", "source", "mtls"];
  const more = [
    "selector",
    "matchLabels",
    "workloadSelector",
    "number",
    "name",
    "protocol",
    "targetPort",
    "resolution",
  ];
  const members = ["constructor", "__proto__", "toString", "hasOwnProperty"];
  const leaf = fc.oneof(
    fc.constantFrom("a", "web", "10.0.0.1", "h.example", "*", "STRICT", "DNS", ...members),
    fc.integer({ min: -1, max: 70_000 }),
    fc.constantFrom(null, true, 1.5, ""),
  );
  const { spec } = fc.letrec<{ spec: unknown }>((tie) => ({
    spec: fc.oneof(
      { maxDepth: 5 },
      leaf,
      fc.array(tie("spec"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys, ...more, ...members), tie("spec"), { maxKeys: 5 }),
    ),
  }));

  it("break neither the model nor what else is in it", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...KINDS), spec, spec), { minLength: 1, maxLength: 8 }),
        (hostile) => {
          const failures: unknown[] = [];
          const { model, input } = newModel((...failure) => failures.push(failure));
          const metadata = { namespace: "a", name: "p", labels: { app: "web" } };
          input("Pod").handler.upsert({ metadata, status: { phase: "Running", podIP: "10.0.0.1" } } as KubeObject);
          for (const [index, [kind, body, status]] of hostile.entries()) {
            const object = { metadata: { namespace: "a", name: `x${index}` }, spec: body, status };
            input(kind).handler.upsert(object as KubeObject);
          }
          model.flush();
          expect(failures).toEqual([]);
          expect(model.addresses.get("Kubernetes//Pod/a/p")).toBeDefined();
        },
      ),
      { numRuns: 2000 },
    );
  });
});
