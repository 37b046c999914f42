import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeRecords, RecordError, type RequestRecord } from "./records.ts";
import { encodeRecord, golden } from "./test-records.ts";

function only(bytes: Uint8Array): RequestRecord {
  const [record, ...more] = decodeRecords(bytes);
  if (record === undefined || more.length > 0) throw new Error("not one record");
  return record;
}

describe("decodeRecords", () => {
  it("reads what the engine has encoded", () => {
    const record = only(golden("request-record.hex"));
    expect({
      tcp: record.tcp,
      protocol: record.protocol,
      grpc: record.grpc,
      sampled: record.sampled,
      status: record.status,
      downstreamTls: record.downstreamTls,
      upstreamTunnel: record.upstreamTunnel,
      grpcStatus: record.grpcStatus,
      flags: record.flags,
      attempts: record.attempts,
      startUnixMs: record.startUnixMs,
      durationUs: record.durationUs,
      upstreamFirstByteUs: record.upstreamFirstByteUs,
      requestReceivedUs: record.requestReceivedUs,
      responseBegunUs: record.responseBegunUs,
      bytesReceived: record.bytesReceived,
      bytesSent: record.bytesSent,
      requestHeaderBytes: record.requestHeaderBytes,
      responseHeaderBytes: record.responseHeaderBytes,
      grpcRequestMessages: record.grpcRequestMessages,
      grpcResponseMessages: record.grpcResponseMessages,
      traceId: record.traceId,
      spanId: record.spanId,
      parentSpanId: record.parentSpanId,
    }).toEqual({
      tcp: false,
      protocol: "HTTP/2",
      grpc: true,
      sampled: true,
      status: 503,
      downstreamTls: true,
      upstreamTunnel: true,
      grpcStatus: 14,
      flags: 0b10010,
      attempts: 3,
      startUnixMs: 1767323045678.25,
      durationUs: 12_345,
      upstreamFirstByteUs: 9876,
      requestReceivedUs: 150,
      responseBegunUs: 10_500,
      bytesReceived: 11,
      bytesSent: 5_000_000_000,
      requestHeaderBytes: 321,
      responseHeaderBytes: 123,
      grpcRequestMessages: 2,
      grpcResponseMessages: 3,
      traceId: "0102030405060708090a0b0c0d0e0f10",
      spanId: "2122232425262728",
      parentSpanId: "4142434445464748",
    });
    expect(record.text("userAgent")).toBe("curl/8 é");
    expect(record.text("downstreamLocal")).toBe("10.96.0.5:9080");
    expect(record.text("client")).toBe("192.0.2.1:0");
    expect(record.text("upstreamHost")).toBe("10.1.0.7:9080");
    expect(record.text("routePattern")).toBe("/reviews*");
    expect(record.text("telemetry")).toBe("default/mesh");
    expect(record.text("serviceName")).toBe("reviews");
    expect(record.text("workloadNode")).toBe("node-1");
    expect(record.text("dryRunDeny")).toBe("denied ns[default]-policy[try]-rule[0]");
    expect(record.text("dryRunAllow")).toBe("allowed");
    expect(record.workload?.principal).toBe("spiffe://cluster.local/ns/default/sa/reviews");
    expect(record.requestHeaders()).toEqual(
      new Map([
        ["end-user", "jason"],
        ["x-empty", ""],
      ]),
    );
    expect(record.responseHeader("etag")).toBe('"7"');
    expect(record.requestHeader("etag")).toBeUndefined();
  });

  it("reads a record of nothing", () => {
    const record = only(golden("empty-record.hex"));
    expect(record.status).toBe(0);
    expect(record.grpcStatus).toBe(-1);
    expect(record.traceId).toBe("");
    expect(record.workload).toBeUndefined();
    expect(record.text("client")).toBe("");
    expect(record.requestHeaders().size).toBe(0);
  });

  it("reads any texts and headers, one record after the other", () => {
    const headers = fc.dictionary(fc.string({ unit: "grapheme", maxLength: 8 }), fc.string({ unit: "grapheme" }), {
      maxKeys: 4,
    });
    const fields = fc.record({
      texts: fc.record({ method: fc.string({ unit: "grapheme" }), workloadNode: fc.string({ unit: "grapheme" }) }),
      requestHeaders: headers,
      responseHeaders: headers,
      status: fc.nat(65_535),
    });
    fc.assert(
      fc.property(fc.array(fields, { maxLength: 5 }), (all) => {
        const records = [...decodeRecords(new Uint8Array(Buffer.concat(all.map(encodeRecord))))];
        expect(records.map((record) => record.status)).toEqual(all.map(({ status }) => status));
        for (const [i, record] of records.entries()) {
          const { texts, requestHeaders, responseHeaders } = all[i] ?? {};
          expect(record.text("method")).toBe(texts?.method);
          expect(record.text("workloadNode")).toBe(texts?.workloadNode);
          expect(record.requestHeaders()).toEqual(new Map(Object.entries(requestHeaders ?? {})));
          expect(record.responseHeaders()).toEqual(new Map(Object.entries(responseHeaders ?? {})));
        }
      }),
    );
  });

  it("refuses bytes that no encoder of ours has written", () => {
    const whole = golden("request-record.hex");
    expect(() => [...decodeRecords(whole.subarray(0, 100))]).toThrow(RecordError);
    expect(() => [...decodeRecords(Uint8Array.of(1, 2))]).toThrow(RecordError);
    const headersMore = Uint8Array.from(whole);
    headersMore[144] = 99;
    expect(() => [...decodeRecords(headersMore)]).toThrow();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        try {
          for (const record of decodeRecords(bytes)) record.text("method");
        } catch (error) {
          expect(error instanceof RecordError || error instanceof RangeError).toBe(true);
        }
      }),
    );
  });
});
