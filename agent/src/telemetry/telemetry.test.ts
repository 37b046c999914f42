import { beforeEach, describe, expect, test } from "vitest";
import { LogRoot } from "#lib/log.ts";
import { localPod } from "../../../test/helpers/local-pod.ts";
import { serviceAddress, uidOf, workloadAddress } from "../../../test/helpers/mesh-fixtures.ts";
import { meshState } from "../../../test/helpers/mesh-state.ts";
import { LocalPods } from "../enroll/local-pods.ts";
import type { ConnectionRecord } from "../native.ts";
import type { MeshState } from "../state/mesh-state.ts";
import { plainLine } from "./access-log.ts";
import { Attributor, forwardedHost } from "./attribution.ts";
import { parseBaggage } from "./baggage.ts";
import { TCP_LABELS } from "./series.ts";
import { Telemetry } from "./telemetry.ts";

const HOST = "server.default.svc.cluster.local";
const ID = "spiffe://cluster.local/ns/default/sa";

let state: MeshState;
let pods: LocalPods;
let attributor: Attributor;
let lines: string[];
let live: ConnectionRecord[];
let telemetry: Telemetry;

beforeEach(() => {
  state = meshState(
    workloadAddress({ name: "client", ips: ["10.0.0.1"], more: { locality: { region: "r", zone: "z" } } }),
    workloadAddress({ name: "server", ips: ["10.0.0.2"], services: { [`default/${HOST}`]: { 80: 8080 } } }),
    serviceAddress({ name: "server", vips: ["10.96.0.1"], ports: { 80: 8080 } }),
  );
  pods = new LocalPods(state);
  pods.add(localPod(1, "client", ["10.0.0.1"]));
  pods.add(localPod(2, "server", ["10.0.0.2"]));
  attributor = new Attributor(state, pods, "");
  lines = [];
  live = [];
  const root = new LogRoot({
    format: "plain",
    filter: "info",
    destination: { write: (line) => lines.push(line), flushSync: () => undefined },
  });
  telemetry = new Telemetry(attributor, root, () => live);
});

function outbound(change: Partial<ConnectionRecord> = {}): ConnectionRecord {
  return {
    id: 1,
    pod: 1,
    path: "outbound",
    source: { ip: "10.0.0.1", port: 40_000 },
    destination: { ip: "10.96.0.1", port: 80 },
    upstream: { ip: "10.0.0.2", port: 15_008 },
    authority: "10.0.0.2:8080",
    peerIdentity: `${ID}/server`,
    endpointKey: state.workloads.get(uidOf("server"))?.key ?? 0,
    traceId: "0".repeat(32),
    openedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5),
    durationMs: 12.4,
    requestBytes: 100,
    responseBytes: 2000,
    established: true,
    reason: "none",
    ...change,
  };
}

function inbound(change: Partial<ConnectionRecord> = {}): ConnectionRecord {
  return outbound({
    pod: 2,
    path: "inbound-hbone",
    destination: { ip: "10.0.0.2", port: 8080 },
    peerIdentity: `${ID}/client`,
    forwarded: `for="10.0.0.1:40000";host=${HOST}`,
    ...change,
  });
}

describe("access lines", () => {
  test("have ambient's keys in ambient's order", () => {
    telemetry.closed(outbound());
    expect(lines).toEqual([
      "2026-01-02T03:04:05.012400Z\tinfo\taccess\tconnection complete\t" +
        `src.addr=10.0.0.1:40000 src.workload="client" src.namespace="default" src.identity="${ID}/client" ` +
        'src.cluster="Kubernetes" dst.addr=10.0.0.2:15008 dst.hbone_addr=10.0.0.2:8080 ' +
        `dst.service="${HOST}" dst.workload="server" dst.namespace="default" dst.identity="${ID}/server" ` +
        'dst.cluster="Kubernetes" direction="outbound" bytes_sent=100 bytes_recv=2000 duration="12ms"\n',
    ]);
  });

  test("count bytes from the local pod's side", () => {
    telemetry.closed(inbound());
    expect(lines[0]).toContain("dst.addr=10.0.0.2:15008 dst.hbone_addr=10.0.0.2:8080");
    expect(lines[0]).toContain('direction="inbound" bytes_sent=2000 bytes_recv=100');
  });

  test("name the policy that decided", () => {
    telemetry.closed(inbound({ reason: "policy_denied", policy: "default/no", established: false }));
    telemetry.closed(inbound({ reason: "policy_denied", policy: "", established: false }));
    expect(lines[0]).toContain('error="connection closed due to policy rejection: explicitly denied by: default/no"');
    expect(lines[0]?.split("\t")[1]).toBe("error");
    expect(lines[1]).toContain('policy rejection: allow policies exist, but none allowed"');
  });

  test("cannot be forged by what a peer sends", () => {
    const nasty = 'x" error="forged\nline';
    const line = plainLine("info", inbound({ authority: nasty, detail: nasty, reason: "internal" }), {
      ...attributor.attribute(inbound()),
    });
    expect(line.split("\n")).toHaveLength(2);
    expect(line).toContain(`dst.hbone_addr=${JSON.stringify(nasty)}`);
  });
});

describe("sums", () => {
  test("ended and live connections add up, and never go back", () => {
    live = [outbound({ requestBytes: 10, responseBytes: 20 })];
    telemetry.closed(outbound());
    telemetry.refresh();
    const [series] = attributor.series.values();
    expect([series?.opened(), series?.sent(), series?.received()]).toEqual([2, 2020, 110]);
    // It ended, its event is still on its way.
    live = [];
    series?.clearLive();
    expect([series?.opened(), series?.sent(), series?.received()]).toEqual([2, 2020, 110]);
    telemetry.closed(outbound({ requestBytes: 10, responseBytes: 20 }));
    expect([series?.opened(), series?.sent(), series?.received()]).toEqual([2, 2020, 110]);
  });

  test("failures carry their flag, and only they count as failed", () => {
    telemetry.closed(outbound({ reason: "tls_failure", established: false }));
    telemetry.closed(outbound({ reason: "peer_reset" }));
    const [series] = attributor.series.values();
    expect([...(series?.closedByFlag ?? [])]).toEqual([
      ["TLS_FAILURE", 1],
      ["CONNECT", 1],
    ]);
    expect([...(series?.failedByFlag ?? [])]).toEqual([["TLS_FAILURE", 1]]);
  });

  test("both reporters tell of the same two ends", () => {
    const client = attributor.attribute(outbound()).series.labels;
    const server = attributor.attribute(inbound()).series.labels;
    expect(Object.keys(client)).toEqual([...TCP_LABELS]);
    expect({ ...client, reporter: "" }).toEqual({ ...server, reporter: "" });
    expect(client).toMatchObject({ source_region: "r", destination_region: "unknown", response_flags: "-" });
  });
});

describe("who it was", () => {
  test("a workload that has gone is still named when its last connections end", () => {
    const record = outbound();
    state.removeAddress(uidOf("server"));
    state.commit();
    attributor.forget();
    expect(attributor.attribute(record).destination.workload).toBe("server");
  });

  test("a peer of unknown address is known by its baggage", () => {
    const baggage = "k8s.namespace.name=far,k8s.deployment.name=d,service.name=c,service.version=v9";
    const { source } = attributor.attribute(inbound({ source: { ip: "172.16.0.1", port: 1 }, baggage }));
    expect(source).toMatchObject({ workload: "d", namespace: "far", canonicalName: "c", canonicalRevision: "v9" });
    // A known address is not talked over.
    expect(attributor.attribute(inbound({ baggage })).source.workload).toBe("client");
  });

  test("without a host the service is the one that leads to the port", () => {
    const { forwarded: _, ...record } = inbound();
    expect(attributor.attribute(record).service?.hostname).toBe(HOST);
    expect(attributor.attribute({ ...record, destination: { ip: "10.0.0.2", port: 9 } }).service).toBeUndefined();
  });

  test("outside the mesh it is unknown", () => {
    const { peerIdentity: _, endpointKey: __, authority: ___, ...record } = outbound();
    const far = { ...record, destination: { ip: "192.0.2.1", port: 443 } };
    expect(attributor.attribute(far).series.labels).toMatchObject({
      source_workload: "client",
      source_principal: "unknown",
      destination_workload: "unknown",
      destination_service: "unknown",
      connection_security_policy: "unknown",
    });
  });
});

test("headers of peers are read with care", () => {
  expect(forwardedHost('for="1.2.3.4:5";host="a.b"')).toBe("a.b");
  expect(forwardedHost("for=x")).toBeUndefined();
  expect(parseBaggage("a,=b,k8s.pod.name=,service.name = x ,service.name=y")).toEqual({ canonicalName: "y" });
  expect(parseBaggage(`service.name=${"x".repeat(300)}`)).toEqual({});
  expect(parseBaggage("toString=x,__proto__=y")).toEqual({});
});
