import { beforeEach, describe, expect, test } from "vitest";
import { LogRoot } from "#lib/log.ts";
import { directEvents } from "../../../test/helpers/direct-event.ts";
import { localPod } from "../../../test/helpers/local-pod.ts";
import { serviceAddress, workloadAddress } from "../../../test/helpers/mesh-fixtures.ts";
import { meshState } from "../../../test/helpers/mesh-state.ts";
import { EventClock } from "../direct/event-clock.ts";
import { EVENT_DENIED, EVENT_OPEN } from "../direct/event-decoder.ts";
import { LocalPods } from "../enroll/local-pods.ts";
import type { MeshState } from "../state/mesh-state.ts";
import { Attributor } from "./attribution.ts";
import { DirectAttributor } from "./direct-attribution.ts";
import { DirectTelemetry } from "./direct-telemetry.ts";
import { Telemetry } from "./telemetry.ts";

const HOST = "server.default.svc.cluster.local";
const ID = "spiffe://cluster.local/ns/default/sa";
const CLIENT = localPod(1, "client", ["10.0.0.1", "fd00::1"]);
const SERVER = localPod(2, "server", ["10.0.0.2", "fd00::2"]);
/** The boot was at this Unix time. */
const BOOT = Date.UTC(2026, 0, 2, 3, 4, 0);
const OPENED = { openedNs: 5_000_000_000n, closedNs: 5_012_400_000n } as const;
const VIP = { ip: "10.96.0.1", port: 80 };

let state: MeshState;
let pods: LocalPods;
let attributor: Attributor;
let lines: string[];
let open: Uint8Array;
let policy: string | undefined;
let doubtful: (string | undefined)[];

beforeEach(() => {
  state = meshState(
    workloadAddress({ name: "client", ips: CLIENT.addresses }),
    workloadAddress({ name: "server", ips: SERVER.addresses, services: { [`default/${HOST}`]: { 80: 8080 } } }),
    workloadAddress({ name: "outside", ips: ["192.0.2.7"], hbone: false }),
    serviceAddress({ name: "server", vips: [VIP.ip], ports: { 80: 8080 } }),
  );
  pods = new LocalPods(state);
  for (const pod of [CLIENT, SERVER]) {
    pods.add(pod);
    pods.capture(pod);
  }
  attributor = new Attributor(state, pods, "");
  lines = [];
  open = new Uint8Array();
  policy = undefined;
  doubtful = [];
});

function telemetry(format: "plain" | "json" = "plain", filter = "info") {
  const root = new LogRoot({
    format,
    filter,
    destination: { write: (line) => lines.push(line), flushSync: () => undefined },
  });
  const { series, memory } = attributor;
  const direct = new DirectTelemetry({
    attributor: new DirectAttributor({ view: state, pods, network: "", memory, series }),
    root,
    connections: () => open,
    policyOf: () => policy,
    onDoubtful: ({ path }) => doubtful.push(path),
    clock: new EventClock({ unixMs: () => BOOT, monotonicMs: () => 0, bootMs: () => 0 }),
  });
  return { direct, whole: new Telemetry(attributor, root, () => [], direct) };
}

describe("a line", () => {
  test("of a direct connection names both ends as the kernel knows them, and what it cost", () => {
    const { direct } = telemetry();
    direct.events(
      directEvents({
        ...OPENED,
        asked: VIP,
        requestBytes: 100,
        responseBytes: 2000,
        srttUs: 47,
        retransmits: 1,
      }),
    );
    expect(lines).toEqual([
      "2026-01-02T03:04:05.012400Z\tinfo\taccess\tconnection complete\t" +
        `src.addr=10.0.0.1:40000 src.workload="client" src.namespace="default" src.identity="${ID}/client" ` +
        `src.cluster="Kubernetes" dst.addr=10.0.0.2:8080 dst.service="${HOST}" dst.workload="server" ` +
        `dst.namespace="default" dst.identity="${ID}/server" dst.cluster="Kubernetes" direction="direct" ` +
        'bytes_sent=100 bytes_recv=2000 duration="12ms" connection_security_policy="kernel_direct" srtt_us=47 ' +
        "retransmits=1\n",
    ]);
  });

  test("has the same in JSON", () => {
    const { direct } = telemetry("json");
    const source = { ip: "fd00::1", port: 40_001 };
    direct.events(directEvents({ source, destination: { ip: "fd00::2", port: 8080 }, flags: 7, requestBytes: 3 }));
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      scope: "access",
      "src.addr": "[fd00::1]:40001",
      "src.identity": `${ID}/client`,
      "dst.addr": "[fd00::2]:8080",
      "dst.workload": "server",
      direction: "direct",
      bytes_sent: 3,
      bytes_recv: 0,
      connection_security_policy: "kernel_direct",
      srtt_us: 0,
      retransmits: 0,
      shortcut: "express",
    });
  });

  test("of a refusal and of an end by policy is an error that names the policy", () => {
    const { direct } = telemetry();
    policy = "default/no";
    direct.events(directEvents({ kind: EVENT_DENIED, flags: 0 }, { reason: "policy_changed" }));
    policy = "";
    direct.events(directEvents({ kind: EVENT_DENIED, flags: 0 }));
    expect(lines[0]?.split("\t")[1]).toBe("error");
    expect(lines[0]).toContain('error="connection closed due to policy rejection: explicitly denied by: default/no"');
    expect(lines[1]).toContain('error="connection closed due to policy change: explicitly denied by: default/no"');
    expect(lines[2]).toContain('policy rejection: allow policies exist, but none allowed"');
  });

  test("of plaintext is told from the pod's side, as the engine would, and proves nobody", () => {
    const { direct } = telemetry();
    const outside = { ip: "192.0.2.7", port: 443 };
    direct.events(
      directEvents(
        { path: "plain-out", destinationPod: 0n, destination: outside, requestBytes: 1, responseBytes: 2, flags: 5 },
        { path: "plain-in", sourcePod: 0n, source: { ip: "192.0.2.7", port: 9 }, requestBytes: 1, responseBytes: 2 },
      ),
    );
    expect(lines[0]).toContain(
      'src.addr=10.0.0.1:40000 src.workload="client" src.namespace="default" src.cluster="Kubernetes" ' +
        'dst.addr=192.0.2.7:443 dst.workload="outside" dst.namespace="default" dst.cluster="Kubernetes" ' +
        'direction="outbound" bytes_sent=1 bytes_recv=2 duration="0ms" srtt_us=0 retransmits=0 shortcut="redirect"\n',
    );
    expect(lines[1]).toContain(`dst.addr=10.0.0.2:8080 dst.service="${HOST}" dst.workload="server"`);
    expect(lines[1]).toContain('direction="inbound" bytes_sent=2 bytes_recv=1');
    expect(lines.join()).not.toContain("identity");
  });

  test("still names a pod that has left", () => {
    const { direct } = telemetry();
    pods.delete(CLIENT.id);
    attributor.memory.podLeft(CLIENT);
    direct.events(directEvents({}));
    expect(lines[0]).toContain(`src.identity="${ID}/client"`);
  });

  test("is not written below the level that is asked for, but counted", () => {
    const { direct } = telemetry("plain", "info,access=error");
    direct.events(directEvents({}, { kind: EVENT_DENIED, flags: 0 }));
    expect(lines).toHaveLength(1);
    expect([...attributor.series.values()].map(({ closed }) => closed)).toEqual([2, 2]);
  });
});

describe("sums", () => {
  test("have both reporters, with the bytes of the line", () => {
    const { direct } = telemetry();
    direct.events(directEvents({ asked: VIP, requestBytes: 10, responseBytes: 20 }));
    direct.events(directEvents({ asked: VIP, kind: EVENT_DENIED, flags: 0 }));
    const all = [...attributor.series.values()];
    expect(all.map(({ labels }) => labels.reporter)).toEqual(["source", "destination"]);
    for (const series of all) {
      expect(series.labels).toMatchObject({
        connection_security_policy: "kernel_direct",
        source_principal: `${ID}/client`,
        destination_principal: `${ID}/server`,
        destination_service: HOST,
      });
      expect([series.received(), series.sent(), series.opened()]).toEqual([10, 20, 2]);
      expect([...series.failedByFlag]).toEqual([["DENY", 1]]);
    }
  });

  test("have what is open now, by reporter", () => {
    const { whole } = telemetry();
    open = directEvents(
      { kind: EVENT_OPEN, requestBytes: 5 },
      { kind: EVENT_OPEN, path: "plain-in", sourcePod: 0n },
      { kind: EVENT_OPEN, path: "plain-out", destinationPod: 0n },
    );
    whole.refresh();
    expect(whole.open).toEqual({ source: 2, destination: 2 });
    const [source] = attributor.series.values();
    expect([source?.opened(), source?.received()]).toEqual([1, 5]);
  });

  test("of plain paths are the pod's, and say that nobody has proved anything", () => {
    const { direct } = telemetry();
    direct.events(directEvents({ path: "plain-in", sourcePod: 0n, source: { ip: "192.0.2.7", port: 9 } }));
    const [series, ...more] = attributor.series.values();
    expect(more).toEqual([]);
    expect(series?.labels).toMatchObject({
      reporter: "destination",
      source_workload: "outside",
      source_principal: "unknown",
      destination_principal: "unknown",
      connection_security_policy: "unknown",
    });
  });
});

test("a connection that came about in spite of what holds now is handed on, and is no line", () => {
  const { direct } = telemetry();
  direct.events(directEvents({ kind: EVENT_OPEN, path: "plain-in" }, {}));
  expect(doubtful).toEqual(["plain-in"]);
  expect(lines).toHaveLength(1);
});

test("a record takes a few microseconds", async ({ annotate }) => {
  const { direct } = telemetry();
  const batch = directEvents(
    ...Array.from({ length: 1000 }, (_, index) => ({
      ...OPENED,
      source: { ip: "10.0.0.1", port: 10_000 + index },
      asked: VIP,
      requestBytes: index,
    })),
  );
  const round = () => {
    lines.length = 0;
    const started = performance.now();
    direct.events(batch);
    // Strings are put together only when somebody looks.
    Buffer.from(lines.join(""));
    // Microseconds per record: as many as milliseconds per thousand.
    return performance.now() - started;
  };
  const best = Math.min(...Array.from({ length: 30 }, round));
  await annotate(`${best.toFixed(2)} us per record`);
  expect(lines).toHaveLength(1000);
  // 20,000 records a second are 400 ms of the thread with 20; less than 1 is usual.
  expect(best).toBeLessThan(20);
});
