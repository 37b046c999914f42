import { execFileSync } from "node:child_process";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { DirectBed, VIP4, VIP6 } from "./direct-bed.ts";

const SERVER = `in_background(tell_client, listener("::", 80)); stay()`;

let bed: DirectBed;

beforeAll(async () => {
  bed = await DirectBed.create(79);
});
beforeEach(async () => {
  await bed.renew({ maxFlows: 100 });
});
afterEach(async () => {
  await bed.capture.reset();
});
afterAll(async () => {
  await bed?.dispose();
});

describe("when a pod has left and its address comes to another pod", () => {
  /** Says something to whoever comes, and tells what it has heard. */
  const REPLACEMENT = `server = listener("::", 80); server.settimeout(3); print("ready", flush=True)
def hear():
    sock, _ = server.accept(); sock.settimeout(3); sock.sendall(b"poison"); return sock.recv(100).decode()
print(error_of(hear), flush=True)`;

  test.each([
    { family: "IPv4", vip: VIP4 },
    { family: "IPv6", vip: VIP6 },
  ])("no byte goes there or comes from there, although no agent has noticed, by $family", async ({ vip }) => {
    await bed.allow(80);
    await bed.agent.kill();
    bed.capture.replaceNetns(bed.server);
    const other = await bed.capture.serve(bed.server, REPLACEMENT);
    const code = `s = stream(family_of("${vip}")); attempts = [error_of(lambda: s.connect(("${vip}", 80)))]
show([*attempts, error_of(lambda: s.sendall(b"secret")), error_of(lambda: s.recv(6).decode())])`;
    const heard = ((await bed.app(code)) as string[]).at(-1);
    expect(heard).toMatch(/^(timeout|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT)$/);
    expect(await other.next()).toMatch(/^(timeout|ECONNRESET)?$/);
    bed.agent = await bed.capture.startAgent();
    expect(await bed.agent.count("identity_error")).toBe(1);
    expect(await bed.ended(1)).toMatchObject([
      { reason: "identity_error", stranger: true, established: false, responseBytes: 0, requestBytes: 0 },
    ]);
  });

  test("the other one, enrolled, is not opened by what was approved for the first", async () => {
    const held = await bed.capture.serve(
      bed.client,
      `s = stream(V4); s.bind(("${bed.client.ip}", 34567)); print("ready", flush=True); sys.stdin.readline()
s.setblocking(False); s.connect_ex(("${VIP4}", 80)); print("sent", flush=True); sys.stdin.readline()`,
    );
    await bed.allow(80);
    const first = bed.serverId;
    bed.capture.replaceNetns(bed.server);
    bed.serverId = await bed.agent.capture(bed.server);
    await bed.capture.serve(bed.server, SERVER);
    // Approved for the namespace that is gone, sent to the one that has its address.
    expect(await held.ask("connect")).toBe("sent");
    await eventually("the SYN has come", async () => (await bed.agent.count("captured_inbound")) === 1);
    expect(await bed.agent.count("direct")).toBe(0);
    await bed.agent.release(first);
    expect(bed.capture.entries("weft_flows")).toBe(0);
  });

  test("a connection of the other one is not taken for the first one's", async () => {
    await bed.capture.serve(
      bed.server,
      `${SERVER.replace("stay()", "")}
held = listener("::", 81); print("ready", flush=True); sock, _ = held.accept(); sys.stdin.read()`,
    );
    await bed.allow(81);
    const bound = (port: number) =>
      `s = stream(V4); s.bind(("${bed.client.ip}", 34567)); s.connect(("${bed.server.ip}", ${port}))`;
    await bed.capture.serve(bed.client, `${bound(81)}; print("ready", flush=True); sys.stdin.read()`);
    expect(await bed.agent.count("direct")).toBe(1);
    // The agent does not know yet that the first is gone, whose socket is still there.
    bed.capture.replaceNetns(bed.client);
    const before = await bed.agent.count("captured_inbound");
    await bed.app(
      `s = stream(V4); s.settimeout(1); s.bind(("${bed.client.ip}", 34567)); show(error_of(lambda: s.connect(("${bed.server.ip}", 81))))`,
    );
    // The server's end of the old connection answers; once that has gone, the SYN is like any other.
    expect([await bed.agent.count("direct"), before]).toEqual([1, 0]);
  });
});

describe("a full flow map", () => {
  test("sends what does not fit to the destination's agent, counts it, and lets new ones through when old ones have ended", async () => {
    await bed.renew({ maxFlows: 4 });
    await bed.capture.serve(bed.server, SERVER);
    await bed.allow(80);
    const client = await bed.capture.serve(
      bed.client,
      `socks = []
for i in range(4):
    s = stream(V4); s.connect(("${VIP4}", 80)); socks.append(s)
print("ready", flush=True); sys.stdin.readline()
s = stream(V4); s.connect(("${VIP4}", 80)); print(at(s.getpeername()), flush=True); s.close(); sys.stdin.readline()
for s in socks: s.close()
print("closed", flush=True); sys.stdin.readline()
s = stream(V4); s.connect(("${VIP4}", 80)); print("accept" in line(s), flush=True)`,
    );
    expect(await bed.agent.count("direct")).toBe(4);
    expect(await client.ask("one more")).toBe(`${VIP4}:80`);
    // Neither the approval fits, nor the entry of the agent that dials the application in its place.
    expect([await bed.agent.count("map_full"), await bed.agent.count("direct")]).toEqual([2, 4]);
    expect(await bed.agent.count("captured_inbound")).toBe(1);
    expect(await client.ask("close")).toBe("closed");
    await bed.ended(4);
    expect(await client.ask("again")).toBe("True");
    expect(await bed.agent.count("direct")).toBe(5);
  });
});

describe("what was decided at connect() and does not hold any more when the SYN leaves", () => {
  /** connect() decides; the SYN leaves with the first write. Needs the cookie of an earlier connection. */
  const LATE = `s = stream(V4); s.settimeout(None); s.sendto(b"x", socket.MSG_FASTOPEN, ("${VIP4}", 84)); line(s); s.close()
s = stream(V4); s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1); s.connect(("${VIP4}", 84))
print("ready", flush=True); sys.stdin.readline()
print(error_of(lambda: s.send(b"x") and "sent"), flush=True); sys.stdin.readline()`;

  beforeEach(async () => {
    await bed.capture.serve(
      bed.server,
      `open("/proc/sys/net/ipv4/tcp_fastopen", "w").write("3"); fast = listener("::", 84)
fast.setsockopt(socket.IPPROTO_TCP, 23, 100); in_background(tell_client, fast); stay()`,
    );
    await bed.allow(84);
  });

  test("is cut off: the destination's policies have changed", async () => {
    const client = await bed.capture.serve(bed.client, LATE);
    await bed.ended(1);
    await bed.agent.expireVerdicts(bed.serverId);
    await client.ask("write");
    expect(await bed.ended(1)).toMatchObject([{ asked: `${VIP4}:84`, reason: "policy_changed", established: false }]);
    expect([await bed.agent.count("direct"), await bed.agent.count("captured_inbound")]).toEqual([1, 0]);
    expect(await bed.agent.count("no_verdict")).toBe(1);
    expect(await bed.agent.openConnections()).toEqual([]);
  });

  test("is not approved: the pod has been released", async () => {
    const client = await bed.capture.serve(bed.client, LATE);
    await bed.agent.release(bed.clientId);
    expect(await client.ask("write")).toBe("sent");
    await eventually("the SYN has come", async () => (await bed.agent.count("captured_inbound")) === 1);
    expect(await bed.agent.count("direct")).toBe(1);
    expect(bed.capture.entries("weft_flows")).toBeLessThanOrEqual(1);
  });

  test("is not approved: routing chose an address that the policies were not asked about", async () => {
    const second = bed.client.ip.replace(/\d+$/, "200");
    await bed.capture.serve(bed.server, SERVER);
    await bed.allow(80);
    const ip = (...words: string[]) => execFileSync("ip", ["-n", bed.client.netns, ...words]);
    ip("addr", "add", `${second}/24`, "dev", "eth0");
    ip("route", "add", `${bed.server.ip}/32`, "dev", "eth0", "src", second);
    const code = `s = stream(V4); s.connect(("${VIP4}", 80)); show([s.getsockname()[0], at(s.getpeername()), "accept" in line(s)])`;
    expect(await bed.app(code)).toEqual([second, `${VIP4}:80`, true]);
    expect([await bed.agent.count("direct"), await bed.agent.count("captured_inbound")]).toEqual([0, 1]);
  });
});

describe("without an agent", () => {
  test("direct connections go on, new ones open, both with records for the next agent, and nothing else does", async () => {
    await bed.capture.serve(
      bed.server,
      `${SERVER.replace("stay()", "")}
in_background(serve_steps, listener("::", 81)); stay()`,
    );
    await bed.allow(80);
    await bed.allow(81);
    await bed.route(82);
    const client = await bed.capture.serve(
      bed.client,
      `s = stream(V4); s.connect(("${VIP4}", 81)); s.sendall(b'[["receive", 5], ["send", 6]]\\n'); print("ready", flush=True); sys.stdin.readline()
print(act(s, [["send", 5], ["receive", 6]]), flush=True); s.close()`,
    );
    await bed.agent.kill();
    expect(await client.ask("go on")).toBe("[5, 6]");
    const code = `show(["accept" in dial("${VIP4}", 80), dial("${VIP4}", 82), dial("10.99.9.9", 80)])`;
    expect(await bed.app(code)).toEqual([true, "ECONNREFUSED", "ECONNREFUSED"]);
    bed.agent = await bed.capture.startAgent();
    expect(await bed.ended(2)).toMatchObject([
      { asked: `${VIP4}:81`, reason: "none" },
      { asked: `${VIP4}:80`, established: true },
    ]);
  });
});

test("a client may use its port again while the server's end is in TIME_WAIT", async () => {
  await bed.capture.serve(bed.server, SERVER);
  await bed.allow(80);
  const code = `for i in range(5):
    s = stream(V4); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("0.0.0.0", 34571)); s.connect(("${VIP4}", 80))
    text = line(s); assert s.recv(1) == b""; s.close()
show("accept" in text)`;
  expect(await bed.app(code)).toBe(true);
  expect((await bed.ended(5)).map((record) => record.reason)).toEqual(Array.from({ length: 5 }, () => "none"));
  expect([await bed.agent.count("direct"), await bed.agent.count("captured_inbound")]).toEqual([5, 0]);
});

test("two thousand connections, refused ones among them, leave no entry and a record each", async () => {
  await bed.renew({ maxFlows: 4_000 });
  await bed.capture.serve(bed.server, `in_background(serve_steps, listener("::", 80)); stay()`);
  await bed.allow(80);
  await bed.allow(1);
  const count = 2_000;
  const code = `open = 0
for i in range(${count}):
    s = stream(V4); s.settimeout(None)
    open += s.connect_ex(("${VIP4}", 1 if i % 10 == 0 else 80)) == 0; s.close()
show(open)`;
  expect(await bed.app(code)).toBe(count * 0.9);
  const records = await bed.ended(count);
  expect(records).toHaveLength(count);
  expect(records.filter((record) => record.reason === "upstream_refused")).toHaveLength(count / 10);
  expect(records.filter((record) => record.reason === "none")).toHaveLength(count * 0.9);
});
