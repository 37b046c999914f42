/** Names as pods of the mesh see them: through the real capture of port 53. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import packet from "dns-packet";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { RESOLVE } from "../helpers/agent-apps.ts";
import { AgentBed, type NodePod } from "../helpers/agent-bed.ts";
import { type ServiceFixture, serviceAddress } from "../helpers/mesh-fixtures.ts";

/** A name server of the node, on loopback. */
const UPSTREAM = "127.61.0.53";
/** What the pods' resolv.conf would name; nobody listens there. */
const CLUSTER_DNS = "10.99.63.53";

let node: AgentBed;
let pod: NodePod;
let udp: Socket;
let tcp: Server;
let dropped = 0;

function upstreamAnswer(query: Buffer): Buffer {
  const request = packet.decode(query);
  const name = request.questions?.[0]?.name ?? "";
  return packet.encode({
    type: "response",
    id: request.id ?? 0,
    flags: packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE,
    questions: request.questions ?? [],
    answers:
      request.questions?.[0]?.type === "SRV"
        ? [{ type: "SRV", name, ttl: 5, data: { target: "t.example", port: 99, priority: 1, weight: 2 } }]
        : request.questions?.[0]?.type === "TXT"
          ? [{ type: "TXT", name, ttl: 5, data: ["x".repeat(200), "y".repeat(200), "z".repeat(200)] }]
          : [{ type: "A", name, ttl: 5, data: "192.0.2.7" }],
  });
}

beforeAll(async () => {
  udp = createSocket("udp4");
  udp.on("message", (query, from) => {
    if (dropped > 0) {
      dropped--;
      return;
    }
    const answer = upstreamAnswer(query);
    udp.send(answer.length > 512 ? truncated(answer) : answer, from.port, from.address);
  });
  udp.bind(53, UPSTREAM);
  await once(udp, "listening");
  tcp = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", (data) => {
      const answer = upstreamAnswer(Buffer.from(data).subarray(2));
      socket.end(Buffer.concat([Buffer.of(answer.length >> 8, answer.length & 0xff), answer]));
    });
  });
  tcp.listen(53, UPSTREAM);
  await once(tcp, "listening");
  node = await AgentBed.create("wdns", 63);
  const resolvConf = `${tmpdir()}/wdns-${process.pid}.resolv.conf`;
  writeFileSync(resolvConf, `search nowhere\nnameserver ${UPSTREAM}\n`);
  await node.restart({ WEFT_RESOLV_CONF: resolvConf });
  pod = node.addPod("client");
  node.publish(pod, { services: { "default/headless.default.svc.cluster.local": { 80: 80 } } });
  const services: ServiceFixture[] = [
    { name: "reviews", vips: ["10.99.63.1", "fd99:63::1"] },
    { name: "headless" },
    { name: "only4", vips: ["10.99.63.4"] },
    { name: "other", namespace: "prod", vips: ["10.99.63.5"] },
    { name: "wild", hostname: "*.wild.example", vips: ["10.99.63.6"] },
    { name: "private", namespace: "prod", hostname: "private.example", vips: ["10.99.63.7"], more: { visibility: 1 } },
  ];
  for (const fixture of services) {
    const { namespace = "default", hostname = `${fixture.name}.${namespace}.svc.cluster.local` } = fixture;
    node.control.setAddress(`${namespace}/${hostname}`, serviceAddress(fixture));
  }
  await node.enrolled("client");
  await eventually("names", async () => (await resolve("private.example", "A")) === '["192.0.2.7"]', 10_000);
});

afterAll(async () => {
  await node.dispose();
  udp.close();
  tcp.close();
});

function truncated(answer: Buffer): Buffer {
  const head = packet.decode(answer);
  return packet.encode({
    ...head,
    type: "response",
    answers: [],
    flags: (head.flags ?? 0) | packet.TRUNCATED_RESPONSE,
  });
}

async function resolve(name: string, type: string): Promise<string> {
  return (await node.bed.run(pod, process.execPath, ["-e", RESOLVE, "--", CLUSTER_DNS, name, type])).stdout;
}

test.each([
  ["reviews.default.svc.cluster.local", "A", '["10.99.63.1"]'],
  ["reviews.default.svc.cluster.local", "AAAA", '["fd99:63::1"]'],
  ["reviews", "A", '["10.99.63.1"]'],
  ["reviews.default", "A", '["10.99.63.1"]'],
  ["other.prod", "A", '["10.99.63.5"]'],
  ["REVIEWS.Default.svc", "A", '["10.99.63.1"]'],
  ["a.b.wild.example", "A", '["10.99.63.6"]'],
  ["only4.default.svc.cluster.local", "AAAA", "ENODATA"],
])("%s %s is answered with %s", async (name, type, answer) => {
  expect(await resolve(name, type)).toBe(answer);
});

test("a headless service is answered with its endpoints", async () => {
  expect(await resolve("headless", "A")).toBe(JSON.stringify([pod.ip]));
  expect(await resolve("headless", "AAAA")).toBe(JSON.stringify([pod.ip6]));
});

test("what is not of the mesh, not visible or of another type goes to the node's name server", async () => {
  expect(await resolve("example.com", "A")).toBe('["192.0.2.7"]');
  expect(await resolve("private.example", "A")).toBe('["192.0.2.7"]');
  expect(await resolve("_http._tcp.reviews.default.svc.cluster.local", "SRV")).toContain('"port":99');
});

test("an answer too long for a datagram comes over TCP", async () => {
  expect(await resolve("long.example", "TXT")).toContain("zzzz");
});

test("a lost query is asked again", async () => {
  dropped = 1;
  expect(await resolve("retry.example", "A")).toBe('["192.0.2.7"]');
});

test("queries are counted by type and protocol", async () => {
  const { text } = await node.agent.get("metrics", "/metrics");
  expect(text).toMatch(
    /^istio_dns_requests_total\{request_query_type="A",request_protocol="udp",source_canonical_service="client",source_canonical_revision="v1"\} \d+/m,
  );
  expect(text).toMatch(/^istio_dns_upstream_requests_total\{request_query_type="TXT",request_protocol="tcp"/m);
});
