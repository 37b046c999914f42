import dgram from "node:dgram";
import net from "node:net";
import { type DecodedPacket, decode, encode, type RecordType } from "dns-packet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Obj } from "../api/objects.ts";
import { Store } from "../api/store.ts";
import { DnsServer } from "./server.ts";

const HOST = "127.0.0.1";
const PORT = 15_353;

function object(metadata: object, rest: object): Obj {
  return { apiVersion: "v1", kind: "X", metadata, ...rest } as Obj;
}

function query(name: string, type: RecordType): Buffer {
  return encode({ type: "query", id: 7, flags: 0x100, questions: [{ name, type }] });
}

function askUdp(name: string, type: RecordType): Promise<DecodedPacket> {
  const socket = dgram.createSocket("udp4");
  return new Promise((resolve) => {
    socket.on("message", (message) => {
      socket.close();
      resolve(decode(message));
    });
    socket.send(query(name, type), PORT, HOST);
  });
}

function askTcp(name: string, type: RecordType): Promise<DecodedPacket> {
  const socket = net.connect(PORT, HOST);
  const message = query(name, type);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  socket.write(Buffer.concat([length, message]));
  return new Promise((resolve) => {
    socket.on("data", (data: Buffer) => {
      socket.destroy();
      resolve(decode(data.subarray(2)));
    });
  });
}

const rcode = (packet: DecodedPacket) => (packet as unknown as { rcode: string }).rcode;

describe("the cluster's DNS", () => {
  const store = new Store();
  const server = new DnsServer(store);
  beforeAll(async () => {
    const ports = [{ name: "http", port: 80, protocol: "TCP" }];
    store.put("namespaces", "ns", object({ name: "ns" }, {}));
    store.put(
      "services",
      "ns/web",
      object({ namespace: "ns", name: "web" }, { spec: { clusterIPs: ["10.128.1.0", "fd57::1"], ports } }),
    );
    store.put(
      "services",
      "ns/all",
      object({ namespace: "ns", name: "all" }, { spec: { clusterIP: "None", clusterIPs: ["None"], ports } }),
    );
    const endpoints = Array.from({ length: 60 }, (_, i) => ({
      addresses: [`10.64.1.${i + 2}`],
      conditions: { ready: i < 50 },
      ...(i === 0 ? { hostname: "first" } : {}),
    }));
    const labels = { "kubernetes.io/service-name": "all" };
    const slice = { addressType: "IPv4", endpoints, ports: [{ name: "http", port: 8080, protocol: "TCP" }] };
    store.put("endpointslices.discovery.k8s.io", "ns/all-1", object({ namespace: "ns", name: "all-1", labels }, slice));
    await server.listen([HOST], PORT);
  });
  afterAll(() => server.close());

  it("answers both families of a service, and names without a record with nothing", async () => {
    expect((await askUdp("web.ns.svc.cluster.local", "A")).answers).toMatchObject([{ data: "10.128.1.0" }]);
    expect((await askUdp("WEB.ns.svc.cluster.local", "AAAA")).answers).toMatchObject([{ data: "fd57::1" }]);
    const empty = await askUdp("all.ns.svc.cluster.local", "AAAA");
    expect(rcode(empty)).toBe("NOERROR");
    expect(empty.answers).toEqual([]);
    expect(empty.authorities).toMatchObject([{ type: "SOA" }]);
  });

  it("answers ready endpoints of a headless service; over TCP when they are many", async () => {
    const short = await askUdp("all.ns.svc.cluster.local", "A");
    expect(short.flag_tc).toBe(true);
    expect((await askTcp("all.ns.svc.cluster.local", "A")).answers).toHaveLength(50);
    expect((await askUdp("first.all.ns.svc.cluster.local", "A")).answers).toMatchObject([{ data: "10.64.1.2" }]);
  });

  it("answers SRV and PTR", async () => {
    const srv = await askUdp("_http._tcp.web.ns.svc.cluster.local", "SRV");
    expect(srv.answers).toMatchObject([{ data: { port: 80, target: "web.ns.svc.cluster.local" } }]);
    expect((await askUdp("0.1.128.10.in-addr.arpa", "PTR")).answers).toMatchObject([
      { data: "web.ns.svc.cluster.local" },
    ]);
  });

  it("says that other names do not exist, over UDP and TCP", async () => {
    for (const name of ["none.ns.svc.cluster.local", "web.other.svc.cluster.local", "example.com"]) {
      expect(rcode(await askUdp(name, "A"))).toBe("NXDOMAIN");
      expect(rcode(await askTcp(name, "A"))).toBe("NXDOMAIN");
    }
  });
});
