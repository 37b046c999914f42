import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { BedPod } from "../helpers/pod-bed.ts";
import { CaptureBed } from "./capture-bed.ts";
import type { FakeAgent } from "./fake-agent.ts";

/** Nobody has these addresses: what answers is the agent. */
const FAR4 = "10.99.9.9";
const FAR6 = "fd99::9";

let bed: CaptureBed;
let agent: FakeAgent;
let pod: BedPod;
let stranger: BedPod;

beforeAll(async () => {
  bed = await CaptureBed.create(71);
  pod = bed.pods.addPod("a");
  stranger = bed.pods.addPod("b");
  agent = await bed.startAgent();
  await agent.capture(pod);
  await bed.serve(stranger, `in_background(tell_client, listener("::", 80))\nstay()`);
});
afterAll(async () => {
  await bed?.dispose();
});

const DIRECTIONS = [
  { name: "IPv4", ip: FAR4, family: "V4", orig: `${FAR4}:7`, peer: `${FAR4}:7`, local: () => pod.ip },
  { name: "IPv6", ip: FAR6, family: "V6", orig: `[${FAR6}]:7`, peer: `[${FAR6}]:7`, local: () => `[${pod.ip6}]` },
  {
    name: "v4-mapped",
    ip: `::ffff:${FAR4}`,
    family: "V6",
    orig: `${FAR4}:7`,
    peer: `[::ffff:${FAR4}]:7`,
    local: () => `[::ffff:${pod.ip}]`,
  },
];

describe.each(DIRECTIONS)("a captured $name connection", ({ ip, family, orig, peer, local }) => {
  const expected = () => ({ local: local(), peer, orig, same_port: true });

  test("shows the application its own address and the one that it asked for", async () => {
    const seen = await bed.app(pod, `s = stream(${family}); s.connect(("${ip}", 7)); show(views(s, line(s)))`);
    expect(seen).toEqual(expected());
  });

  test("works from a socket that is bound to a device", async () => {
    const seen = await bed.app(
      pod,
      `s = stream(${family}, device="eth0"); s.connect(("${ip}", 7)); show(views(s, line(s)))`,
    );
    expect(seen).toEqual(expected());
  });

  test("works from a socket that is bound to an address and port", async () => {
    const own = family === "V4" ? pod.ip : ip.startsWith("::ffff") ? `::ffff:${pod.ip}` : pod.ip6;
    const seen = await bed.app(
      pod,
      `s = stream(${family}); s.bind(("${own}", 34567)); s.connect(("${ip}", 7)); v = views(s, line(s))
show({**v, "port": s.getsockname()[1]})`,
    );
    expect(seen).toEqual({ ...expected(), port: 34567 });
  });

  test("completes a non-blocking connect", async () => {
    const seen = await bed.app(
      pod,
      `s = stream(${family}); s.setblocking(False)
first = errno.errorcode[s.connect_ex(("${ip}", 7))]
select.select([], [s], [], TIMEOUT)
error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
s.settimeout(TIMEOUT)
show({**views(s, line(s)), "first": first, "error": error})`,
    );
    expect(seen).toEqual({ ...expected(), first: "EINPROGRESS", error: 0 });
  });

  test("is captured when it opens with data (MSG_FASTOPEN)", async () => {
    // Twice: the second has the cookie of the first, so its SYN carries the data.
    const seen = await bed.app(
      pod,
      `for i in range(2):
    s = stream(${family}); s.settimeout(None); s.sendto(b"early\\n", socket.MSG_FASTOPEN, ("${ip}", 7)); v = views(s, line(s)); echo = line(s)
show({**v, "echo": echo})`,
    );
    expect(seen).toEqual({ ...expected(), echo: "early" });
  });

  test("is captured when connect() is deferred to the first write (TCP_FASTOPEN_CONNECT)", async () => {
    const seen = await bed.app(
      pod,
      `for i in range(2):
    s = stream(${family}); s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    s.connect(("${ip}", 7)); s.sendall(b"early\\n"); v = views(s, line(s)); echo = line(s)
show({**v, "echo": echo})`,
    );
    expect(seen).toEqual({ ...expected(), echo: "early" });
  });

  test("is captured when the socket is MPTCP", async () => {
    const seen = await bed.app(
      pod,
      `s = stream(${family}, proto=MPTCP); s.connect(("${ip}", 7)); show(views(s, line(s)))`,
    );
    expect(seen).toEqual(expected());
  });

  test("keeps half-close", async () => {
    const seen = await bed.app(
      pod,
      `s = stream(${family}); s.connect(("${ip}", 7)); line(s); s.sendall(b"last\\n"); s.shutdown(socket.SHUT_WR)
show([line(s), line(s), s.recv(1).decode()])`,
    );
    expect(seen).toEqual(["last", "eof", ""]);
  });

  test("passes a reset from the agent", async () => {
    const seen = await bed.app(
      pod,
      `s = stream(${family}); s.connect(("${ip}", 7)); line(s); s.sendall(b"reset"); show(error_of(lambda: s.recv(1)))`,
    );
    expect(seen).toBe("ECONNRESET");
  });

  test("leaves no entry behind, however it ends", async () => {
    await bed.app(
      pod,
      `s = stream(${family}); s.connect(("${ip}", 7)); line(s)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()
s = stream(${family}); s.connect(("${ip}", 7)); line(s); s.close()
show(None)`,
    );
    await eventually("an empty flow map", () => bed.entries("weft_flows") === 0);
  });
});

describe("a captured connection", () => {
  test("is dialled by the agent from inside the pod, uncaptured", async () => {
    const seen = (await bed.app(pod, `show(json.loads(dial("${stranger.ip}", 80)))`)) as { accept: string };
    expect(seen.accept).toMatch(`[::ffff:${pod.ip}]:`);
  });

  test("to a closed port ends in a reset and leaves no entry", async () => {
    expect(await bed.app(pod, `show(dial("${stranger.ip}", 81))`)).toBe("ECONNRESET");
    await eventually("an empty flow map", () => bed.entries("weft_flows") === 0);
  });

  test("that is written and closed before the agent gets to it is delivered all the same", async () => {
    const server = await bed.serve(
      stranger,
      `server = listener("0.0.0.0", 90); print("ready", flush=True)
sock, _ = server.accept(); print(line(sock), flush=True)`,
    );
    agent.pause();
    await bed.app(
      pod,
      `s = stream(V4); s.connect(("${stranger.ip}", 90)); s.sendall(b"fired\\n"); s.close(); show(None)`,
    );
    agent.resume();
    expect(await server.next()).toBe("fired");
    await eventually("an empty flow map", () => bed.entries("weft_flows") === 0);
  });

  test("that is reset before the agent gets to it leaves no entry", async () => {
    agent.pause();
    await bed.app(
      pod,
      `s = stream(V4); s.connect(("${FAR4}", 7))
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close(); show(None)`,
    );
    agent.resume();
    await eventually("an empty flow map", () => bed.entries("weft_flows") === 0);
  });

  test("shows the peer of its last connect() when the socket is used again", async () => {
    const seen = await bed.app(
      pod,
      `server = listener("127.0.0.1", 8080); in_background(tell_client, server)
s = stream(V4); s.connect(("${FAR4}", 7)); line(s); first = at(s.getpeername())
import ctypes
libc = ctypes.CDLL(None, use_errno=True); libc.connect(s.fileno(), AF_UNSPEC_ADDRESS, 16)
s.connect(("127.0.0.1", 8080)); show([first, at(s.getpeername())])`,
    );
    expect(seen).toEqual([`${FAR4}:7`, "127.0.0.1:8080"]);
  });

  test("is counted", async () => {
    const before = await agent.count("captured_outbound");
    await bed.app(pod, `show(dial("${FAR4}", 7))`);
    expect(await agent.count("captured_outbound")).toBe(before + 1);
  });
});

describe("untouched are", () => {
  test.each(["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.8.8", "0.0.0.0", "::"])("loopback: %s", async (ip) => {
    const seen = await bed.app(
      pod,
      `in_background(tell_client, listener("::", 8080)); show("accept" in dial("${ip}", 8080))`,
    );
    expect(seen).toBe(true);
  });

  test("the pod's own addresses", async () => {
    const seen = (await bed.app(
      pod,
      `in_background(tell_client, listener("::", 8080))
show([json.loads(dial(ip, 8080))["accept"] for ip in ("${pod.ip}", "${pod.ip6}", "::ffff:${pod.ip}")])`,
    )) as string[];
    expect(seen[0]).toMatch(`[::ffff:${pod.ip}]:`);
    expect(seen[1]).toMatch(`[${pod.ip6}]:`);
    expect(seen[2]).toMatch(`[::ffff:${pod.ip}]:`);
  });

  test("datagrams that are not DNS", async () => {
    const seen = await bed.app(
      pod,
      `s = socket.socket(V4, socket.SOCK_DGRAM); s.connect(("${FAR4}", 5353)); show([at(s.getpeername()), s.getsockname()[0]])`,
    );
    expect(seen).toEqual([`${FAR4}:5353`, pod.ip]);
  });

  test("other pods in the same cgroup", async () => {
    const before = await agent.count("captured_outbound");
    const seen = await bed.app(stranger, `show(json.loads(dial("${stranger.ip}", 80)) and dial("${pod.ip}", 15008))`);
    expect(seen).toBe("hbone");
    expect(await agent.count("captured_outbound")).toBe(before);
  });

  test("link-local IPv6 destinations", async () => {
    const before = await agent.count("captured_outbound");
    await bed.app(pod, `s = stream(V6); s.settimeout(0.2); show(error_of(lambda: s.connect(("fe80::1234%eth0", 80))))`);
    expect(await agent.count("captured_outbound")).toBe(before);
  });
});

describe("refused are", () => {
  test("an application that dials 15001 itself", async () => {
    const seen = await bed.app(pod, `show([dial(ip, 15001) for ip in ("${pod.ip}", "127.0.0.1", "::1")])`);
    expect(seen).toEqual(["ECONNRESET", "ECONNRESET", "ECONNRESET"]);
  });

  test("a family that the pod has no address of, at once and by name", async () => {
    const v4only = bed.pods.addPod("c");
    await agent.capture(v4only, { addresses: [v4only.ip] });
    const before = await agent.count("no_own_address");
    const seen = await bed.app(v4only, `show([dial("${FAR6}", 7), dial("${FAR4}", 7).split()[0]])`);
    expect(seen).toEqual(["ENETUNREACH", `orig=${FAR4}:7`]);
    expect(await agent.count("no_own_address")).toBe(before + 1);
  });
});
