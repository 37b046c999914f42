import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { BedPod } from "../helpers/pod-bed.ts";
import { DirectBed, VIP4, VIP6 } from "./direct-bed.ts";
import type { WeftEvent } from "./weft-event.ts";

interface Talk {
  readonly port: number;
  readonly sent: number;
  readonly received: number;
}

let bed: DirectBed;

const SERVE = (ports: readonly number[]) =>
  `${ports.map((port) => `in_background(serve_steps, listener("::", ${port}))`).join("\n")}\nstay()`;

beforeAll(async () => {
  bed = await DirectBed.create(77);
  await bed.capture.serve(bed.server, SERVE([80]));
  await bed.allow(80);
});
beforeEach(async () => {
  await bed.agent.events();
});
afterAll(async () => {
  await bed?.dispose();
});

/** One connection from the client; both ends do their steps. */
async function talk(theirs: unknown[], own: unknown[], ip = VIP4): Promise<{ talk: Talk; record: WeftEvent }> {
  const code = `s = stream(family_of("${ip}")); s.connect(("${ip}", 80))
show(talk(s, json.loads('${JSON.stringify(theirs)}'), json.loads('${JSON.stringify(own)}')))`;
  const said = (await bed.app(code)) as Talk;
  const [record, ...more] = await bed.ended(1);
  expect(more).toEqual([]);
  if (record === undefined) throw new Error("no record");
  return { talk: said, record };
}

/** What the record must say of a connection that both ends have finished. */
const whole = ({ sent, received }: Talk) => ({ requestBytes: sent, responseBytes: received, reason: "none" });

const CLOSED_BY = [
  { name: "the client", theirs: ["drain"], own: ["close"] },
  { name: "the server", theirs: ["close"], own: ["drain"] },
  { name: "both at once", theirs: ["close"], own: ["close"] },
  { name: "the client, by halves", theirs: ["drain"], own: ["finish", "drain"] },
  { name: "the server, by halves", theirs: ["finish", "drain"], own: ["drain", "close"] },
];

describe("a record counts what the applications have sent and received", () => {
  test.each(CLOSED_BY)("when $name ended it", async ({ theirs, own }) => {
    const { talk: said, record } = await talk(
      [["receive", 10_000], ["send", 20_000], ...theirs.map((step) => [step])],
      [["send", 10_000], ["receive", 20_000], ...own.map((step) => [step])],
    );
    expect(record).toMatchObject(whole(said));
  });

  test("when the answer came after the request had ended", async () => {
    const { talk: said, record } = await talk(
      [["drain"], ["send", 30_000], ["close"]],
      [["send", 300], ["finish"], ["drain"]],
    );
    expect(record).toMatchObject({ ...whole(said), responseBytes: 30_000 });
  });

  test("when the request went on after the answer had ended", async () => {
    const { talk: said, record } = await talk(
      [["send", 300], ["finish"], ["drain"]],
      [["drain"], ["send", 30_000], ["close"]],
    );
    expect(record).toMatchObject({ ...whole(said), responseBytes: 300 });
  });

  test("when there was nothing to say", async () => {
    const code = `s = stream(V4); s.connect(("${VIP4}", 80)); s.close(); show(None)`;
    await bed.app(code);
    expect(await bed.ended(1)).toMatchObject([
      { requestBytes: 0, responseBytes: 0, reason: "none", established: true },
    ]);
  });

  test("by IPv6", async () => {
    const { talk: said, record } = await talk([["send", 5_000], ["close"]], [["drain"]], VIP6);
    expect(record).toMatchObject({ ...whole(said), asked: `[${VIP6}]:80` });
  });

  test("of a hundred connections of random sizes, both ways at once, however they ended", async () => {
    const code = `import random
seed = random.randrange(1 << 32); rng = random.Random(seed)
ends = json.loads('${JSON.stringify(CLOSED_BY)}')
said = []
for i in range(100):
    up, down = (rng.choice([0, 1, 1447, 1448, 1449, 65536, rng.randrange(2000), rng.randrange(3_000_000)]) for _ in "ud")
    end = rng.choice(ends)
    s = stream(V4); s.connect(("${VIP4}", 80))
    said.append(talk(s, [["both", down, up]] + [[e] for e in end["theirs"]], [["both", up, down]] + [[e] for e in end["own"]]))
    s.close()
show({"seed": seed, "said": said})`;
    const { seed, said } = (await bed.app(code)) as { seed: number; said: Talk[] };
    const records = await bed.ended(said.length);
    const byPort = new Map(records.map((record) => [Number(record.source.split(":")[1]), record]));
    const counted = said.map(({ port }) => {
      const record = byPort.get(port);
      return [record?.requestBytes, record?.responseBytes, record?.reason];
    });
    expect(counted, `seed ${seed}`).toEqual(said.map(({ sent, received }) => [sent, received, "none"]));
  });

  test("of data that came with the SYN", async () => {
    await bed.capture.serve(
      bed.server,
      `open("/proc/sys/net/ipv4/tcp_fastopen", "w").write("3"); fast = listener("::", 84)
fast.setsockopt(socket.IPPROTO_TCP, 23, 100); in_background(serve_steps, fast); stay()`,
    );
    await bed.allow(84);
    const code = `said = []
for i in range(2):
    s = stream(V4); s.settimeout(None); steps = b'[["send", 100], ["drain"]]\\n'; s.sendto(steps, socket.MSG_FASTOPEN, ("${VIP4}", 84))
    sent, received = act(s, [["receive", 100], ["close"]]); said.append([len(steps), received])
show(said)`;
    const said = await bed.app(code);
    const records = await bed.ended(2);
    expect(records.map((record) => [record.requestBytes, record.responseBytes])).toEqual(said);
  });

  test("of a connection to an MPTCP listener, which is Go's default", async () => {
    await bed.capture.serve(bed.server, `in_background(serve_steps, listener("::", 83, proto=MPTCP)); stay()`);
    await bed.allow(83);
    const code = `s = stream(V4); s.connect(("${bed.server.ip}", 83))
show(talk(s, [["send", 70000], ["drain"]], [["both", 100000, 70000], ["close"]]))`;
    const said = (await bed.app(code)) as Talk;
    expect(await bed.ended(1)).toMatchObject([{ requestBytes: said.sent, responseBytes: said.received }]);
  });
});

describe("a record says how the connection ended:", () => {
  test("reset by the client, with what the server had acknowledged", async () => {
    const { talk: said, record } = await talk(
      [["receive", 5_000], ["send", 1], ["drain"]],
      [["send", 5_000], ["receive", 1], ["reset"]],
    );
    expect(record).toMatchObject({ ...whole(said), reason: "peer_reset" });
  });

  test("reset by the server", async () => {
    const { talk: said, record } = await talk(
      [["receive", 5_000], ["send", 7], ["reset"]],
      [
        ["send", 5_000],
        ["receive", 7],
      ],
    );
    expect(record).toMatchObject({ requestBytes: said.sent, reason: "peer_reset" });
  });

  test("closed by a client that had not read everything, which resets", async () => {
    const { record } = await talk([["send", 50_000], ["drain"]], [["receive", 1], ["close"]]);
    expect(record.reason).toBe("peer_reset");
    expect(record.responseBytes).toBeGreaterThanOrEqual(1);
  });

  test("refused", async () => {
    await bed.allow(1);
    expect(await bed.app(`show([dial("${VIP4}", 1), dial("${VIP6}", 1)])`)).toEqual(["ECONNREFUSED", "ECONNREFUSED"]);
    const record = {
      reason: "upstream_refused",
      established: false,
      requestBytes: 0,
      responseBytes: 0,
      path: "direct",
    };
    expect(await bed.ended(2)).toMatchObject([record, record]);
  });

  test("timed out, when no SYN was answered", async () => {
    const restore = swallow();
    const code = `s = stream(V4); s.settimeout(None); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
show(errno.errorcode[s.connect_ex(("${VIP4}", 80))])`;
    expect(await bed.app(code)).toBe("ETIMEDOUT");
    restore();
    const [record] = await bed.ended(1);
    expect(record).toMatchObject({ reason: "upstream_timeout", established: false, requestBytes: 0, responseBytes: 0 });
    expect(record?.retransmits).toBeGreaterThan(0);
  });

  test("given up by a client that did not wait for an answer", async () => {
    const restore = swallow();
    const code = `s = stream(V4); s.setblocking(False); s.connect_ex(("${VIP4}", 80)); s.close(); show(None)`;
    await bed.app(code);
    restore();
    expect(await bed.ended(1)).toMatchObject([{ reason: "peer_reset", established: false }]);
  });

  test("ended because it is no longer allowed, on both sides", async () => {
    const client = await bed.capture.serve(
      bed.client,
      `s = stream(V4); s.connect(("${VIP4}", 80)); s.sendall(b'[["send", 9], ["drain"]]\\n')
act(s, [["receive", 9]]); print("ready", flush=True); print(error_of(lambda: s.recv(1)), flush=True)`,
    );
    expect(await bed.agent.endConnections()).toBe(1);
    expect(await client.next()).toBe("ECONNABORTED");
    expect(await bed.ended(1)).toMatchObject([{ reason: "policy_changed", responseBytes: 9, established: true }]);
  });
});

test("a record counts retransmitted segments, and their bytes once", async () => {
  const client = await bed.capture.serve(
    bed.client,
    `s = stream(V4); s.connect(("${VIP4}", 80)); print("ready", flush=True); sys.stdin.readline()
said = talk(s, [["receive", 10000], ["close"]], [["send", 10000]]); print("sent", flush=True)
while struct.unpack_from("I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0] == 0: time.sleep(0.01)
print("again", flush=True); act(s, [["drain"]]); s.close(); print(said["sent"], flush=True)`,
  );
  const restore = swallow();
  expect(await client.ask("send")).toBe("sent");
  expect(await client.next()).toBe("again");
  restore();
  const sent = Number(await client.next());
  const [record] = await bed.ended(1);
  expect(record).toMatchObject({ requestBytes: sent, reason: "none" });
  expect(record?.retransmits).toBeGreaterThan(0);
});

describe("two pods that connect to each other at once (simultaneous open)", () => {
  test.each([
    { name: "by IPv4", any: "0.0.0.0", ip: (pod: BedPod) => pod.ip, oneLost: false },
    { name: "by IPv6", any: "::", ip: (pod: BedPod) => pod.ip6, oneLost: false },
    {
      name: "when one SYN meets the other's socket and its own gets lost",
      any: "0.0.0.0",
      ip: (pod: BedPod) => pod.ip,
      oneLost: true,
    },
  ])("have one connection, a record each, and leave no entry, $name", async ({ any, ip, oneLost }) => {
    const { agent, client, server, clientId, serverId } = bed;
    await agent.setRoute(clientId, ip(server), 7001, [{ ip: ip(server), port: 7001, pod: serverId }]);
    await agent.setRoute(serverId, ip(client), 7000, [{ ip: ip(client), port: 7000, pod: clientId }]);
    await agent.setVerdict(clientId, serverId, 7001, true);
    await agent.setVerdict(serverId, clientId, 7000, true);
    const program = (own: number, to: string, port: number, say: number, hear: number) => `
s = stream(family_of("${any}")); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("${any}", ${own}))
s.setblocking(False); print("ready", flush=True); sys.stdin.readline()
print(s.connect_ex(("${to}", ${port})), flush=True); sys.stdin.readline()
select.select([], [s], [], TIMEOUT); s.settimeout(TIMEOUT)
print(error_of(lambda: act(s, [["send", ${say}], ["receive", ${hear}], ["finish"], ["drain"]])), flush=True)
s.close()`;
    const one = await bed.capture.serve(client, program(7000, ip(server), 7001, 1_000, 500));
    const other = await bed.capture.serve(server, program(7001, ip(client), 7000, 500, 1_000));
    // No SYN finds nobody: none arrives before both have been sent, and what got lost is sent again.
    const restore = [swallow(server, client)];
    if (!oneLost) restore.push(swallow(client, server));
    await other.ask("connect");
    await one.ask("connect");
    for (const undo of restore) undo();
    expect(await Promise.all([one.ask("go"), other.ask("go")])).toEqual(["[1000, 500]", "[500, 1000]"]);
    const records = await bed.ended(2);
    const bySource = (a: WeftEvent, b: WeftEvent) => a.source.localeCompare(b.source);
    expect([...records].sort(bySource)).toMatchObject([
      { sourcePod: clientId, destinationPod: serverId, requestBytes: 1_000, responseBytes: 500, established: true },
      { sourcePod: serverId, destinationPod: clientId, requestBytes: 500, responseBytes: 1_000, established: true },
    ]);
    expect(records.map((record) => [record.stranger, record.reason])).toEqual([
      [false, "none"],
      [false, "none"],
    ]);
  });
});

describe("the list of open connections", () => {
  test("has each connection once, with its bytes so far, and those that are being opened", async () => {
    const client = await bed.capture.serve(
      bed.client,
      `socks = []
for i in range(3):
    s = stream(V4); s.connect(("${VIP4}", 80)); s.sendall(b'[["send", 9], ["receive", 10], ["drain"]]\\n'); act(s, [["send", 10], ["receive", 9]]); socks.append(s)
print("ready", flush=True); sys.stdin.readline()
late = stream(V4); late.setblocking(False); late.connect_ex(("${VIP4}", 80)); print("opening", flush=True); sys.stdin.readline()
late.close()
for s in socks: s.close()
print("closed", flush=True)`,
    );
    const sent = '[["send", 9], ["receive", 10], ["drain"]]\n'.length + 10;
    const open = { kind: "open", path: "direct", sourcePod: bed.clientId, destinationPod: bed.serverId };
    const talking = { ...open, requestBytes: sent, responseBytes: 9, established: true, asked: `${VIP4}:80` };
    await eventually("the last bytes are acknowledged", async () =>
      (await bed.agent.openConnections()).every((connection) => connection.requestBytes === sent),
    );
    expect(await bed.agent.openConnections()).toMatchObject([talking, talking, talking]);
    const restore = swallow();
    expect(await client.ask("open another")).toBe("opening");
    const opening = (await bed.agent.openConnections()).filter((connection) => !connection.established);
    expect(opening).toMatchObject([{ ...open, requestBytes: 0, responseBytes: 0 }]);
    restore();
    expect(await client.ask("close")).toBe("closed");
    await bed.ended(4);
    expect(await bed.agent.openConnections()).toEqual([]);
  });
});

/** Lets what one pod sends to the other by TCP get lost on arrival, until the function that it returns is called. */
function swallow(from: BedPod = bed.client, to: BedPod = bed.server): () => void {
  const nft = (...words: string[]) => execFileSync("ip", ["netns", "exec", to.netns, "/usr/sbin/nft", words.join(" ")]);
  nft(`table inet lost {
  chain in {
    type filter hook input priority 0
    meta l4proto tcp ip saddr ${from.ip} drop
    meta l4proto tcp ip6 saddr ${from.ip6} drop
  }
}`);
  return () => {
    nft("delete table inet lost");
  };
}
