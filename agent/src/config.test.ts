import { describe, expect, test } from "vitest";
import { ZTUNNEL_DAEMON_SET } from "../../test/helpers/ztunnel-daemon-set.ts";
import { loadConfig } from "./config.ts";

const base = { NODE_NAME: "n" };

test("defaults are ambient's", () => {
  expect(loadConfig(base)).toMatchObject({
    clusterId: "Kubernetes",
    clusterDomain: "cluster.local",
    network: "",
    xds: { address: "https://localhost:15012", root: { kind: "file" } },
    secretTtlMs: 86_400_000,
    dns: { enabled: true },
    engine: {
      maxStreamsPerConnection: 100,
      poolUnusedReleaseMs: 300_000,
      streamWindowBytes: 4_194_304,
      connectionWindowBytes: 16_777_216,
      frameBytes: 1_048_576,
      keepalive: { enabled: true, timeSec: 180, intervalSec: 180, retries: 9 },
    },
    terminationDeadlineMs: 5000,
    admin: { host: "127.0.0.1", port: 15_000 },
    metrics: { host: "::", port: 15_020 },
    ready: { host: "::", port: 15_021 },
  });
});

test("in a cluster the control plane is istiod", () => {
  expect(loadConfig({ ...base, KUBERNETES_SERVICE_HOST: "10.0.0.1" }).xds?.address).toBe(
    "https://istiod.istio-system.svc:15012",
  );
  expect(loadConfig({ ...base, XDS_ADDRESS: "istiod:15012" }).xds?.address).toBe("https://istiod:15012");
  expect(loadConfig({ ...base, XDS_ADDRESS: "" }).xds).toBeUndefined();
});

test("the environment of Istio's ztunnel is taken as it is", () => {
  expect(loadConfig(ZTUNNEL_DAEMON_SET)).toMatchObject({
    nodeName: "node-1",
    clusterId: "Kubernetes",
    podName: "ztunnel-x7k2p",
    podNamespace: "istio-system",
    instanceIp: "10.1.0.9",
    metadata: { NAME: "ztunnel-x7k2p", NAMESPACE: "istio-system", NODE_NAME: "node-1", ENABLE_HBONE: "true" },
    xds: { address: "https://istiod.istio-system.svc:15012", root: { path: "./var/run/secrets/istio/root-cert.pem" } },
    ca: { address: "https://istiod.istio-system.svc:15012" },
    dns: { enabled: true },
    terminationDeadlineMs: 25_000,
  });
  const PROXY_CONFIG = "discoveryAddress: istiod.rev.svc:15012\nconcurrency: 3\n";
  const given = loadConfig({ ...ZTUNNEL_DAEMON_SET, XDS_ADDRESS: undefined, PROXY_CONFIG });
  expect([given.xds?.address, given.engine.loops]).toEqual(["https://istiod.rev.svc:15012", 3]);
});

test("metadata come from their prefixes", () => {
  const { metadata, clusterId, dns } = loadConfig({
    ...base,
    ISTIO_META_CLUSTER_ID: "c1",
    CLUSTER_ID: "c2",
    ISTIO_META_DNS_CAPTURE: "false",
    ISTIO_METAJSON_LABELS: '{"a":1}',
    XDS_HEADER_X: "y",
  });
  expect(metadata).toMatchObject({ NODE_NAME: "n", CLUSTER_ID: "c1", DNS_CAPTURE: "false", LABELS: { a: 1 } });
  expect([clusterId, dns.enabled]).toEqual(["c1", false]);
  expect(loadConfig({ ...base, XDS_HEADER_X: "y" }).xds?.headers).toEqual({ X: "y" });
});

test("a root certificate is a file, a text or the system's", () => {
  const root = (value: string) => loadConfig({ ...base, XDS_ROOT_CA: value }).xds?.root.kind;
  expect([root("/a/b.pem"), root("SYSTEM"), root("-----BEGIN CERTIFICATE-----\n")]).toEqual(["file", "system", "pem"]);
});

test("the time to end follows from the pod's grace period unless it is given", () => {
  const deadline = (env: Record<string, string>) => loadConfig({ ...base, ...env }).terminationDeadlineMs;
  expect(deadline({ TERMINATION_GRACE_PERIOD_SECONDS: "30" })).toBe(25_000);
  expect(deadline({ TERMINATION_GRACE_PERIOD_SECONDS: "10" })).toBe(9000);
  expect(deadline({ TERMINATION_GRACE_PERIOD_SECONDS: "0" })).toBe(1000);
  expect(deadline({ CONNECTION_TERMINATION_DEADLINE: "2s", TERMINATION_GRACE_PERIOD_SECONDS: "30" })).toBe(2000);
});

describe("a value that cannot be used is named with what is expected", () => {
  test.each([
    ["XDS_ADDRESS", "http://x"],
    ["CA_ADDRESS", "ftp://x"],
    ["XDS_ROOT_CA", "nothing"],
    ["INSTANCE_IP", "x"],
    ["POOL_MAX_STREAMS_PER_CONNECTION", "0"],
    ["HTTP2_FRAME_SIZE", "100"],
    ["KEEPALIVE_TIME", "10h"],
    ["KEEPALIVE_ENABLED", "yes"],
    ["SECRET_TTL", "1 day"],
    ["LOG_FORMAT", "xml"],
    ["RUST_LOG", "loud"],
    ["ADMIN_ADDR", "15000"],
    ["STATS_ADDR", "x:99999"],
    ["LOCAL_XDS_PATH", "/nonexistent"],
    ["WEFT_PODS_CGROUP", "/nonexistent"],
    ["ISTIO_METAJSON_X", "{"],
    ["TERMINATION_GRACE_PERIOD_SECONDS", "-1"],
    ["ZTUNNEL_WORKER_THREADS", "many"],
    ["NODE_NAME", ""],
    ["XDS_ON_DEMAND", "true"],
    ["PROXY_MODE", "dedicated"],
    ["INPOD_ENABLED", "false"],
    ["ENABLE_PROXY", "false"],
    ["ENABLE_ORIG_SRC", "false"],
    ["ENABLE_RESPONSE_BAGGAGE", "false"],
    ["UNSTABLE_ENABLE_SOCKS5", "true"],
    ["FAKE_CA", "true"],
    ["LOCAL_XDS", "workloads: []"],
    ["PROXY_CONFIG", "concurrency: 1000"],
    ["TLS12_ENABLED", "true"],
    ["CRL_PATH", "/etc/crl.pem"],
    ["COMPLIANCE_POLICY", "pqc"],
  ])("%s=%s", (name, value) => {
    expect(() => loadConfig({ ...base, [name]: value })).toThrow(`environment variable ${name}="${value}": expected `);
  });
});
