import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BedPod } from "../helpers/pod-bed.ts";
import { CaptureBed } from "./capture-bed.ts";
import type { FakeAgent } from "./fake-agent.ts";

interface Seen {
  readonly accept: string;
  readonly peer: string;
  readonly local: string;
}

let bed: CaptureBed;
let agent: FakeAgent;
let pod: BedPod;
let unattended: BedPod;

const SERVERS = `
in_background(tell_client, listener("::", 8080))
in_background(tell_client, listener("0.0.0.0", 8081))
in_background(tell_client, listener("0.0.0.0", 8082, device="eth0"))
in_background(tell_client, listener("::", 8083, proto=MPTCP))
stay()`;

beforeAll(async () => {
  bed = await CaptureBed.create(72);
  pod = bed.pods.addPod("a");
  unattended = bed.pods.addPod("b");
  agent = await bed.startAgent();
  await agent.capture(pod);
  await agent.steer(unattended);
  await bed.serve(pod, SERVERS);
  await bed.serve(unattended, SERVERS);
});
afterAll(async () => {
  await bed?.dispose();
});

/** Dials from the node and returns what the application saw, with the port that the client really had. */
async function seenFromOutside(to: string, port: number): Promise<{ seen: Seen; client: string }> {
  const code = `s = stream(family_of("${to}")); s.connect(("${to}", ${port}))
show({"seen": json.loads(line(s)), "client": s.getsockname()[1]})`;
  return (await bed.outside(code)) as { seen: Seen; client: string };
}

describe("plaintext from outside reaches the agent, and the application sees", () => {
  test("the real IPv4 client on an IPv4 listener", async () => {
    const before = await agent.count("captured_inbound");
    const { seen, client } = await seenFromOutside(pod.ip, 8081);
    const peer = `${bed.pods.hostIp}:${client}`;
    expect(seen).toEqual({ accept: peer, peer, local: `${pod.ip}:8081` });
    expect(await agent.count("captured_inbound")).toBe(before + 1);
  });

  test("the real IPv4 client, v4-mapped, on a dual-stack listener", async () => {
    const { seen, client } = await seenFromOutside(pod.ip, 8080);
    const peer = `[::ffff:${bed.pods.hostIp}]:${client}`;
    expect(seen).toEqual({ accept: peer, peer, local: `[::ffff:${pod.ip}]:8080` });
  });

  test("the real IPv6 client", async () => {
    const { seen, client } = await seenFromOutside(pod.ip6, 8080);
    const peer = `[${bed.pods.hostIp6}]:${client}`;
    expect(seen).toEqual({ accept: peer, peer, local: `[${pod.ip6}]:8080` });
  });

  test("the real client on a listener that is bound to a device", async () => {
    const { seen, client } = await seenFromOutside(pod.ip, 8082);
    expect(seen.accept).toBe(`${bed.pods.hostIp}:${client}`);
  });

  test("the real client on an MPTCP listener, which is Go's default", async () => {
    const { seen, client } = await seenFromOutside(pod.ip, 8083);
    const peer = `[::ffff:${bed.pods.hostIp}]:${client}`;
    expect(seen).toEqual({ accept: peer, peer, local: `[::ffff:${pod.ip}]:8083` });
  });

  test("the real client of each of many short connections", async () => {
    const code = `peers = []
for i in range(200):
    s = stream(V4); s.connect(("${pod.ip}", 8081)); seen = json.loads(line(s)); peers.append(seen["accept"] == at(s.getsockname())); s.close()
show(all(peers))`;
    expect(await bed.outside(code)).toBe(true);
  });
});

describe("from outside", () => {
  test.each([15001, 15006])("the agent's port %i is refused", async (port) => {
    const code = `show([dial(ip, ${port}) for ip in ("${pod.ip}", "${pod.ip6}")])`;
    expect(await bed.outside(code)).toEqual(["ECONNRESET", "ECONNRESET"]);
  });

  test("15008 reaches the agent's own listener", async () => {
    const before = await agent.count("captured_inbound");
    const seen = await bed.outside(`show([dial(ip, 15008) for ip in ("${pod.ip}", "${pod.ip6}")])`);
    expect(seen).toEqual(["hbone", "hbone"]);
    expect(await agent.count("captured_inbound")).toBe(before);
  });

  test("an enrolled pod without an agent is closed, and counted", async () => {
    const before = await agent.count("no_listener");
    const seen = await bed.outside(
      `show([dial("${unattended.ip}", 8080), dial("${unattended.ip}", 8081), dial("${unattended.ip6}", 8080)])`,
    );
    expect(seen).toEqual(["ECONNREFUSED", "ECONNREFUSED", "ECONNREFUSED"]);
    expect(await agent.count("no_listener")).toBe(before + 3);
  });

  test("datagrams reach the application", async () => {
    const server = await bed.serve(
      pod,
      `s = socket.socket(V4, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 9000)); print("ready", flush=True)
data, peer = s.recvfrom(100); print(peer[0], flush=True)`,
    );
    await bed.outside(`socket.socket(V4, socket.SOCK_DGRAM).sendto(b"hello", ("${pod.ip}", 9000)); show(None)`);
    expect(await server.next()).toBe(bed.pods.hostIp);
  });
});

describe("the kubelet's probes", () => {
  test("reach the application directly, agent or not", async () => {
    const before = await agent.count("passed_probe");
    const code = `show([json.loads(dial(*to))["accept"].rsplit(":", 1)[0] for to in (
    ("${pod.ip}", 8081), ("${pod.ip6}", 8080), ("${unattended.ip}", 8081), ("${unattended.ip6}", 8080))])`;
    const v4 = bed.pods.hostIp;
    const v6 = `[${bed.pods.hostIp6}]`;
    expect(await bed.kubelet(code)).toEqual([v4, v6, v4, v6]);
    expect(await agent.count("passed_probe")).toBe(before + 4);
  });

  test("leave no entry behind, refused ones neither", async () => {
    expect(await bed.kubelet(`show(dial("${pod.ip}", 1))`)).toBe("ECONNREFUSED");
    expect(bed.entries("weft_probes")).toBe(0);
  });

  test("are told by cgroup: the same program elsewhere is refused", async () => {
    expect(await bed.outside(`show(dial("${unattended.ip}", 8081))`)).toBe("ECONNREFUSED");
  });
});

test("the pod reaches its own services without an agent", async () => {
  const code = `show([json.loads(dial(ip, 8080))["accept"].rsplit(":", 1)[0] for ip in (
    "${unattended.ip}", "${unattended.ip6}", "127.0.0.1", "::1")])`;
  expect(await bed.app(unattended, code)).toEqual([
    `[::ffff:${unattended.ip}]`,
    `[${unattended.ip6}]`,
    "[::ffff:127.0.0.1]",
    "[::1]",
  ]);
});
