import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Reason } from "#lib/reasons.ts";
import { DirectBed, VIP4, VIP6 } from "./direct-bed.ts";

interface Seen {
  readonly accept: string;
  readonly peer: string;
  readonly local: string;
  /** The client's own view. */
  readonly asked: string;
  readonly own: string;
}

let bed: DirectBed;

/** 80: dual-stack, 81: IPv4 alone, 82: bound to the device, 83: MPTCP, which is Go's default, 84: takes data with the SYN. */
const PORTS = [80, 81, 82, 83, 84];
const SERVERS = `
in_background(tell_client, listener("::", 80))
in_background(tell_client, listener("0.0.0.0", 81))
in_background(tell_client, listener("0.0.0.0", 82, device="eth0"))
in_background(tell_client, listener("::", 83, proto=MPTCP))
fast = listener("::", 84)
open("/proc/sys/net/ipv4/tcp_fastopen", "w").write("3")
fast.setsockopt(socket.IPPROTO_TCP, 23, 100)
def echo_line():
    while True:
        sock, _ = fast.accept()
        sock.sendall((line(sock) + "\\n").encode()); sock.recv(1)
in_background(echo_line)
stay()`;

beforeAll(async () => {
  bed = await DirectBed.create(76);
  await bed.capture.serve(bed.server, SERVERS);
  for (const port of PORTS) await bed.allow(port);
});
afterAll(async () => {
  await bed?.dispose();
});

/** Connects from the client and gives both ends' view. `before`, `after`: Python around connect(), the socket is `s`. */
async function seen(
  ip: string,
  port = 80,
  { before = "", after = "", proto = "0" }: { before?: string; after?: string; proto?: string } = {},
): Promise<Seen> {
  const code = `s = stream(family_of("${ip}"), proto=${proto})
${before}
s.connect(("${ip}", ${port}))
${after}
asked = at(s.getpeername()); own = at(s.getsockname())
show({**json.loads(line(s)), "asked": asked, "own": own})`;
  return (await bed.app(code)) as Seen;
}

/** By how much each counter has grown over the action. */
async function counted<T>(
  reasons: readonly Reason[],
  action: () => Promise<T>,
): Promise<{ result: T; grown: number[] }> {
  const before = await Promise.all(reasons.map((reason) => bed.agent.count(reason)));
  const result = await action();
  const after = await Promise.all(reasons.map((reason) => bed.agent.count(reason)));
  return { result, grown: after.map((count, i) => count - (before[i] ?? 0)) };
}

const WAYS = [
  { name: "a service by IPv4", ip: () => VIP4 },
  { name: "a service by IPv6", ip: () => VIP6 },
  { name: "a service by a v4-mapped address", ip: () => `::ffff:${VIP4}` },
  { name: "a pod by IPv4", ip: () => bed.server.ip },
  { name: "a pod by IPv6", ip: () => bed.server.ip6 },
  { name: "a pod by a v4-mapped address", ip: () => `::ffff:${bed.server.ip}` },
];

describe.each(WAYS)("a connection to $name", ({ ip }) => {
  /** How the server's dual-stack listener shows the address. */
  const atServer = (address: string) => (address.startsWith("[") ? address : `[::ffff:${address.replace(":", "]:")}`);

  test("is one ordinary connection in which each end sees the other, and the client what it asked for", async () => {
    const { result, grown } = await counted(["direct", "captured_outbound", "captured_inbound"], () => seen(ip()));
    expect(grown).toEqual([1, 0, 0]);
    expect(result.asked).toBe(ip().includes(":") ? `[${ip()}]:80` : `${ip()}:80`);
    const client = atServer(result.own);
    const server =
      ip().includes(":") && !ip().startsWith("::ffff") ? `[${bed.server.ip6}]` : `[::ffff:${bed.server.ip}]`;
    expect(result).toMatchObject({ accept: client, peer: client, local: `${server}:80` });
    expect(result.own).toContain(server.includes("ffff") ? bed.client.ip : bed.client.ip6);
  });

  test("makes one record with what was asked for and where it went", async () => {
    await bed.ended(0);
    const { own } = await seen(ip());
    const [record, ...rest] = await bed.ended(1);
    const v4 = ip().replace("::ffff:", "");
    const plain = (address: string) => address.replace(/^\[::ffff:(.*)\]/, "$1");
    expect(rest).toEqual([]);
    expect(record).toMatchObject({
      kind: "closed",
      path: "direct",
      sourcePod: bed.clientId,
      destinationPod: bed.serverId,
      source: plain(own),
      asked: v4.includes(":") ? `[${v4}]:80` : `${v4}:80`,
      destination: own.includes("ffff") || !own.startsWith("[") ? `${bed.server.ip}:80` : `[${bed.server.ip6}]:80`,
      endpoint: 5,
      established: true,
    });
    expect(record?.durationNs).toBeGreaterThan(0n);
    expect(record?.srttUs).toBeGreaterThan(0);
  });
});

describe("a direct connection", () => {
  test.each([
    { name: "an IPv4 listener", port: 81 },
    { name: "a listener that is bound to a device", port: 82 },
    { name: "an MPTCP listener", port: 83 },
  ])("reaches $name", async ({ port }) => {
    const { result, grown } = await counted(["direct", "captured_outbound"], () => seen(VIP4, port));
    expect(grown).toEqual([1, 0]);
    expect(result.accept).toContain(result.own.split(":").pop());
    expect(result.asked).toBe(`${VIP4}:${port}`);
  });

  test("carries data with its SYN (fast open), and is shown as asked", async () => {
    // Twice: the second has the cookie of the first.
    const code = `for i in range(2):
    s = stream(V4); s.settimeout(None); s.sendto(b"early\\n", socket.MSG_FASTOPEN, ("${VIP4}", 84)); text = line(s)
    acked = struct.unpack_from("B", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8), 5)[0] >> 5 & 1
    peer = at(s.getpeername()); s.close()
show([peer, acked, text])`;
    const { result, grown } = await counted(["direct", "captured_outbound"], () => bed.app(code));
    expect(grown).toEqual([2, 0]);
    expect(result).toEqual([`${VIP4}:84`, 1, "early"]);
  });

  test("may be opened by TCP_FASTOPEN_CONNECT, which puts the SYN off to the first write", async () => {
    const code = `for i in range(2):
    s = stream(V4); s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    s.connect(("${VIP4}", 84)); s.sendall(b"early\\n"); text = line(s); peer = at(s.getpeername()); s.close()
show(peer)`;
    const { result, grown } = await counted(["direct"], () => bed.app(code));
    expect([result, grown]).toEqual([`${VIP4}:84`, [2]]);
  });

  test("completes a non-blocking connect", async () => {
    const code = `s = stream(V4); s.setblocking(False)
first = errno.errorcode.get(s.connect_ex(("${VIP4}", 80)), "done")
select.select([], [s], [], TIMEOUT)
error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR); s.settimeout(TIMEOUT)
show([first, error, at(s.getpeername()), "accept" in line(s)])`;
    expect(await bed.app(code)).toEqual(["EINPROGRESS", 0, `${VIP4}:80`, true]);
  });

  test("may leave from a socket that is bound to the pod's address and a port", async () => {
    const { result, grown } = await counted(["direct"], () =>
      seen(VIP4, 80, { before: `s.bind(("${bed.client.ip}", 34567))` }),
    );
    expect([grown, result.own]).toEqual([[1], `${bed.client.ip}:34567`]);
  });

  test("may leave from a socket that is bound to a port alone, in either family", async () => {
    const { grown } = await counted(["direct"], async () => {
      await seen(VIP4, 80, { before: `s.bind(("0.0.0.0", 34568))` });
      await seen(VIP6, 80, { before: `s.bind(("::", 34569))` });
      await seen(`::ffff:${VIP4}`, 80, { before: `s.bind(("::", 34570))` });
    });
    expect(grown).toEqual([3]);
  });

  test("may leave from a socket that is bound to the pod's device", async () => {
    const before = `s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")`;
    const { grown } = await counted(["direct"], () => seen(VIP4, 80, { before }));
    expect(grown).toEqual([1]);
  });

  test("goes on when the destination is released, and its record comes all the same", async () => {
    await bed.ended(0);
    const pod = bed.capture.addPod();
    const id = await bed.agent.capture(pod);
    const server = await bed.capture.serve(
      pod,
      `server = listener("::", 80); print("ready", flush=True); sock, _ = server.accept(); print(line(sock), flush=True)`,
    );
    await bed.agent.setRoute(bed.clientId, pod.ip, 80, [{ ip: pod.ip, port: 80, pod: id }]);
    await bed.agent.setVerdict(bed.clientId, id, 80, true);
    const client = await bed.capture.serve(
      bed.client,
      `s = stream(V4); s.connect(("${pod.ip}", 80)); print("ready", flush=True); sys.stdin.readline()
s.sendall(b"still here\\n"); print("sent", flush=True); s.recv(1)`,
    );
    await bed.agent.release(id);
    expect([await client.ask("go"), await server.next()]).toEqual(["sent", "still here"]);
    expect(await bed.ended(1)).toMatchObject([{ destinationPod: id, requestBytes: 11, reason: "none" }]);
  });
});

describe("a pod that talks to itself through its own service", () => {
  test.each([
    { name: "IPv4", vip: "10.99.3.4", own: () => bed.server.ip },
    { name: "IPv6", vip: "fd99::4", own: () => bed.server.ip6 },
  ])("does so directly, by $name, when it is allowed", async ({ vip, own }) => {
    await bed.ended(0);
    await bed.agent.setRoute(bed.serverId, vip, 80, [bed.endpoint(own(), 80)]);
    await bed.agent.setVerdict(bed.serverId, bed.serverId, 80, true);
    const code = `s = stream(family_of("${vip}")); s.connect(("${vip}", 80)); show([at(s.getpeername()), "accept" in line(s)])`;
    const peer = vip.includes(":") ? `[${vip}]:80` : `${vip}:80`;
    expect(await bed.capture.app(bed.server, code)).toEqual([peer, true]);
    expect(await bed.ended(1)).toMatchObject([
      { path: "direct", sourcePod: bed.serverId, destinationPod: bed.serverId, asked: peer, established: true },
    ]);
  });

  test("goes to the agent when nothing is known", async () => {
    await bed.agent.setRoute(bed.serverId, "10.99.3.5", 7, [bed.endpoint(bed.server.ip, 7)]);
    expect(await bed.capture.app(bed.server, `show(dial("10.99.3.5", 7).split()[0])`)).toBe("orig=10.99.3.5:7");
  });
});

describe("to the agent goes, with the choice kept,", () => {
  /** Port 7 answers when the agent has the connection. */
  const ECHO = 7;
  const byAgent = async (code = `show(dial("${VIP4}", ${ECHO}).split()[0])`) => {
    await bed.agent.chosen();
    const { result, grown } = await counted(["captured_outbound", "no_verdict"], () => bed.app(code));
    return { result, grown, chosen: await bed.agent.chosen() };
  };
  const KEPT = { result: `orig=${VIP4}:${ECHO}`, grown: [1, 0], chosen: new Map([[5, 1]]) };
  const UNDECIDED = { ...KEPT, grown: [1, 1] };

  beforeAll(() => bed.route(ECHO));

  test("a connection without a verdict", async () => {
    expect(await byAgent()).toEqual(UNDECIDED);
  });

  test("one whose verdict is of an earlier epoch", async () => {
    await bed.agent.setVerdict(bed.clientId, bed.serverId, ECHO, true);
    await bed.agent.expireVerdicts(bed.serverId);
    expect(await byAgent()).toEqual(UNDECIDED);
    for (const port of PORTS) await bed.allow(port);
  });

  test("one whose endpoint was released", async () => {
    const id = await bed.agent.capture(bed.capture.addPod());
    await bed.agent.setRoute(bed.clientId, VIP4, ECHO, [{ ...bed.endpoint(bed.server.ip, ECHO), pod: id }]);
    await bed.agent.setVerdict(bed.clientId, id, ECHO, true);
    await bed.agent.release(id);
    expect(await byAgent()).toEqual(UNDECIDED);
    await bed.route(ECHO);
  });

  test("one to an endpoint that only a tunnel reaches", async () => {
    await bed.agent.setRoute(bed.clientId, VIP4, ECHO, [{ ip: "10.77.1.1", port: 80, path: "agent", key: 9 }]);
    expect(await byAgent()).toEqual({ ...KEPT, chosen: new Map([[9, 1]]) });
    await bed.route(ECHO);
  });

  test("one from an address that the policies were not asked about", async () => {
    await bed.agent.setVerdict(bed.clientId, bed.serverId, ECHO, true);
    const code = `s = stream(V4); s.setsockopt(socket.SOL_IP, 15, 1) # IP_FREEBIND
s.bind(("127.0.0.2", 0)); show(error_of(lambda: s.connect(("${VIP4}", ${ECHO}))))`;
    expect(await byAgent(code)).toMatchObject({ grown: [1, 1] });
  });

  test("one of an MPTCP socket, which could not show what it asked for nor be told of its end", async () => {
    await bed.agent.setVerdict(bed.clientId, bed.serverId, ECHO, true);
    const code = `s = stream(V4, proto=MPTCP); s.connect(("${VIP4}", ${ECHO})); show([line(s).split()[0], at(s.getpeername())])`;
    expect(await byAgent(code)).toMatchObject({ result: [KEPT.result, `${VIP4}:${ECHO}`], chosen: new Map([[5, 1]]) });
  });

  test("one of another family than the endpoint's", async () => {
    await bed.agent.setRoute(bed.clientId, VIP4, ECHO, [bed.endpoint(bed.server.ip6, ECHO)]);
    expect(await byAgent()).toMatchObject({ result: KEPT.result, chosen: new Map([[5, 1]]) });
  });

  test("without a choice, one without a route", async () => {
    await bed.agent.removeRoute(bed.clientId, VIP4, ECHO);
    expect(await byAgent()).toEqual({ ...KEPT, chosen: new Map([[0, 1]]) });
  });
});

describe("a denied connection", () => {
  beforeAll(async () => {
    await bed.route(90);
    await bed.agent.setVerdict(bed.clientId, bed.serverId, 90, false);
  });

  test("fails at connect() with ECONNREFUSED and is counted", async () => {
    const code = `show([dial(ip, 90) for ip in ("${VIP4}", "${VIP6}", "::ffff:${VIP4}", "${bed.server.ip}")])`;
    const { result, grown } = await counted(["policy_denied", "captured_outbound"], () => bed.app(code));
    expect(result).toEqual(Array.from({ length: 4 }, () => "ECONNREFUSED"));
    expect(grown).toEqual([4, 0]);
  });

  test("fails so for non-blocking sockets, at once", async () => {
    const code = `s = stream(V4); s.setblocking(False); show(errno.errorcode[s.connect_ex(("${VIP4}", 90))])`;
    expect(await bed.app(code)).toBe("ECONNREFUSED");
  });

  test("is reported with what was asked for", async () => {
    await bed.agent.events();
    await bed.app(`show(dial("${VIP4}", 90))`);
    expect(await bed.agent.events()).toMatchObject([
      {
        kind: "denied",
        path: "direct",
        sourcePod: bed.clientId,
        destinationPod: bed.serverId,
        source: `${bed.client.ip}:0`,
        asked: `${VIP4}:90`,
        destination: `${bed.server.ip}:90`,
        endpoint: 5,
        reason: "policy_denied",
        established: false,
      },
    ]);
  });

  test("leaves the socket as it was: it may connect elsewhere", async () => {
    const code = `s = stream(V4); first = error_of(lambda: s.connect(("${VIP4}", 90)))
s.connect(("${VIP4}", 80)); show([first, at(s.getpeername()), "accept" in line(s)])`;
    expect(await bed.app(code)).toEqual(["ECONNREFUSED", `${VIP4}:80`, true]);
  });

  test("tried over and over costs others at most half of the ring, and what does not fit is counted", async () => {
    await bed.agent.events();
    const lost = await bed.agent.count("event_lost");
    const attempts = 8_000;
    await bed.app(`
for i in range(${attempts}):
    s = stream(V4); s.connect_ex(("${VIP4}", 90)); s.close()
show(dial("${VIP4}", 80))`);
    const events = await bed.agent.events();
    const denied = events.filter((event) => event.kind === "denied").length;
    expect(denied).toBeGreaterThan(3_000);
    expect(denied + (await bed.agent.count("event_lost")) - lost).toBe(attempts);
    expect(events.at(-1)).toMatchObject({ kind: "closed", asked: `${VIP4}:80` });
  });
});

describe("a socket that is used again", () => {
  const AGAIN = `import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def release(s): libc.connect(s.fileno(), AF_UNSPEC_ADDRESS, 16)
`;

  test("after a direct connection shows the peer of its new one, which makes a record of its own", async () => {
    await bed.ended(0);
    const code = `${AGAIN}s = stream(V4); s.connect(("${VIP4}", 80)); line(s); first = at(s.getpeername()); release(s)
s.connect(("10.99.9.9", 7)); second = [line(s).split()[0], at(s.getpeername())]; release(s)
s.connect(("${bed.server.ip}", 80)); show([first, *second, "accept" in line(s), at(s.getpeername())])`;
    expect(await bed.app(code)).toEqual([`${VIP4}:80`, "orig=10.99.9.9:7", "10.99.9.9:7", true, `${bed.server.ip}:80`]);
    expect((await bed.ended(2)).map((record) => record.asked)).toEqual([`${VIP4}:80`, `${bed.server.ip}:80`]);
  });

  test("after a refused connection makes a record for each attempt", async () => {
    await bed.allow(1);
    await bed.ended(0);
    const code = `s = stream(V4); s.settimeout(None); first = error_of(lambda: s.connect(("${VIP4}", 1)))
s.connect(("${VIP4}", 80)); show([first, "accept" in line(s), at(s.getpeername())])`;
    expect(await bed.app(code)).toEqual(["ECONNREFUSED", true, `${VIP4}:80`]);
    expect(await bed.ended(2)).toMatchObject([
      { asked: `${VIP4}:1`, reason: "upstream_refused", established: false },
      { asked: `${VIP4}:80`, established: true },
    ]);
  });

  test("after a direct connection, on loopback, is not taken for one", async () => {
    await bed.ended(0);
    const code = `${AGAIN}in_background(tell_client, listener("127.0.0.1", 8080))
s = stream(V4); s.connect(("${VIP4}", 80)); line(s); release(s)
s.connect(("127.0.0.1", 8080)); show([at(s.getpeername()), "accept" in line(s)])`;
    expect(await bed.app(code)).toEqual(["127.0.0.1:8080", true]);
    expect(await bed.ended(1)).toHaveLength(1);
  });
});
