import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { DEFAULT_JSON_FORMAT, DEFAULT_TEXT_FORMAT } from "#lib/telemetry/default-format.ts";
import { parseFormat } from "#lib/telemetry/format.ts";
import { AccessLogSchema } from "#proto/l7_pb.ts";
import { compileText } from "./access-line.ts";
import { AccessLog, AccessLogError } from "./access-log.ts";
import { decodeRecords, type RequestRecord } from "./records.ts";
import { encodeRecord, golden, type RecordFields } from "./test-records.ts";

const HOST = {
  hostname: "waypoint-1",
  identity: "spiffe://cluster.local/ns/default/sa/waypoint",
  environment: { A: "1" },
};

function recordOf(bytes: Uint8Array): RequestRecord {
  const [record] = decodeRecords(bytes);
  if (record === undefined) throw new Error("no record");
  return record;
}
const FULL = recordOf(golden("request-record.hex"));
const EMPTY = recordOf(golden("empty-record.hex"));

function text(format: string, fields?: RecordFields): string {
  return compileText(parseFormat(format), HOST)(fields === undefined ? FULL : recordOf(encodeRecord(fields)));
}

function logged(init: Parameters<typeof create<typeof AccessLogSchema>>[1], record: RequestRecord): string[] {
  const lines: string[] = [];
  new AccessLog(create(AccessLogSchema, init), HOST, (line) => lines.push(line)).log(record);
  return lines;
}

describe("default format", () => {
  it("has the 22 fields", () => {
    expect(compileText(parseFormat(DEFAULT_TEXT_FORMAT), HOST)(FULL)).toBe(
      '[2026-01-02T03:04:05.678Z] "GET /old/1 HTTP/2" 503 URX,UF ' +
        "upstream_reset_before_response_started{remote_connection_failure} why it ended " +
        '"delayed_connect_error:_Connection_refused" 11 5000000000 12 9 "192.0.2.1" "curl/8 é" ' +
        '"6a7e0b1c-0000-9000-8000-000000000000" "reviews:9080" "10.1.0.7:9080" ' +
        "inbound-vip|9080|http|reviews.default.svc.cluster.local 10.1.0.9:50000 10.96.0.5:9080 192.0.2.1:0 " +
        "sni.example default\n",
    );
  });

  it("has a dash for what is missing", () => {
    expect(compileText(parseFormat(DEFAULT_TEXT_FORMAT), HOST)(EMPTY)).toBe(
      '[1970-01-01T00:00:00.000Z] "- - HTTP/1.1" 0 - - - "-" 0 0 0 - "-" "-" "-" "-" "-" - - - - - -\n',
    );
  });

  it("keeps types and nulls in JSON", () => {
    const [line = ""] = logged({ format: { case: "json", value: { fields: DEFAULT_JSON_FORMAT } } }, FULL);
    expect(line.endsWith("\n")).toBe(true);
    expect(JSON.parse(line)).toMatchObject({
      start_time: "2026-01-02T03:04:05.678Z",
      path: "/old/1",
      response_code: 503,
      bytes_sent: 5_000_000_000,
      duration: 12,
      upstream_service_time: "9",
    });
    const [empty = ""] = logged({ format: { case: "json", value: { fields: DEFAULT_JSON_FORMAT } } }, EMPTY);
    expect(JSON.parse(empty)).toMatchObject({ method: null, response_code: 0, route_name: null, response_flags: "-" });
    expect(Object.keys(JSON.parse(empty))).toEqual(Object.keys(DEFAULT_JSON_FORMAT).sort());
  });
});

describe("operators", () => {
  it.each([
    ["%REQ(END-USER)% %REQ(X-NONE?END-USER)% %REQ(X-NONE)% %REQ(:PATH):4%", "jason jason - /rev"],
    ["%RESP(ETAG)% %RESP(:STATUS)% %TRAILER(X)%", '"7" 503 -'],
    ["%START_TIME(%Y/%m/%d %H:%M:%S.%3f %s)%", "2026/01/02 03:04:05.678 1767323045"],
    ["%START_TIME(%d %b %a %I%p %j %%)%", "02 Jan Fri 03AM 002 %"],
    ["%EMIT_TIME(%6f)%", "690595"],
    ["%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "0 10 1"],
    ["%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", "upstream_reset_before_response_started{remote connection failure}"],
    ["%RESPONSE_FLAGS_LONG%", "UpstreamRetryLimitExceeded,UpstreamConnectionFailure"],
    [
      "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%",
      "Unavailable UNAVAILABLE 14 14",
    ],
    ["%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%:%UPSTREAM_REMOTE_PORT%", "10.1.0.7:9080"],
    ["%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.1.0.3:41000 192.0.2.1"],
    ["%DOWNSTREAM_PEER_URI_SAN%", "spiffe://cluster.local/ns/default/sa/productpage"],
    ["%DOWNSTREAM_LOCAL_URI_SAN%", "spiffe://cluster.local/ns/default/sa/waypoint"],
    ["%UPSTREAM_PEER_URI_SAN%", "spiffe://cluster.local/ns/default/sa/reviews"],
    ["%TRACE_ID% %SPAN_ID%", "0102030405060708090a0b0c0d0e0f10 2122232425262728"],
    ["%HOSTNAME% %ENVIRONMENT(A)% %ENVIRONMENT(B)%", "waypoint-1 1 -"],
    ["%PATH% %PATH(NQ:PATH)% %PATH(WQ:PATH)%", "/old/1 /reviews/1 /reviews/1?x=y"],
    ["%QUERY_PARAM(x)% %QUERY_PARAM(z)% %QUERY_PARAMS%", "y - x=y"],
    ["%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "3"],
    ["%DOWNSTREAM_WIRE_BYTES_RECEIVED% %UPSTREAM_HEADER_BYTES_RECEIVED%", "332 123"],
    ["%DYNAMIC_METADATA(a:b)% %FILTER_STATE(x)% %UPSTREAM_METADATA(a:b)% %VIRTUAL_CLUSTER_NAME%", "- - - -"],
    ["%ACCESS_LOG_TYPE% 100%%", "DownstreamEnd 100%"],
  ])("%s", (format, line) => {
    expect(text(format)).toBe(line);
  });

  it("says little of a TCP connection", () => {
    expect(
      text("%PROTOCOL% %RESPONSE_CODE% %BYTES_SENT% %ACCESS_LOG_TYPE%", { tcp: true, numbers: [0, 0, 0, 0, 0, 0, 7] }),
    ).toBe("- 0 7 TcpConnectionEnd");
  });
});

describe("AccessLog", () => {
  it("adds the newline that a format has forgotten", () => {
    expect(logged({ format: { case: "text", value: "%PROTOCOL%" } }, FULL)).toEqual(["HTTP/2\n"]);
    expect(logged({ format: { case: "text", value: "%PROTOCOL%\n" } }, FULL)).toEqual(["HTTP/2\n"]);
  });

  it("writes nested objects with constants", () => {
    const object = JSON.stringify({ b: { code: "%RESPONSE_CODE%", list: ["%PROTOCOL%", 1] }, a: true });
    expect(logged({ format: { case: "json", value: { object } } }, FULL)).toEqual([
      '{"a":true,"b":{"code":503,"list":["HTTP/2",1]}}\n',
    ]);
  });

  it.each([
    ["response.code >= 400", 1],
    ["response.code < 400", 0],
    ['request.headers["end-user"] == "jason" && connection.mtls', 1],
    ['request.headers["nobody"] == "jason"', 0],
    ['source.workload == "productpage-v1" && destination.service.startsWith("reviews")', 1],
    ["response.grpc_status == 14", 1],
    ['request.duration > duration("10ms") && request.duration < duration("1s")', 1],
    ["has(request.referer)", 0],
  ])("writes a line for what passes %s", (filter, lines) => {
    expect(logged({ filter }, FULL)).toHaveLength(lines);
  });

  it("refuses what it cannot execute", () => {
    expect(() => logged({ format: { case: "text", value: "%NOPE%" } }, FULL)).toThrow(AccessLogError);
    expect(() => logged({ filter: "response.nope" }, FULL)).toThrow(AccessLogError);
    expect(() => logged({ format: { case: "json", value: { object: "{" } } }, FULL)).toThrow(AccessLogError);
  });
});
