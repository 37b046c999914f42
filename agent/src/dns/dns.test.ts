import packet from "dns-packet";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ServiceFixture, serviceAddress, uidOf, workloadAddress } from "../../../test/helpers/mesh-fixtures.ts";
import { meshState } from "../../../test/helpers/mesh-state.ts";
import { answerQuery, failure } from "./answer.ts";
import { FrameReader, frame, parseNameServers } from "./forwarder.ts";
import { candidates, findService } from "./names.ts";

const DOMAIN = "cluster.local";

function ask(
  name: string,
  type: "A" | "AAAA" | "MX",
  services: ServiceFixture[],
  options: { udp?: boolean; edns?: number } = {},
) {
  const state = meshState(
    workloadAddress({ name: "client", ips: ["10.0.0.1"] }),
    ...services.map((service) => serviceAddress(service)),
  );
  const query = packet.encode({
    type: "query",
    id: 7,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type, name }],
    ...(options.edns === undefined
      ? {}
      : {
          additionals: [
            {
              type: "OPT",
              name: ".",
              udpPayloadSize: options.edns,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ],
        }),
  });
  const client = { namespace: "default", workload: state.workloads.get(uidOf("client")) };
  return answerQuery(query, options.udp ?? true, client, { view: state, clusterDomain: DOMAIN, ipv6: true });
}

function answers(verdict: ReturnType<typeof ask>): unknown[] {
  if (verdict.kind !== "answer") throw new Error(verdict.kind);
  return (packet.decode(verdict.bytes).answers ?? []).map((record) =>
    "data" in record ? [record.type, record.name, record.data] : record.type,
  );
}

describe("names", () => {
  test("short names are tried as Kubernetes writes them out", () => {
    const names = (name: string) =>
      [...candidates({ name, clientNamespace: "ns", clusterDomain: DOMAIN })].map((candidate) => candidate.name);
    expect(names("a")).toEqual(["a", "a.ns.svc.cluster.local"]);
    expect(names("a.b")).toEqual(["a.b", "a.b.svc.cluster.local", "a.b.ns.svc.cluster.local"]);
    expect(names("a.b.svc")).toEqual(["a.b.svc", "a.b.svc.cluster.local", "a.b.svc.svc.cluster.local"]);
    expect(names("x.com.ns.svc.cluster.local")).toContain("x.com");
  });

  test("own namespace, then canonical, then the first", () => {
    const state = meshState(
      serviceAddress({
        name: "x",
        namespace: "b",
        hostname: "x.example",
        vips: ["10.96.0.2"],
        more: { canonical: false },
      }),
      serviceAddress({ name: "x", namespace: "c", hostname: "x.example", vips: ["10.96.0.3"] }),
      serviceAddress({ name: "x", namespace: "a", hostname: "x.example", vips: ["10.96.0.1"] }),
    );
    const found = (clientNamespace: string) =>
      findService(state, { name: "x.example", clientNamespace, clusterDomain: DOMAIN })?.service.namespace;
    expect([found("a"), found("b"), found("other")]).toEqual(["a", "b", "c"]);
  });

  test("the exact name beats a wildcard, a longer wildcard a shorter one", () => {
    const state = meshState(
      serviceAddress({ name: "w1", hostname: "*.example", vips: ["10.96.0.1"] }),
      serviceAddress({ name: "w2", hostname: "*.b.example", vips: ["10.96.0.2"] }),
      serviceAddress({ name: "e", hostname: "a.b.example", vips: ["10.96.0.3"] }),
    );
    const found = (name: string) =>
      findService(state, { name, clientNamespace: "default", clusterDomain: DOMAIN })?.service.name;
    expect([found("a.b.example"), found("z.b.example"), found("z.example"), found("example")]).toEqual([
      "e",
      "w2",
      "w1",
      undefined,
    ]);
  });
});

describe("answers", () => {
  test("a stripped search domain shows as an alias", () => {
    const verdict = ask("ext.example.default.svc.cluster.local", "A", [
      { name: "e", hostname: "ext.example", vips: ["10.96.0.9"] },
    ]);
    expect(answers(verdict)).toEqual([
      ["CNAME", "ext.example.default.svc.cluster.local", "ext.example"],
      ["A", "ext.example", "10.96.0.9"],
    ]);
  });

  test("a known name without an address of the family is answered with nothing, not with a refusal", () => {
    const verdict = ask("s", "AAAA", [{ name: "s", vips: ["10.96.0.9"] }]);
    expect(answers(verdict)).toEqual([]);
    if (verdict.kind === "answer") expect((packet.decode(verdict.bytes).flags ?? 0) & 0xf).toBe(0);
  });

  test("other types and unknown names are forwarded", () => {
    const services = [{ name: "s", vips: ["10.96.0.9"] }];
    expect(ask("s", "MX", services).kind).toBe("forward");
    expect(ask("t", "A", services).kind).toBe("forward");
  });

  test("a pod that the mesh does not know yet is told to ask again", () => {
    const state = meshState();
    const query = packet.encode({ type: "query", id: 7, questions: [{ type: "A", name: "x" }] });
    const verdict = answerQuery(
      query,
      true,
      { namespace: "default", workload: undefined },
      {
        view: state,
        clusterDomain: DOMAIN,
        ipv6: true,
      },
    );
    if (verdict.kind === "answer") expect((packet.decode(verdict.bytes).flags ?? 0) & 0xf).toBe(2);
    expect(verdict.kind).toBe("answer");
  });

  test("an answer too long for the client's datagram is cut, and whole over TCP", () => {
    const vips = Array.from({ length: 24 }, (_, i) => `fd00::${i + 1}`);
    const service = { name: "s", vips };
    const cut = ask("s", "AAAA", [service]);
    expect(answers(cut)).toEqual([]);
    if (cut.kind === "answer") expect((packet.decode(cut.bytes).flags ?? 0) & packet.TRUNCATED_RESPONSE).not.toBe(0);
    expect(answers(ask("s", "AAAA", [service], { udp: false }))).toHaveLength(24);
    expect(answers(ask("s", "AAAA", [service], { edns: 4096 }))).toHaveLength(24);
  });

  test("any bytes are answered, forwarded or dropped", () => {
    const state = meshState();
    const options = { view: state, clusterDomain: DOMAIN, ipv6: true };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        const query = Buffer.from(bytes);
        answerQuery(query, true, { namespace: "default", workload: undefined }, options);
        failure(query);
      }),
      { numRuns: 2000 },
    );
  });
});

test("messages of a TCP stream come out whole, however it is cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 7 }),
      (all, size) => {
        const stream = Buffer.concat(all.map((message) => frame(Buffer.from(message))));
        const seen: string[] = [];
        const reader = new FrameReader((message) => seen.push(message.toString("hex")));
        for (let at = 0; at < stream.length; at += size) reader.push(stream.subarray(at, at + size));
        expect(seen).toEqual(all.map((message) => Buffer.from(message).toString("hex")));
      },
    ),
  );
});

test("name servers are read from resolv.conf", () => {
  expect(parseNameServers("# x\nnameserver 10.0.0.10\n nameserver fe80::1%eth0\nnameserver bad\noptions x\n")).toEqual([
    "10.0.0.10",
    "fe80::1%eth0",
  ]);
});
