/** The plane's own part of the direct path, through the addon: what it writes, reads, lists and ends. */
import { execFileSync } from "node:child_process";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { type BpfPlane, type DirectConnection, type DirectEndpoint, loadAddon } from "../../agent/src/native.ts";
import type { BedPod } from "../helpers/pod-bed.ts";
import { CaptureBed, type Conversation } from "./capture-bed.ts";
import { decodeEvents, type WeftEvent } from "./weft-event.ts";

const addon = loadAddon();
const VIP = "10.99.3.3";
const VIP6 = "fd99::3";

let bed: CaptureBed;
let client: BedPod;
let server: BedPod;
let holder: Conversation;
let plane: BpfPlane;
let source: bigint;
let destination: bigint;
let events: WeftEvent[];
const planes: BpfPlane[] = [];

beforeAll(async () => {
  bed = await CaptureBed.create(78);
  client = bed.addPod();
  server = bed.addPod();
  holder = await bed.serve(server, HOLD);
});
beforeEach(() => {
  events = [];
  plane = load();
  [source, destination] = [capture(plane, client), capture(plane, server)];
  allow(80);
  allow(81);
  allow(82);
});
afterEach(async () => {
  for (const open of planes.splice(0)) open.close();
  await bed.reset();
});
afterAll(async () => {
  await bed?.dispose();
});

/** Keeps what it accepts, and answers each line with how connections have ended so far. */
const HOLD = `
use_all_files()
ends = []
def hold(server):
    while True:
        in_background(watch, server.accept()[0])
def watch(sock):
    sock.sendall(b"held\\n")
    ends.append(error_of(lambda: sock.recv(1).decode()))
in_background(tell_client, listener("::", 80)); in_background(hold, listener("::", 81))
in_background(hold, listener("::", 82, proto=MPTCP))
print("ready", flush=True)
for _ in sys.stdin:
    show(ends); ends.clear()
`;

function load(
  onDirectEvents = (bytes: Uint8Array): void => void events.push(...decodeEvents(Buffer.from(bytes))),
): BpfPlane {
  const { pinDir, kubeletCgroup, pods } = bed;
  const loaded = addon.loadBpf({
    pinDir,
    kubeletCgroup,
    podsCgroup: pods.podsCgroup,
    agentCgroup: pods.agentCgroup,
    onDirectEvents,
  });
  planes.push(loaded);
  return loaded;
}

function capture(by: BpfPlane, pod: BedPod): bigint {
  return by.capture({ id: 1, netnsPath: pod.netnsPath, addresses: [pod.ip, pod.ip6], dns: false });
}

function endpoint(port: number, ip = server.ip): DirectEndpoint {
  return { key: 5, weight: 1, address: { ip, port }, path: "direct", pod: destination };
}

/** Routes of the client to the server's port by service and by pod address, and verdicts that allow. */
function allow(port: number): void {
  const route = (ip: string, to: string) =>
    ({ op: "set-route", pod: source, destination: { ip, port }, endpoints: [endpoint(port, to)] }) as const;
  const verdict = (family: 4 | 6) =>
    ({ op: "set-verdict", verdict: { source, destination, port, family }, allow: true }) as const;
  expect(
    plane.direct([route(VIP, server.ip), route(VIP6, server.ip6), route(server.ip, server.ip), verdict(4), verdict(6)]),
  ).toEqual([]);
}

function dial(ip: string): Promise<unknown> {
  return bed.app(client, `show("accept" in dial("${ip}", 80))`);
}

/** A program with `count` connections; told "read", it says how many of them ended how. */
function open(ip: string, { count = 1, port = 81 } = {}): Promise<Conversation> {
  const code = `
use_all_files()
socks = [stream(family_of("${ip}")) for _ in range(${count})]
for s in socks:
    s.connect(("${ip}", ${port})); assert line(s) == "held"
print("ready", flush=True)
for _ in sys.stdin:
    ends = [error_of(lambda: s.recv(1).decode()) for s in socks]
    show({end: ends.count(end) for end in set(ends)})
`;
  return bed.serve(client, code);
}

function listed(): WeftEvent[] {
  return decodeEvents(Buffer.from(plane.directConnections()));
}

function named(event: WeftEvent): DirectConnection {
  const address = (text: string) => {
    const end = text.lastIndexOf(":");
    return { ip: text.slice(0, end).replace(/^\[(.*)\]$/, "$1"), port: Number(text.slice(end + 1)) };
  };
  return {
    path: event.path,
    sourcePod: BigInt(event.sourcePod),
    destinationPod: BigInt(event.destinationPod),
    source: address(event.source),
    destination: address(event.destination),
  };
}

test("this kernel is offered the direct path", () => {
  expect(plane.directOff()).toBeUndefined();
});

describe("what BPF may decide", () => {
  test("counts until the destination's verdicts are expired, capture again and another plane notwithstanding", async () => {
    expect(await dial(VIP)).toBe(true);
    expect(capture(plane, server)).toBe(destination);
    expect(await dial(VIP)).toBe(true);
    const next = load();
    capture(next, client);
    capture(next, server);
    expect(await dial(VIP6)).toBe(true);
    expect(next.counters()).toMatchObject({ direct: 3, no_verdict: 0 });

    expect(next.direct([{ op: "expire-verdicts", pod: destination }])).toEqual([]);
    expect(await dial(VIP)).toBe(false);
    // Captured again, still expired.
    capture(next, server);
    expect(await dial(VIP)).toBe(false);
    expect(next.counters()).toMatchObject({ direct: 3, no_verdict: 2 });
  });

  test("is listed by route, an earlier plane's included", () => {
    const expected = [VIP, VIP6, server.ip]
      .flatMap((ip) => [80, 81, 82].map((port) => `${source} ${ip} ${port}`))
      .sort();
    const routes = (of: BpfPlane) =>
      of.routes().map((route) => `${route.pod} ${route.destination.ip} ${route.destination.port}`);
    expect(routes(plane).sort()).toEqual(expected);
    plane.close();
    const next = load();
    expect(routes(next).sort()).toEqual(expected);
    next.direct([{ op: "remove-route", pod: source, destination: { ip: VIP, port: 80 } }]);
    expect(routes(next)).toHaveLength(8);
  });

  test("shares the slots of equal endpoints, and goes with the pod", async () => {
    expect(bed.entries("weft_routes")).toBe(9);
    // IPv4 and IPv6 of three ports; service and pod address share.
    expect(bed.entries("weft_endpoints")).toBe(6);
    expect(bed.entries("weft_verdicts")).toBe(6);
    await open(VIP);
    await eventually("a flow", () => bed.entries("weft_flows") === 1);
    plane.release(destination);
    expect(["weft_verdicts", "weft_flows"].map((map) => bed.entries(map))).toEqual([0, 0]);
    expect(bed.entries("weft_routes")).toBe(9);
    plane.release(source);
    expect(["weft_routes", "weft_endpoints"].map((map) => bed.entries(map))).toEqual([0, 0]);
  });

  test("goes with the source, its flows to others included", async () => {
    await open(VIP);
    await eventually("a flow", () => bed.entries("weft_flows") === 1);
    plane.release(source);
    expect(["weft_routes", "weft_endpoints", "weft_verdicts", "weft_flows"].map((map) => bed.entries(map))).toEqual([
      0, 0, 0, 0,
    ]);
  });

  test("is refused for pods that are not captured and for values that make no sense, in words", () => {
    const to = { ip: VIP, port: 80 };
    const nobody = 12345n;
    const verdict = { source, destination: nobody, port: 80, family: 4 } as const;
    expect(
      plane.direct([
        { op: "set-route", pod: nobody, destination: to, endpoints: [endpoint(80)] },
        { op: "set-verdict", verdict, allow: true },
        { op: "expire-verdicts", pod: nobody },
        { op: "set-open", pod: nobody, open: true },
        { op: "set-route", pod: source, destination: to, endpoints: [] },
        { op: "set-route", pod: source, destination: { ip: "name", port: 80 }, endpoints: [] },
      ]),
    ).toEqual([
      `route of pod 12345 to ${VIP}:80: pod 12345 is not captured: No such file or directory`,
      `verdict on pod ${source} to pod 12345: pod 12345 is not captured: No such file or directory`,
      "pod 12345 is not captured: No such file or directory",
      "pod 12345 is not captured: No such file or directory",
      `route of pod ${source} to ${VIP}:80: a route needs endpoints, each with a weight: Invalid argument`,
      "not an IP address: name: Invalid argument",
    ]);
    // The route that could not be written is the agent's again.
    expect(plane.routes()).toHaveLength(8);
  });

  test("says which map is full, and leaves the route to the agent", () => {
    const many = Array.from({ length: 300_000 }, (_, i) => ({
      ...endpoint(80),
      address: { ip: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, port: 80 },
    }));
    const [failure] = plane.direct([
      { op: "set-route", pod: source, destination: { ip: VIP, port: 80 }, endpoints: many },
    ]);
    expect(failure).toContain("weft_endpoints is full: No space left on device");
    expect(plane.routes()).toHaveLength(8);
    expect(bed.entries("weft_endpoints")).toBe(6);
  });
});

test("a full map of verdicts gives up those that no longer count, and takes no more when all do", () => {
  const verdict = (port: number, family: 4 | 6) =>
    ({ op: "set-verdict", verdict: { source, destination, port, family }, allow: true }) as const;
  const ports = Array.from({ length: 65_535 }, (_, i) => i + 1);
  // All ports of IPv4 and three of IPv6 are there: one more fills the map.
  const failures = plane.direct([...ports.map((port) => verdict(port, 4)), verdict(1, 6), verdict(2, 6)]);
  expect(failures).not.toEqual([]);
  expect(new Set(failures.map((text) => text.replace(/.*\//, "")))).toEqual(
    new Set(["weft_verdicts is full: No space left on device"]),
  );
  plane.direct([{ op: "expire-verdicts", pod: destination }]);
  expect(plane.direct([verdict(1, 6), verdict(2, 6)])).toEqual([]);
  expect(bed.entries("weft_verdicts")).toBe(2);
});

describe("records", () => {
  test("come in batches, and wait in the kernel while nobody reads", async () => {
    expect(await dial(VIP)).toBe(true);
    await eventually("a record", () => events.length === 1);
    expect(events[0]).toMatchObject({
      kind: "closed",
      path: "direct",
      asked: `${VIP}:80`,
      endpoint: 5,
      established: true,
    });
    plane.close();

    expect(await dial(VIP6)).toBe(true);
    load();
    await eventually("the record from before", () => events.length === 2);
    expect(events[1]).toMatchObject({ kind: "closed", asked: `[${VIP6}]:80`, destination: `[${server.ip6}]:80` });
  });

  test("go to one plane at a time", async () => {
    const second: WeftEvent[] = [];
    load((bytes) => void second.push(...decodeEvents(Buffer.from(bytes))));
    await dial(VIP);
    await eventually("a record", () => events.length === 1);
    plane.close();
    await dial(VIP);
    await eventually("a record", () => second.length === 1);
    expect(events).toHaveLength(1);
  });
});

describe("open connections", () => {
  test("are listed, and ended at both ends while the listener lives on", async () => {
    expect(listed()).toEqual([]);
    const clients = [await open(VIP), await open(VIP6), await open(`::ffff:${VIP}`), await open(server.ip)];
    const connections = listed();
    expect(connections.map((event) => event.asked).sort()).toEqual(
      [`${VIP}:81`, `${VIP}:81`, `[${VIP6}]:81`, `${server.ip}:81`].sort(),
    );
    expect(connections[0]).toMatchObject({
      kind: "open",
      path: "direct",
      sourcePod: String(source),
      destinationPod: String(destination),
      responseBytes: 5,
      established: true,
    });
    expect(plane.endDirect(connections.map(named))).toBe(4);
    for (const program of clients) expect(await program.ask("read")).toBe(`{"ECONNABORTED": 1}`);
    expect(listed()).toEqual([]);
    await eventually("no flow", () => bed.entries("weft_flows") === 0);
    const ends: string[] = [];
    await eventually("the other ends' news", async () => ends.push(...JSON.parse(await holder.ask("ends"))) === 4);
    expect(new Set(ends)).toEqual(new Set(["ECONNRESET"]));
    await eventually("records", () => events.length === 4);
    expect(new Set(events.map((event) => event.reason))).toEqual(new Set(["policy_changed"]));

    // They have gone; the kernel would find the listener in their place.
    expect(plane.endDirect(connections.map(named))).toBe(0);
    await open(VIP);
  });

  test("are ended at an MPTCP listener, which is Go's default, too", async () => {
    const program = await open(server.ip, { port: 82 });
    expect(plane.endDirect(listed().map(named))).toBe(1);
    expect(await program.ask("read")).toBe(`{"ECONNABORTED": 1}`);
    expect(listed()).toEqual([]);
  });

  test("are ended by the thousand in a moment", async () => {
    const count = 1000;
    const program = await open(VIP, { count });
    const connections = listed().map(named);
    expect(connections).toHaveLength(count);
    const began = performance.now();
    expect(plane.endDirect(connections)).toBe(count);
    expect(performance.now() - began).toBeLessThan(1000);
    expect(await program.ask("read")).toBe(`{"ECONNABORTED": ${count}}`);
  });
});

test("closing the plane ends everything that it does", () => {
  plane.close();
  for (const call of [
    () => plane.direct([]),
    () => plane.routes(),
    () => plane.directConnections(),
    () => plane.endDirect([]),
    () => plane.permitPlain(1000),
    () => plane.directOff(),
  ]) {
    expect(call).toThrow(/closed/);
  }
});

test("a process with an open plane ends by itself", () => {
  const script = `import { loadAddon } from "${new URL("../../agent/src/native.ts", import.meta.url).pathname}";
    loadAddon().loadBpf({ ...${JSON.stringify({ pinDir: bed.pinDir, podsCgroup: bed.pods.podsCgroup, agentCgroup: bed.pods.agentCgroup })}, onDirectEvents() {} });`;
  execFileSync(process.execPath, ["--input-type=module", "-e", script], { timeout: 20_000 });
});
