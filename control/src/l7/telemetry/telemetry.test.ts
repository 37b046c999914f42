import { fromBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { DestinationSchema, EndpointsSchema, SettingsSchema, TelemetrySchema } from "#proto/l7_pb.ts";
import { MESH_SETTINGS } from "../../../../test/helpers/mesh-settings.ts";
import type { Problem } from "../../model/fields.ts";
import { MeshModel } from "../../model/mesh-model.ts";
import { podFacts } from "../../model/pod.ts";
import { serviceDefinition } from "../../model/service.ts";
import { meshConfigFacts } from "../istio/mesh-config.ts";
import { L7World } from "../l7-world.ts";
import { WaypointProgram } from "../waypoint-program.ts";
import { telemetryFacts } from "./telemetry-facts.ts";

const SERVICES = ["default/web.default.svc.cluster.local", "other/web.other.svc.cluster.local"] as const;
const OF_SERVICE = { targetRefs: [{ kind: "Service", group: "", name: "web" }] };
const OF_GATEWAY = { targetRefs: [{ kind: "Gateway", group: "gateway.networking.k8s.io", name: "waypoint" }] };
const log = (provider: string) => ({ accessLogging: [{ providers: [{ name: provider }] }] });

class Mesh {
  readonly model = new MeshModel(MESH_SETTINGS);
  readonly world = new L7World(this.model);
  #age = 0;

  constructor(config = "") {
    for (const namespace of ["default", "other"]) {
      const spec = { clusterIP: "10.96.0.1", ports: [{ name: "http", port: 80 }] };
      const definition = serviceDefinition({ metadata: { namespace, name: "web" }, spec } as never, "cluster.local");
      if (definition !== undefined) this.model.services.upsert(definition);
    }
    const problems: Problem[] = [];
    this.world.config = meshConfigFacts(config, problems);
    expect(problems).toEqual([]);
    this.world.modelChanged(this.model.flush());
  }

  telemetry(namespace: string, name: string, spec: object): this {
    this.#age += 1;
    const creationTimestamp = new Date(this.#age * 1_000).toISOString();
    const problems: Problem[] = [];
    const facts = telemetryFacts({ metadata: { namespace, name, creationTimestamp }, spec }, "istio-system", problems);
    expect(problems).toEqual([]);
    if (facts !== undefined) this.world.telemetry.all.upsert(facts);
    return this;
  }

  program(): WaypointProgram {
    const waypoint = { namespace: "default", name: "waypoint", gatewayClass: "istio-waypoint" };
    const program = new WaypointProgram(this.world, waypoint, { services: new Set(SERVICES), workloads: new Set() });
    program.flush();
    return program;
  }
}

function own(program: WaypointProgram) {
  const settings = fromBinary(SettingsSchema, program.tables.Settings.get("settings")?.message ?? new Uint8Array());
  return named(program, settings.telemetry);
}

function ofService(program: WaypointProgram, key: string) {
  const destination = fromBinary(DestinationSchema, program.tables.Destination.get(key)?.message ?? new Uint8Array());
  const name = destination.ports[0]?.chain?.telemetry ?? "";
  return name === "" ? own(program) : named(program, name);
}

function named(program: WaypointProgram, name: string) {
  const resource = program.tables.Telemetry.get(name);
  if (resource === undefined) throw new Error(`no telemetry ${name}`);
  return fromBinary(TelemetrySchema, resource.message);
}

function everything(program: WaypointProgram) {
  return [...program.byType].map(([type, table]) => [
    type,
    [...table.names()].sort().map((name) => [name, Buffer.from(table.get(name)?.message ?? []).toString("hex")]),
  ]);
}

const PROVIDERS = `
extensionProviders:
- {name: root, envoyFileAccessLog: {path: /dev/stdout, logFormat: {text: "%REQ(x-team)%"}}}
- {name: space, envoyFileAccessLog: {path: /dev/stderr, logFormat: {labels: {a: "%RESP(x-b)%", n: {c: "%PROTOCOL%"}}}}}
- {name: jaeger, zipkin: {service: zipkin.istio-system.svc.cluster.local, port: 9411}}
- {name: otel, opentelemetry: {service: obs/otel.obs.svc.cluster.local, port: 4318, http: {path: /v1/traces, timeout: 2s}}}
`;
const providersOf = (telemetry: ReturnType<typeof own>) => telemetry.accessLogs.map(({ provider }) => provider);

describe("Telemetry at a waypoint", () => {
  it("goes from the root namespace over the namespace to the target, the oldest of each", () => {
    const mesh = new Mesh(PROVIDERS).telemetry("istio-system", "mesh", log("root"));
    expect(providersOf(own(mesh.program()))).toEqual(["root"]);
    mesh.telemetry("other", "ns", log("space")).telemetry("other", "later", log("envoy"));
    mesh.telemetry("default", "selected", { selector: { matchLabels: { a: "b" } }, ...log("space") });
    const program = mesh.program();
    expect(providersOf(own(program))).toEqual(["root"]);
    expect(providersOf(ofService(program, SERVICES[0]))).toEqual(["root"]);
    expect(providersOf(ofService(program, SERVICES[1]))).toEqual(["space"]);
    mesh.telemetry("default", "gateway", { ...OF_GATEWAY, ...log("envoy") });
    mesh.telemetry("other", "service", { ...OF_SERVICE, accessLogging: [{ disabled: true }] });
    expect(providersOf(own(mesh.program()))).toEqual(["envoy"]);
    expect(providersOf(ofService(mesh.program(), SERVICES[1]))).toEqual([]);
  });

  it("asks for the headers that formats, filters and tags read", () => {
    const mesh = new Mesh(PROVIDERS).telemetry("default", "all", {
      accessLogging: [
        { providers: [{ name: "root" }, { name: "space" }], filter: { expression: "request.headers['x-f'] == 'y'" } },
      ],
      metrics: [
        { overrides: [{ tagOverrides: { path: { value: "request.path" }, reporter: { operation: "REMOVE" } } }] },
      ],
    });
    const telemetry = own(mesh.program());
    expect(telemetry.requestHeaders).toEqual(["x-f", "x-team"]);
    expect(telemetry.responseHeaders).toEqual(["x-b"]);
    expect(telemetry.tagsOfRequests).toBe(true);
    expect(telemetry.accessLogs[1]).toMatchObject({ path: "/dev/stderr", format: { case: "json" } });
    expect(telemetry.metricOverrides[0]).toMatchObject({
      upsertTags: { path: "request.path" },
      removeTags: ["reporter"],
    });
  });

  it("merges tracing field by field", () => {
    const mesh = new Mesh(PROVIDERS)
      .telemetry("istio-system", "mesh", {
        tracing: [
          {
            providers: [{ name: "jaeger" }],
            randomSamplingPercentage: 50,
            customTags: { a: { literal: { value: "1" } } },
          },
        ],
      })
      .telemetry("default", "ns", { tracing: [{ randomSamplingPercentage: 0 }] })
      .telemetry("other", "ns", {
        tracing: [{ providers: [{ name: "otel" }], customTags: { b: { header: { name: "X-B" } } } }],
      });
    const program = mesh.program();
    expect(own(program).tracing).toMatchObject({
      samplingPpm: 0,
      useRequestId: true,
      tags: [{ name: "a" }],
      exporter: { case: "zipkin", value: { address: "zipkin.istio-system.svc.cluster.local:9411" } },
    });
    expect(ofService(program, SERVICES[1])).toMatchObject({
      requestHeaders: ["x-b"],
      tracing: {
        samplingPpm: 500_000,
        tags: [{ name: "b" }],
        exporter: {
          case: "otlp",
          value: { address: "otel.obs.svc.cluster.local:4318", http: true, timeoutMs: 2_000n },
        },
      },
    });
  });

  it("is its namespace's for a pod that is addressed by itself", () => {
    const mesh = new Mesh(PROVIDERS).telemetry("other", "ns", log("space"));
    const annotations = { "ambient.istio.io/redirection": "enabled" };
    const pod = podFacts({
      metadata: { namespace: "other", name: "web-1", labels: { app: "web" }, annotations },
      spec: { serviceAccountName: "web" },
      status: { phase: "Running", podIP: "10.0.0.1", conditions: [{ type: "Ready", status: "True" }] },
    });
    if (pod !== undefined) mesh.model.pods.upsert(pod);
    const object = {
      metadata: { namespace: "other", name: "web" },
      spec: { selector: { app: "web" }, ports: [{ port: 80 }] },
    };
    const definition = serviceDefinition(object as never, "cluster.local");
    if (definition !== undefined) mesh.model.services.upsert(definition);
    mesh.world.modelChanged(mesh.model.flush());
    const uid = "Kubernetes//Pod/other/web-1";
    const waypoint = { namespace: "default", name: "waypoint", gatewayClass: "istio-waypoint" };
    const program = new WaypointProgram(mesh.world, waypoint, { services: new Set(), workloads: new Set([uid]) });
    program.flush();
    expect(providersOf(ofService(program, uid))).toEqual(["space"]);
    expect(providersOf(own(program))).toEqual([]);
  });

  it("leads to collectors by clusters of their services, once there are such, and by name elsewhere", () => {
    const mesh = new Mesh(PROVIDERS).telemetry("default", "ns", { tracing: [{ providers: [{ name: "otel" }] }] });
    const program = mesh.program();
    const cluster = "outbound|4318||otel.obs.svc.cluster.local";
    const exporter = () => own(program).tracing?.exporter;
    expect(exporter()).toMatchObject({ value: { cluster, address: "otel.obs.svc.cluster.local:4318" } });
    expect(program.tables.Cluster.get(cluster)).toBeUndefined();
    const object = { metadata: { namespace: "obs", name: "otel" }, spec: { ports: [{ port: 4318 }] } };
    const definition = serviceDefinition(object as never, "cluster.local");
    if (definition !== undefined) mesh.model.services.upsert(definition);
    mesh.world.modelChanged(mesh.model.flush());
    program.flush();
    expect(program.tables.Cluster.get(cluster)).toBeDefined();
    expect(everything(program)).toEqual(everything(mesh.program()));
    const byName = new Mesh("defaultConfig: {tracing: {zipkin: {address: 'zipkin.example:9411'}}}").program();
    const endpoints = byName.tables.Endpoints.get("outbound|9411||zipkin.example")?.message ?? new Uint8Array();
    expect(fromBinary(EndpointsSchema, endpoints).endpoints).toMatchObject([
      { hostname: "zipkin.example", port: 9411 },
    ]);
  });

  it("goes by the older fields of the mesh only while there are neither resources nor default providers", () => {
    const old =
      "accessLogFile: /dev/stdout\naccessLogEncoding: JSON\ndefaultConfig: {tracing: {sampling: 100, zipkin: {address: 'z:9411'}}}\n";
    const telemetry = own(new Mesh(old).program());
    expect(telemetry.accessLogs).toMatchObject([{ provider: "", path: "/dev/stdout", format: { case: "json" } }]);
    expect(telemetry.tracing).toMatchObject({ samplingPpm: 1_000_000, exporter: { value: { address: "z:9411" } } });
    expect(own(new Mesh(`${old}enableTracing: false`).program()).tracing).toBeUndefined();
    expect(providersOf(own(new Mesh(`${old}${PROVIDERS}defaultProviders: {accessLogging: [root]}`).program()))).toEqual(
      ["root"],
    );
    const off = new Mesh(old).telemetry("default", "off", { accessLogging: [{ disabled: true }] });
    expect(own(off.program()).accessLogs).toEqual([]);
    const nothing = own(new Mesh().program());
    expect(nothing).toMatchObject({ accessLogs: [], metricsDisabled: false });
    expect(nothing.tracing).toBeUndefined();
  });

  it("becomes by edits what it is from scratch", () => {
    const mesh = new Mesh(PROVIDERS);
    const program = mesh.program();
    const same = () => {
      program.flush();
      expect(everything(program)).toEqual(everything(mesh.program()));
    };
    mesh.telemetry("istio-system", "mesh", log("root"));
    same();
    mesh.telemetry("other", "service", { ...OF_SERVICE, ...log("space") });
    same();
    mesh.telemetry("other", "service", { ...OF_SERVICE, accessLogging: [{ disabled: true }] });
    same();
    mesh.world.telemetry.all.remove("other/service");
    same();
    mesh.world.telemetry.all.remove("istio-system/mesh");
    same();
  });

  it.each([
    [{ accessLogging: [{ filter: { expression: "response.code +" } }] }, "spec.accessLogging[0].filter.expression"],
    [{ accessLogging: [{ filter: { expression: "'text'" } }] }, "spec.accessLogging[0].filter.expression"],
    [
      { metrics: [{ overrides: [{ tagOverrides: { a: { value: "nobody.knows" } } }] }] },
      "spec.metrics[0].overrides[0].tagOverrides.a.value",
    ],
    [{ tracing: [{ randomSamplingPercentage: 101 }] }, "spec.tracing[0].randomSamplingPercentage"],
    [{ tracing: [{ customTags: { a: {} } }] }, "spec.tracing[0].customTags.a"],
    [{ logs: [] }, "spec.logs"],
  ])("refuses %j", (spec, field) => {
    const problems: Problem[] = [];
    expect(
      telemetryFacts({ metadata: { namespace: "default", name: "t" }, spec }, "istio-system", problems),
    ).toBeUndefined();
    expect(problems.map((each) => each.field)).toEqual([field]);
  });

  it("refuses formats of providers that make no sense", () => {
    const problems: Problem[] = [];
    meshConfigFacts(
      "accessLogFormat: '%NOTHING%'\nextensionProviders: [{name: a, envoyFileAccessLog: {logFormat: {text: '%REQ%'}}}]",
      problems,
    );
    expect(problems.map(({ field }) => field).sort()).toEqual([
      "mesh.accessLogFormat",
      "mesh.extensionProviders[0].envoyFileAccessLog.logFormat.text",
    ]);
  });
});
