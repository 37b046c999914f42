import { describe, expect, it } from "vitest";
import type { IstioObject } from "#lib/kube/types.ts";
import { Accepted } from "../../model/accepted.ts";
import { serviceDefinition } from "../../model/service.ts";
import type { ServiceDefinition } from "../../model/service-definition.ts";
import type { Finding } from "../../status/status-writer.ts";
import { meshConfigFacts } from "../istio/mesh-config.ts";
import { telemetryFacts } from "./telemetry-facts.ts";
import { TelemetryFindings } from "./telemetry-findings.ts";
import { TelemetryIndex } from "./telemetry-index.ts";

const PROVIDERS = `
extensionProviders:
- {name: jaeger, zipkin: {service: zipkin.obs.svc.cluster.local, port: 9411}}
- {name: walking, skywalking: {service: sky.obs.svc.cluster.local, port: 11800}}
- {name: sampled, opentelemetry: {service: zipkin.obs.svc.cluster.local, port: 9411, dynatraceSampler: {tenant: t}}}
- {name: opa, envoyExtAuthzGrpc: {service: opa.obs.svc.cluster.local, port: 9191}}
`;

function setUp() {
  let config = meshConfigFacts(PROVIDERS, []);
  let zipkin: ServiceDefinition | undefined;
  const said = new Map<string, string>();
  const index = new TelemetryIndex("istio-system", () => findings.recheckAll());
  const findings: TelemetryFindings = new TelemetryFindings({
    telemetry: () => index,
    config: () => config,
    services: {
      service: () => undefined,
      serviceEntry: () => [],
      host: (host) => (host === zipkin?.hostname ? zipkin : undefined),
    },
    clusterDomain: "cluster.local",
    onFinding: ({ object, condition }: Finding) =>
      said.set(object.metadata.name, condition.status === "True" ? "" : condition.message),
  });
  const accepted = new Accepted(
    index.all,
    (object: IstioObject, problems) => telemetryFacts(object, "istio-system", problems),
    (verdict) => findings.note(verdict),
  );
  let age = 0;
  const put = (name: string, spec: object, namespace = "shop") => {
    age += 1;
    const creationTimestamp = new Date(age * 1_000).toISOString();
    accepted.upsert({ metadata: { namespace, name, creationTimestamp }, spec });
  };
  return {
    said,
    put,
    remove: (name: string) => accepted.remove({ metadata: { namespace: "shop", name }, spec: {} }),
    configure: (text: string) => {
      config = meshConfigFacts(text, []);
      findings.recheckAll();
    },
    serve: () => {
      const object = { metadata: { namespace: "obs", name: "zipkin" }, spec: { ports: [{ port: 9411 }] } };
      zipkin = serviceDefinition(object as never, "cluster.local");
      findings.recheckAll();
    },
  };
}

const tracing = (name: string) => ({ tracing: [{ providers: [{ name }] }] });

describe("what a Telemetry is told", () => {
  it("names providers that are not there, are of another sort, or of a kind that waypoints do not have", () => {
    const { put, said, configure } = setUp();
    put("t", tracing("nobody"));
    expect(said.get("t")).toBe('meshConfig.extensionProviders has no "nobody": its spans are lost');
    put("t", tracing("walking"));
    expect(said.get("t")).toBe('provider "walking" is of a kind that waypoints do not have: skywalking');
    put("t", tracing("sampled"));
    expect(said.get("t")).toContain("opentelemetry.dynatraceSampler");
    put("t", tracing("opa"));
    expect(said.get("t")).toBe('provider "opa" takes no spans');
    put("t", { accessLogging: [{ providers: [{ name: "envoy" }, { name: "prometheus" }] }] });
    expect(said.get("t")).toBe('provider "prometheus" takes no logs');
    put("t", {
      accessLogging: [{ disabled: true, providers: [{ name: "gone" }] }],
      metrics: [{ providers: [{ name: "prometheus" }] }],
    });
    expect(said.get("t")).toBe("");
    put("t", { accessLogging: [{ providers: [{ name: "later" }] }] });
    expect(said.get("t")).toContain('"later"');
    configure("extensionProviders: [{name: later, envoyFileAccessLog: {path: /dev/stdout}}]");
    expect(said.get("t")).toBe("");
  });

  it("says so while a collector's service is not there", () => {
    const { put, said, serve } = setUp();
    put("t", tracing("jaeger"));
    expect(said.get("t")).toBe(
      'provider "jaeger" has no service zipkin.obs.svc.cluster.local with port 9411: its spans are lost',
    );
    serve();
    expect(said.get("t")).toBe("");
  });

  it("names the older one that counts in its place, until that is gone", () => {
    const { put, said, remove } = setUp();
    put("first", {});
    put("second", {});
    put("aimed", { targetRefs: [{ kind: "Service", group: "", name: "web" }] });
    put("elsewhere", {}, "other");
    expect([...said]).toEqual([
      ["first", ""],
      ["second", "shop/first is older and counts in its place"],
      ["aimed", ""],
      ["elsewhere", ""],
    ]);
    remove("first");
    expect(said.get("second")).toBe("");
  });
});
