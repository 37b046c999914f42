import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BedPod } from "../helpers/pod-bed.ts";
import { CaptureBed } from "./capture-bed.ts";
import type { FakeAgent } from "./fake-agent.ts";

const SERVER4 = "10.96.0.10";
const SERVER6 = "fd96::a";

let bed: CaptureBed;
let agent: FakeAgent;
let pod: BedPod;
let plain: BedPod;

beforeAll(async () => {
  bed = await CaptureBed.create(73);
  pod = bed.pods.addPod("a");
  plain = bed.pods.addPod("b");
  agent = await bed.startAgent();
  await agent.capture(pod, { dns: true });
  await agent.capture(plain);
});
afterAll(async () => {
  await bed?.dispose();
});

const SERVERS = [
  { name: "IPv4", family: "V4", ip: SERVER4, peer: `${SERVER4}:53` },
  { name: "IPv6", family: "V6", ip: SERVER6, peer: `[${SERVER6}]:53` },
  { name: "v4-mapped", family: "V6", ip: `::ffff:${SERVER4}`, peer: `[::ffff:${SERVER4}]:53` },
];

describe.each(SERVERS)("DNS to an $name server goes to the agent's resolver", ({ family, ip, peer }) => {
  test("from an unconnected socket, and the answer comes from the server that was asked", async () => {
    const code = `s = socket.socket(${family}, socket.SOCK_DGRAM); s.settimeout(TIMEOUT)
s.sendto(b"query", ("${ip}", 53)); data, source = s.recvfrom(100); show([data.decode(), at(source)])`;
    expect(await bed.app(pod, code)).toEqual(["dns:query", peer]);
  });

  test("from a connected socket", async () => {
    const code = `s = socket.socket(${family}, socket.SOCK_DGRAM); s.settimeout(TIMEOUT)
s.connect(("${ip}", 53)); s.send(b"query"); data, source = s.recvfrom(100)
show([data.decode(), at(source), at(s.getpeername())])`;
    expect(await bed.app(pod, code)).toEqual(["dns:query", peer, peer]);
  });

  test("over TCP", async () => {
    const code = `s = stream(${family}); s.connect(("${ip}", 53)); show([line(s), at(s.getpeername())])`;
    expect(await bed.app(pod, code)).toEqual(["dns-tcp", peer]);
  });
});

test("each steered query is counted", async () => {
  const before = await agent.count("captured_dns");
  await bed.app(pod, `s = socket.socket(V4, socket.SOCK_DGRAM); s.sendto(b"q", ("${SERVER4}", 53)); show(None)`);
  expect(await agent.count("captured_dns")).toBe(before + 1);
});

test("one socket that asks two servers sees the one that it asked last", async () => {
  const code = `s = socket.socket(V4, socket.SOCK_DGRAM); s.settimeout(TIMEOUT)
seen = []
for ip in ("${SERVER4}", "10.96.0.11"):
    s.sendto(b"q", (ip, 53)); seen.append(s.recvfrom(100)[1][0])
show(seen)`;
  expect(await bed.app(pod, code)).toEqual([SERVER4, "10.96.0.11"]);
});

test("a resolver inside the pod is left alone", async () => {
  const code = `server = socket.socket(V4, socket.SOCK_DGRAM); server.bind(("127.0.0.53", 53))
s = socket.socket(V4, socket.SOCK_DGRAM); s.sendto(b"mine", ("127.0.0.53", 53)); server.settimeout(TIMEOUT)
show(server.recvfrom(100)[0].decode())`;
  expect(await bed.app(pod, code)).toBe("mine");
});

test("a socket bound to a device keeps its server: loopback is out of its reach", async () => {
  const before = await agent.count("captured_dns");
  const code = `s = socket.socket(V4, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
s.connect(("${SERVER4}", 53)); show(s.getsockname()[0])`;
  expect(await bed.app(pod, code)).toBe(pod.ip);
  expect(await agent.count("captured_dns")).toBe(before);
});

test("a pod that did not ask for DNS keeps its server, and DNS over TCP is captured like any TCP", async () => {
  const before = await agent.count("captured_dns");
  const code = `s = socket.socket(V4, socket.SOCK_DGRAM); s.connect(("${SERVER4}", 53)); show(s.getsockname()[0])`;
  expect(await bed.app(plain, code)).toBe(plain.ip);
  expect(await agent.count("captured_dns")).toBe(before);
});
