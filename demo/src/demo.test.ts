import { describe, expect, it } from "vitest";
import { parseAccessLog } from "./access-log.ts";
import { Claims, must } from "./claims.ts";
import { conversations } from "./conversations.ts";
import { bytes, Layout } from "./layout.ts";
import { parseMetrics, sumOf } from "./metrics-text.ts";

describe("Layout", () => {
  const rows = [
    ["productpage", { text: "12", align: "right" as const }],
    ["a", { text: "3", style: "red" as const, align: "right" as const }],
  ];

  it("aligns columns and writes no escape sequences without a terminal", () => {
    expect(new Layout(false).table(["from", "bytes"], rows)).toBe(
      "\n  from         bytes\n  ───────────  ─────\n  productpage     12\n  a                3\n",
    );
  });

  it("paints on a terminal", () => {
    expect(new Layout(true).table(["from", "bytes"], rows)).toContain("\u001b[31m    3\u001b[0m");
  });

  it("names sizes", () => {
    expect([999, 1234, 1_234_567].map(bytes)).toEqual(["999 B", "1.2 kB", "1.2 MB"]);
  });
});

describe("Claims", () => {
  it("records what held, what did not, and why", async () => {
    const told: string[] = [];
    const claims = new Claims((claim) => told.push(claim.text));
    await claims.check("one is one", () => "seen 1");
    await claims.check("one is two", () => {
      must(1 + 1 === 3, "it is not");
      return "never";
    });
    expect(told).toEqual(["one is one", "one is two"]);
    expect(claims.failed).toEqual([{ text: "one is two", holds: false, seen: "it is not" }]);
    expect(claims.all).toHaveLength(2);
  });
});

describe("parseMetrics", () => {
  it("reads names, labels with escapes and values, and sums over labels", () => {
    const samples = parseMetrics(
      '# HELP a b\n# TYPE a counter\na{x="1",y="q\\"}z"} 2\na{x="1",y="other"} 3 1700000000\nplain 4\n# EOF\n',
    );
    expect(samples[0]).toEqual({ name: "a", labels: { x: "1", y: 'q"}z' }, value: 2 });
    expect(sumOf(samples, "a", { x: "1" })).toBe(5);
    expect(sumOf(samples, "plain", {})).toBe(4);
  });
});

describe("parseAccessLog", () => {
  const plain = [
    '2026-01-01T00:00:00.000000Z\tinfo\taccess\tconnection complete\tsrc.addr=10.64.1.2:4000 src.workload="page-1" ' +
      'src.namespace="b" src.identity="spiffe://cluster.local/ns/b/sa/page" dst.addr=10.64.2.2:15008 ' +
      'dst.hbone_addr=10.64.2.2:9080 dst.service="reviews.b.svc.cluster.local" dst.workload="reviews-1" ' +
      'dst.namespace="b" dst.identity="spiffe://cluster.local/ns/b/sa/reviews" direction="outbound" bytes_sent=100 ' +
      'bytes_recv=900 duration="3ms"',
    "2026-01-01T00:00:00.000000Z\tinfo\txds\tstream opened\tnode=1",
    "2026-01-01T00:00:00.000000Z\terror\taccess\tconnection complete\tsrc.addr=[fd57::5]:4000 dst.addr=[fd57::2]:9080 " +
      'dst.workload="reviews-1" direction="inbound" bytes_sent=7 bytes_recv=0 duration="0ms" ' +
      'error="connection closed due to policy rejection: explicitly denied by: b/strict \\"x\\""',
  ].join("\n");

  it("reads the plain form and turns bytes to request and response", () => {
    const [tunnel, refused, ...rest] = parseAccessLog(plain);
    expect(rest).toEqual([]);
    expect(tunnel).toMatchObject({
      direction: "outbound",
      source: { ip: "10.64.1.2", pod: "page-1", identity: "spiffe://cluster.local/ns/b/sa/page" },
      tunnelTo: "10.64.2.2:9080",
      requestBytes: 100,
      responseBytes: 900,
    });
    expect(refused).toMatchObject({ source: { ip: "fd57::5" }, requestBytes: 0, responseBytes: 7, policy: "b/strict" });
  });

  it("reads the JSON form, and leaves a torn last line out", () => {
    const line = {
      scope: "access",
      direction: "inbound",
      "src.addr": "1.2.3.4:5",
      "dst.addr": "1.2.3.5:6",
      bytes_sent: 1,
    };
    expect(parseAccessLog(`${JSON.stringify(line)}\n{"scope":"acc`)).toMatchObject([{ source: { ip: "1.2.3.4" } }]);
  });

  it("reads a direct connection, told once for both ends, as its source would", () => {
    const direct = plain.split("\n")[0]?.replace('direction="outbound"', 'direction="direct"') ?? "";
    expect(parseAccessLog(direct)).toMatchObject([{ direction: "direct", requestBytes: 100, responseBytes: 900 }]);
  });

  it("sums up by pair and path, counting a tunnel once", () => {
    const lines = parseAccessLog(plain);
    const [first] = lines;
    if (first === undefined) throw new Error("no lines");
    const all = conversations([...lines, first, { ...first, direction: "inbound" }], (pod) =>
      pod === "page-1" ? "node1" : "node2",
    );
    expect(all).toMatchObject([
      { from: "fd57::5", to: "reviews-1", path: "plaintext in", connections: 1, refused: 1 },
      {
        from: "page-1",
        fromIdentity: "spiffe://cluster.local/ns/b/sa/page",
        nodes: "node1 → node2",
        path: "tunnel",
        connections: 2,
        requestBytes: 200,
      },
    ]);
  });
});
