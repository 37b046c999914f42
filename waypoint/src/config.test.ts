import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "./config.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-waypoint-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

test("defaults are those of a waypoint in ambient", () => {
  expect(loadConfig({}, "waypoint")).toMatchObject({
    role: "waypoint",
    clusterId: "Kubernetes",
    identity: "spiffe://cluster.local/ns/default/sa/default",
    hbone: { host: "::", port: 15_008 },
    admin: { host: "127.0.0.1", port: 15_000 },
    metrics: { host: "::", port: 15_020 },
    ready: { host: "::", port: 15_021 },
    xds: { address: "https://localhost:15012" },
    terminationDeadlineMs: 5000,
  });
});

describe("where the control plane is", () => {
  const address = (env: Record<string, string>) => {
    const { xds, ca } = loadConfig(env, "waypoint");
    return [xds?.address, ca?.address];
  };
  test("the agent's variables", () => {
    expect(address({ XDS_ADDRESS: "x:1", CA_ADDRESS: "c:2" })).toEqual(["https://x:1", "https://c:2"]);
    expect(address({ KUBERNETES_SERVICE_HOST: "10.0.0.1" })[0]).toBe("https://istiod.istio-system.svc:15012");
  });
  test("those of Istio's proxies", () => {
    const yaml = "concurrency: 3\ndiscoveryAddress: istiod.rev.svc:15012\n";
    expect(address({ PROXY_CONFIG: yaml, CA_ADDR: "ca:3" })).toEqual(["https://istiod.rev.svc:15012", "https://ca:3"]);
    expect(loadConfig({ PROXY_CONFIG: yaml }, "waypoint").loops).toBe(3);
    const json = '{"discoveryAddress":"istiod:15012","concurrency":0}';
    expect(address({ PROXY_CONFIG: json })).toEqual(["https://istiod:15012", "https://istiod:15012"]);
    expect(loadConfig({ PROXY_CONFIG: json }, "waypoint").loops).toBeUndefined();
  });
  test("none with a program of its own", () => {
    const path = join(folder, "program.yaml");
    writeFileSync(path, "");
    expect(loadConfig({ LOCAL_XDS_PATH: path }, "waypoint").xds).toBeUndefined();
  });
});

describe("labels of the pod", () => {
  test("come from the kubelet's file", () => {
    const path = join(folder, "labels");
    writeFileSync(path, 'gateway.networking.k8s.io/gateway-name="wp"\nistio-locality="r.z.s"\n');
    const config = loadConfig({ POD_LABELS_PATH: path }, "waypoint");
    expect(config.labels["gateway.networking.k8s.io/gateway-name"]).toBe("wp");
    expect(config.metadata.LABELS).toEqual(config.labels);
    expect(config.locality).toEqual({ region: "r", zone: "z", subzone: "s" });
  });
  test("or from the metadata", () => {
    expect(loadConfig({ ISTIO_METAJSON_LABELS: '{"a":"b"}' }, "waypoint").labels).toEqual({ a: "b" });
  });
});

test("a gateway accepts no tunnels", () => {
  expect(loadConfig({}, "router").hbone).toBeUndefined();
  expect(loadConfig({ HBONE_ADDR: "" }, "waypoint").hbone).toBeUndefined();
});

test.each([
  ["INSTANCE_IP", "nowhere"],
  ["HBONE_ADDR", "15008"],
  ["WEFT_LOOPS", "0"],
  ["WEFT_LOCALITY", "a/b/c/d"],
  ["LOCAL_XDS_PATH", "/no/such/file"],
  ["WEFT_IDENTITY_PATH", "/no/such/folder"],
  ["PROXY_CONFIG", "concurrency: 100000"],
  ["RUST_LOG", "=,"],
])("%s=%s is refused by name", (name, value) => {
  expect(() => loadConfig({ [name]: value }, "waypoint")).toThrow(`environment variable ${name}="${value}"`);
});
