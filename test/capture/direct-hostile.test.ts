/**
 * What pods try that want more than policies give them: as root in their own network namespace, with sockets that are
 * put off, repaired, passed on or spoofed, and connections that come while policies change.
 */
import { execFileSync } from "node:child_process";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { BedPod } from "../helpers/pod-bed.ts";
import type { Conversation } from "./capture-bed.ts";
import { DirectBed, VIP4 } from "./direct-bed.ts";

const SERVER = `in_background(tell_client, listener("::", 80)); stay()`;
/** Keeps what comes until the other end closes it. */
const HOLDER = `use_all_files(); server = listener("::", 80)
def hold():
    poll = select.epoll(); poll.register(server, select.EPOLLIN); held = {}
    while True:
        for fd, _ in poll.poll():
            if fd in held: held.pop(fd).close()
            else:
                sock, _ = server.accept(); held[sock.fileno()] = sock; poll.register(sock, select.EPOLLIN)
in_background(hold); stay()`;

let bed: DirectBed;

beforeAll(async () => {
  bed = await DirectBed.create(86);
});
beforeEach(async () => {
  await bed.renew();
});
afterEach(async () => {
  await bed.capture.reset();
});
afterAll(async () => {
  await bed?.dispose();
});

function ip(pod: BedPod, ...words: string[]): string {
  return execFileSync("ip", ["-n", pod.netns, ...words]).toString();
}

function macOf(pod: BedPod): string {
  return /link\/ether (\S+)/.exec(ip(pod, "link", "show", "eth0"))?.[1] ?? "";
}

describe("a SYN that was put off with TCP_FASTOPEN_CONNECT until the decision no longer holds", () => {
  let client: Conversation;

  beforeEach(async () => {
    await bed.capture.serve(
      bed.server,
      `open("/proc/sys/net/ipv4/tcp_fastopen", "w").write("3"); fast = listener("::", 84)
fast.setsockopt(socket.IPPROTO_TCP, 23, 100); in_background(tell_client, fast); stay()`,
    );
    await bed.allow(84);
    client = await bed.capture.serve(
      bed.client,
      `s = stream(V4); s.settimeout(None); s.sendto(b"x", socket.MSG_FASTOPEN, ("${VIP4}", 84)); line(s); s.close()
s = stream(V4); s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1); s.connect(("${VIP4}", 84))
print("ready", flush=True); sys.stdin.readline()
print(error_of(lambda: s.send(b"x") and line(s)), flush=True); sys.stdin.readline()`,
    );
  });

  test("does not leave as plaintext, which a policy against this principal could not recognise", async () => {
    await bed.agent.expireVerdicts(bed.serverId);
    await bed.agent.setVerdict(bed.clientId, bed.serverId, 84, false);
    expect(await client.ask("write")).toMatch(
      /^(EHOSTUNREACH|ENETUNREACH|ECONNREFUSED|ETIMEDOUT|ECONNABORTED|timeout)$/,
    );
    expect([await bed.agent.count("captured_inbound"), await bed.agent.count("direct")]).toEqual([0, 1]);
  });

  test("does not leave so from a socket that is bound to a device by a program without capabilities", async () => {
    const bound = await bed.capture.serve(
      bed.client,
      `import os
os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
s = stream(V4, device="eth0"); s.settimeout(5); s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1); s.connect(("${VIP4}", 84))
print("ready", flush=True); sys.stdin.readline()
print(error_of(lambda: s.send(b"x") and line(s)), flush=True); sys.stdin.readline()`,
    );
    await bed.agent.expireVerdicts(bed.serverId);
    expect(await bound.ask("write")).not.toContain("accept");
    expect([await bed.agent.count("captured_inbound"), await bed.agent.count("direct")]).toEqual([0, 1]);
  });

  test("is not approved by the epoch of a pod that has left the mesh and come back", async () => {
    await bed.agent.release(bed.serverId);
    await bed.agent.steer(bed.server);
    await bed.agent.setVerdict(bed.clientId, bed.serverId, 84, false);
    await client.ask("write");
    expect(await bed.agent.count("direct")).toBe(1);
  });
});

describe("the list of open connections", () => {
  test("misses none of them while others come and go", async () => {
    await bed.capture.serve(bed.server, HOLDER);
    await bed.allow(80);
    const held = 2_000;
    const client = await bed.capture.serve(
      bed.client,
      `use_all_files()
def one():
    s = stream(V4); s.connect(("${bed.server.ip}", 80)); return s
held = [one() for _ in range(${held})]
def churn():
    while True:
        some = [one() for _ in range(50)]
        for s in some: s.close()
print("ready", flush=True); sys.stdin.readline()
print(json.dumps([s.getsockname()[1] for s in held]), flush=True)
in_background(churn); sys.stdin.readline()`,
    );
    const ports = JSON.parse(await client.ask("ports")) as number[];
    for (let look = 0; look < 20; look++) {
      const open = new Set((await bed.agent.openConnections()).map(({ source }) => Number(source.split(":")[1])));
      expect(ports.filter((port) => !open.has(port))).toEqual([]);
    }
  });

  test("has the acceptor's end, too, when the initiator has made its own vanish", async () => {
    const server = await bed.capture.serve(
      bed.server,
      `server = listener("::", 80); print("ready", flush=True); sock, _ = server.accept(); print("accepted", flush=True)
print(error_of(lambda: sock.recv(1).decode()), flush=True)`,
    );
    await bed.allow(80);
    await bed.app(
      `s = stream(V4); s.connect(("${VIP4}", 80)); s.setsockopt(socket.IPPROTO_TCP, 19, 1); s.close(); show(0) # TCP_REPAIR`,
    );
    expect(await server.next()).toBe("accepted");
    expect(await bed.agent.openConnections()).toMatchObject([
      { path: "direct", sourcePod: bed.clientId, destinationPod: bed.serverId, destination: `${bed.server.ip}:80` },
    ]);
    expect(await bed.agent.endConnections()).toBe(1);
    expect(await server.next()).toBe("ECONNABORTED");
    await eventually("an empty list", async () => (await bed.agent.openConnections()).length === 0);
  });
});

test("a neighbour that takes over the client's address does not open what was approved for the client", async () => {
  await bed.capture.serve(bed.server, SERVER);
  await bed.allow(80);
  // The client's SYN gets lost on the bridge, so its approval stands for a while.
  ip(bed.client, "neigh", "replace", bed.server.ip, "lladdr", "02:00:00:00:99:99", "dev", "eth0");
  await bed.capture.serve(
    bed.client,
    `s = stream(V4); s.bind(("${bed.client.ip}", 34567)); s.setblocking(False); s.connect_ex(("${VIP4}", 80))
print("ready", flush=True); sys.stdin.readline()`,
  );
  const thief = bed.capture.addPod();
  ip(thief, "addr", "add", `${bed.client.ip}/32`, "dev", "eth0");
  ip(bed.server, "neigh", "replace", bed.client.ip, "lladdr", macOf(thief), "dev", "eth0");
  const code = `s = stream(V4); s.settimeout(3); s.bind(("${bed.client.ip}", 34567)); s.connect_ex(("${bed.server.ip}", 80))
show(error_of(lambda: "accept" in line(s)))`;
  expect(await bed.capture.app(thief, code)).not.toBe(true);
});

test("while policies change over and over, no connection outlives the change that forbids it", async () => {
  await bed.capture.serve(bed.server, HOLDER);
  await bed.allow(80);
  await bed.capture.serve(
    bed.client,
    `import random; use_all_files()
def one():
    s = stream(V4); s.setblocking(False); s.connect_ex((random.choice(("${VIP4}", "${bed.server.ip}")), 80)); return s
def churn():
    held = []
    while True:
        held.append(one()); time.sleep(0.0005)
        if len(held) > 300: held.pop(random.randrange(300)).close()
for _ in range(2): in_background(churn)
stay()`,
  );
  for (let round = 0; round < 50; round++) {
    await bed.agent.expireVerdicts(bed.serverId);
    await bed.agent.setVerdict(bed.clientId, bed.serverId, 80, false);
    await bed.agent.endConnections();
    expect(await bed.agent.openConnections()).toEqual([]);
    await bed.agent.expireVerdicts(bed.serverId);
    await bed.agent.setVerdict(bed.clientId, bed.serverId, 80, true);
  }
  expect(await bed.agent.count("direct")).toBeGreaterThan(100);
});

describe("a socket counts as the pod's in whose network namespace it was made", () => {
  test("also when its program has moved to a namespace of its own since", async () => {
    await bed.capture.serve(bed.server, SERVER);
    await bed.allow(80);
    const code = `import ctypes
s = stream(V4); moved = ctypes.CDLL(None).unshare(0x40000000)
s.connect(("${VIP4}", 80)); show([moved, "accept" in line(s), error_of(lambda: stream(V4).connect(("${VIP4}", 80)))])`;
    expect(await bed.app(code)).toEqual([0, true, "ENETUNREACH"]);
    expect(await bed.ended(1)).toMatchObject([{ sourcePod: bed.clientId, established: true }]);
  });

  test("also when another pod's program uses it", async () => {
    await bed.capture.serve(bed.server, SERVER);
    await bed.allow(80);
    const other = bed.capture.addPod();
    const otherId = await bed.agent.capture(other);
    await bed.agent.setRoute(otherId, VIP4, 80, [bed.endpoint(bed.server.ip, 80)]);
    await bed.agent.setVerdict(otherId, bed.serverId, 80, false);
    const path = `/tmp/${bed.capture.pods.name}.sock`;
    const giver = bed.capture.serve(
      other,
      `import os
s = stream(V4); gate = socket.socket(socket.AF_UNIX); gate.bind("${path}"); gate.listen(1); print("ready", flush=True)
peer, _ = gate.accept(); socket.send_fds(peer, [b"x"], [s.fileno()]); sys.stdin.readline()`,
    );
    await giver;
    const code = `import os
gate = socket.socket(socket.AF_UNIX); gate.connect("${path}"); os.unlink("${path}")
_, fds, _, _ = socket.recv_fds(gate, 1, 1); s = socket.socket(fileno=fds[0]); s.settimeout(TIMEOUT)
show(error_of(lambda: s.connect(("${VIP4}", 80))))`;
    expect(await bed.app(code)).toBe("ECONNREFUSED");
    expect((await bed.agent.events()).map(({ kind, sourcePod }) => [kind, sourcePod])).toEqual([["denied", otherId]]);
  });

  test("a namespace below the pod that sends with the pod's address gets nothing that is the pod's", async () => {
    await bed.capture.serve(bed.server, SERVER);
    await bed.allow(80);
    const nested = `${bed.client.netns}-in`;
    const run = (script: string) => execFileSync("/bin/sh", ["-eu", "-c", script]);
    run(`ip netns add ${nested}
      ip -n ${bed.client.netns} link add down0 type veth peer name up0 netns ${nested}
      ip -n ${bed.client.netns} link set down0 up; ip -n ${nested} link set up0 up; ip -n ${nested} link set lo up
      ip -n ${nested} addr add ${bed.client.ip}/32 dev up0; ip -n ${nested} route add default dev up0
      ip netns exec ${bed.client.netns} sh -c 'for i in all eth0 down0; do echo 1 >/proc/sys/net/ipv4/conf/$i/proxy_arp; done; for i in all down0; do echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter; echo 1 >/proc/sys/net/ipv4/conf/$i/accept_local; done; echo 1 >/proc/sys/net/ipv4/ip_forward'`);
    try {
      const code = `import subprocess
subprocess.run(["ip", "netns", "exec", "${nested}", "python3", "-c", """
import socket
s = socket.socket(); s.setblocking(False); s.connect_ex(("${bed.server.ip}", 80))
import time; time.sleep(0.3)"""], check=False); show(0)`;
      await bed.app(code);
      expect(await bed.agent.count("direct")).toBe(0);
      expect(bed.capture.entries("weft_flows")).toBe(0);
    } finally {
      run(`ip netns del ${nested}`);
    }
  });
});
