/** What is told of connections that no agent touched. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { type MetricSample, parseMetrics, sumOf } from "../../demo/src/metrics-text.ts";
import type { NodePod } from "../helpers/agent-bed.ts";
import type { LogLine } from "../helpers/agent-process.ts";
import { DirectBed, SERVER_PORT } from "./direct-bed.ts";

const ACCOUNT = "spiffe://cluster.local/ns/default/sa";
/** A few bytes, one segment, some, and more than any window. */
const SIZES = [9, 1_400, 70_001, 6_000_003];
/** Looks with growing pauses, more than 100 ms in all. */
const LOOKS_AT_REST = 5;
const LASTS_MS = 200;
const BOTH = { source_principal: `${ACCOUNT}/red`, destination_principal: `${ACCOUNT}/server1` } as const;
const REPORTERS = ["source", "destination"] as const;

let bed: DirectBed;
let server: NodePod;

beforeAll(async () => {
  bed = await DirectBed.create("wtel", 83, 1);
  const [first] = bed.servers;
  if (first === undefined) throw new Error("a server is needed");
  server = first;
  for (const target of [bed.target(), bed.target(bed.vip6)]) await bed.direct(bed.red, target);
});

afterAll(async () => {
  await bed?.dispose();
});

beforeEach(async () => {
  await restingLog();
  bed.node.agent.forgetLines();
});

/** Lines are written up to 50 ms after their connections' ends. */
async function restingLog(): Promise<void> {
  let before = -1;
  let same = 0;
  await eventually("the log comes to rest", () => {
    const now = bed.node.agent.lines.length;
    same = now === before ? same + 1 : 0;
    before = now;
    return same >= LOOKS_AT_REST;
  });
}

async function metrics(): Promise<MetricSample[]> {
  return parseMetrics((await bed.node.agent.get("metrics", "/metrics")).text);
}

function directLines(): LogLine[] {
  return bed.node.agent.access().filter(({ direction }) => direction === "direct");
}

describe("a direct connection", () => {
  for (const family of [4, 6] as const) {
    it(`is one line with exact bytes, both identities and how long it took, over IPv${family}`, async () => {
      const target = bed.target(family === 4 ? bed.vip : bed.vip6);
      const lines: LogLine[] = [];
      for (const bytes of SIZES) {
        const [attempt] = await bed.times(bed.red, { ...target, bytes }, 1);
        expect(attempt).toMatchObject({ outcome: "reached", direct: true });
        const line = await eventually(`the line of ${bytes} bytes`, () =>
          directLines().find(({ bytes_sent }) => bytes_sent === bytes),
        );
        const [source, destination] = family === 4 ? [bed.red.ip, server.ip] : [`[${bed.red.ip6}]`, `[${server.ip6}]`];
        expect(line).toMatchObject({
          level: "info",
          "src.addr": expect.stringContaining(`${source}:`),
          "src.workload": "red",
          "src.namespace": "default",
          "src.identity": `${ACCOUNT}/red`,
          "dst.addr": `${destination}:${SERVER_PORT}`,
          "dst.service": "web.default.svc.cluster.local",
          "dst.workload": "server1",
          "dst.identity": `${ACCOUNT}/server1`,
          bytes_recv: attempt?.bytes,
          connection_security_policy: "kernel_direct",
          duration: expect.stringMatching(/^\d+ms$/),
          srtt_us: expect.any(Number),
          retransmits: expect.any(Number),
        });
        expect(line["dst.hbone_addr"]).toBeUndefined();
        lines.push(line);
      }
      await restingLog();
      for (const line of lines) {
        const told = bed.node.agent.access().filter((other) => other["src.addr"] === line["src.addr"]);
        expect(told, "nothing else tells of it").toEqual([line]);
      }
    });
  }

  it("is counted for both reporters, with the bytes of the line", async () => {
    const before = await metrics();
    const attempts = await bed.times(bed.red, { ...bed.target(), bytes: 1_000 }, 30);
    const answered = attempts.reduce((sum, { bytes }) => sum + bytes, 0);
    await eventually("both reporters have them", async () => {
      const after = await metrics();
      for (const reporter of REPORTERS) {
        const labels = { ...BOTH, reporter, connection_security_policy: "kernel_direct" };
        const step = (name: string): number => sumOf(after, name, labels) - sumOf(before, name, labels);
        expect(step("istio_tcp_connections_opened_total"), reporter).toBe(30);
        expect(step("istio_tcp_connections_closed_total"), reporter).toBe(30);
        expect(step("istio_tcp_received_bytes_total"), reporter).toBe(30_000);
        expect(step("istio_tcp_sent_bytes_total"), reporter).toBe(answered);
      }
      return true;
    });
  });

  it("is counted while it is open, with the bytes so far", async () => {
    const before = await metrics();
    const held = await bed.hold(bed.red, bed.vip, 80, 10_000);
    const labels = { ...BOTH, connection_security_policy: "kernel_direct" };
    const step = (after: MetricSample[], name: string, reporter: string): number =>
      sumOf(after, name, { ...labels, reporter }) - sumOf(before, name, { ...labels, reporter });
    await eventually("its bytes show", async () => {
      const after = await metrics();
      return REPORTERS.every(
        (reporter) =>
          step(after, "istio_tcp_connections_opened_total", reporter) === 1 &&
          step(after, "istio_tcp_connections_closed_total", reporter) === 0 &&
          step(after, "istio_tcp_received_bytes_total", reporter) > 100_000,
      );
    });
    const open = await held.when("the connection is open", ({ state }) => state === "open");
    await held.when("it lasts", ({ at }) => at > open.at + LASTS_MS);
    const last = (await held.stop()).at(-1);
    const line = await eventually("its line", () => directLines()[0]);
    expect(Number(line.bytes_recv)).toBeGreaterThanOrEqual(last?.bytes ?? Number.NaN);
    expect(Number.parseInt(String(line.duration), 10)).toBeGreaterThanOrEqual(LASTS_MS);
  });

  it("that nobody can tell of any more is counted as lost, not forgotten in silence", async ({ annotate }) => {
    const lost = (samples: MetricSample[]): number => sumOf(samples, "weft_reasons_total", { reason: "event_lost" });
    expect(lost(await metrics())).toBe(0);
    await bed.node.agent.stop("SIGKILL");
    // More than the ring holds (WEFT_EVENTS_BYTES of records), while nobody reads it.
    const flood = 8_000;
    expect(await bed.flood(bed.red, flood)).toBe(flood);
    await bed.node.restart();
    await bed.node.agent.ready();
    const told = await eventually("what was kept, and what was lost", async () => {
      const [kept, missing] = [directLines().length, lost(await metrics())];
      if (kept + missing !== flood) throw new Error(`${kept} kept, ${missing} lost`);
      return { kept, missing };
    });
    await annotate(`${told.kept} records kept, ${told.missing} counted as lost`);
    expect(told.missing).toBeGreaterThan(0);
  });
});
