/** Requests, drawn at random: ordinary ones, odd ones that are legal, and some that are not. */
import type { Random } from "./random.ts";
import { bodyOf, type Script } from "./upstream.ts";

export interface TestRequest {
  readonly protocol: "1.1" | "2";
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly bodyBytes: number;
  /** Of HTTP/1: how the body is framed and cut; a body of HTTP/2 has frames of its own. */
  readonly chunks: readonly number[] | undefined;
  readonly trailers: readonly (readonly [string, string])[];
  readonly script: Script;
}

const SEGMENTS = ["a", "b", "api", "v1", "A", "new"];
const ODD_SEGMENTS = [
  "",
  ".",
  "..",
  "%2e",
  "%2E%2e",
  "%41",
  "a%2Fb",
  "a%5cb",
  "a\\b",
  "%7e~",
  "a;x=1",
  "%zz",
  "%00",
  "a b",
];
const QUERIES = ["?a=1", "?a=one,two&b=", "?b=o&b=1", "?a", "?x=/../y", "?a=%31", "?", "?a=1#frag"];
const METHODS = ["GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"];
const AUTHORITIES = [
  "echo",
  "echo",
  "echo:80",
  "echo.default.svc.cluster.local:8080",
  "ECHO",
  "[::1]:80",
  "a.example:443",
];
const VALUES = ["1", "one,two", "one", "o", "", "ONE", "a  b"];
const SIZES = [0, 1, 7, 1_000, 16_383, 16_385, 65_536, 200_001];

const ODD_HEADERS: readonly (readonly [string, string])[] = [
  ["X-Mixed-Case", "Kept As It Is"],
  ["x-empty", ""],
  ["x-twice", "1"],
  ["x-twice", "2, 3"],
  ["x_under_score", "1"],
  ["x-tab", "a\tb"],
  ["x-latin", "caf\u00e9"],
  ["x-long", "z".repeat(6_000)],
  ["cookie", "a=1; b=2"],
  ["cookie", "c=3"],
  ["accept-encoding", "gzip, br"],
  ["range", "bytes=0-4"],
  ["via", "1.1 somebody"],
  ["te", "trailers"],
  ["content-type", "text/plain; charset=utf-8"],
  ["x-forwarded-for", "203.0.113.7"],
  ["x-forwarded-proto", "https"],
  ["x-forwarded-client-cert", "URI=spiffe://forged"],
  ["x-request-id", "11111111-2222-4333-8444-555555555555"],
  ["x-gone", "1"],
  ["user-agent", "differential"],
  ["authorization", "Basic eDp5"],
];
const HOP_BY_HOP: readonly (readonly [string, string])[] = [
  ["connection", "keep-alive"],
  ["connection", "x-hop"],
  ["connection", "close"],
  ["keep-alive", "timeout=5"],
  ["proxy-connection", "keep-alive"],
  ["upgrade", "foo"],
];
const RESPONSE_HEADERS: readonly (readonly [string, string])[] = [
  ["content-type", "text/html"],
  ["set-cookie", "a=1; Path=/"],
  ["set-cookie", "b=2"],
  ["x-v", "theirs"],
  ["x-w", "1"],
  ["x-empty", ""],
  ["server", "theirs"],
  ["date", "Thu, 01 Jan 1970 00:00:00 GMT"],
  ["etag", '"x"'],
  ["access-control-allow-origin", "https://theirs.example"],
  ["x-envoy-overloaded", "true"],
  ["location", "/somewhere"],
  ["vary", "origin"],
];

export function requestOf(random: Random): TestRequest {
  const protocol = random.chance(0.4) ? "2" : "1.1";
  const method = random.pick(METHODS);
  const cors = random.chance(0.12);
  const bodied = ["POST", "PUT", "PATCH", "PROPFIND"].includes(method) || random.chance(0.05);
  const bodyBytes = bodied ? random.pick(SIZES) : 0;
  const chunked = bodied && random.chance(0.4);
  return {
    protocol,
    method: cors ? random.pick(["OPTIONS", "GET"]) : method,
    path: pathOf(random),
    authority: random.pick(AUTHORITIES),
    headers: headersOf(random, protocol, method, cors, bodyBytes),
    bodyBytes,
    chunks: chunked ? Array.from({ length: 3 }, () => 1 + random.below(20_000)) : undefined,
    trailers:
      chunked && random.chance(0.4)
        ? [
            ["x-trailer", "1"],
            ["x-checksum", "abc"],
          ]
        : [],
    script: scriptOf(random),
  };
}

function pathOf(random: Random): string {
  const odd = random.chance(0.3);
  const segments = Array.from({ length: random.below(4) }, () =>
    random.pick(odd && random.chance(0.5) ? ODD_SEGMENTS : SEGMENTS),
  );
  const path = `/${segments.join("/")}${random.chance(0.1) ? "/" : ""}`;
  return path + (random.chance(0.35) ? random.pick(QUERIES) : "");
}

function headersOf(
  random: Random,
  protocol: string,
  method: string,
  cors: boolean,
  bodyBytes: number,
): (readonly [string, string])[] {
  const headers: (readonly [string, string])[] = [];
  // In lines of their own, which rules look at one by one.
  for (const name of ["x-v", "x-w"]) {
    for (let lines = random.pick([0, 0, 0, 1, 1, 2]); lines > 0; lines--) headers.push([name, random.pick(VALUES)]);
  }
  headers.push(...random.some(ODD_HEADERS, 5));
  if (protocol === "1.1" && random.chance(0.2)) headers.push(random.pick(HOP_BY_HOP), ["x-hop", "1"]);
  if (protocol === "1.1" && bodyBytes > 0 && random.chance(0.15)) headers.push(["expect", "100-continue"]);
  if (cors) {
    headers.push([
      "origin",
      random.pick(["https://a.example", "https://b.example", "https://d.example", "https://no.example"]),
    ]);
    if (random.chance(0.8)) headers.push(["access-control-request-method", random.pick(["GET", "PUT"])]);
    if (random.chance(0.5)) headers.push(["access-control-request-headers", "x-a"]);
  }
  if (method !== "HEAD" && !cors && random.chance(0.08)) {
    headers.push(["content-type", "application/grpc"]);
    if (random.chance(0.5)) headers.push(["grpc-timeout", random.pick(["300m", "8S"])]);
  }
  return headers.filter(
    ([name], index) => name !== "content-type" || index === headers.findLastIndex(([other]) => other === name),
  );
}

function scriptOf(random: Random): Script {
  const failing = random.chance(0.2);
  const size = random.chance(0.7) ? random.pick([0, 5, 100, 20_000]) : random.pick([65_536, 300_000]);
  return {
    status: random.chance(0.75) ? 200 : random.pick([201, 204, 206, 301, 304, 404, 409, 418, 500, 503, 599]),
    headers: random.some(RESPONSE_HEADERS, 4),
    size,
    framing: random.pick(["length", "length", "chunked", "close"]),
    ...(random.chance(0.15) ? { trailers: [["x-end", "1"]] } : {}),
    ...(random.chance(0.05) ? { hints: true } : {}),
    ...(failing
      ? { failures: 1 + random.below(4), how: random.pick(["503", "409", "close", "reset", "unavailable", "late"]) }
      : {}),
    ...(size > 0 && random.chance(0.04) ? { cutAt: random.below(size) } : {}),
  };
}

/** The bytes of HTTP/1; the body in pieces of its own when it waits for 100-continue. */
export function http1Bytes(request: TestRequest, id: string): { head: Buffer; body: Buffer } {
  const { method, path, authority, headers, bodyBytes, chunks, trailers, script } = request;
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `host: ${authority}`,
    `x-diff-id: ${id}`,
    `x-script: ${JSON.stringify(script)}`,
  ];
  for (const [name, value] of headers) lines.push(`${name}: ${value}`);
  const body = bodyOf(bodyBytes);
  if (chunks !== undefined) lines.push("transfer-encoding: chunked");
  else if (bodyBytes > 0 || method === "POST") lines.push(`content-length: ${bodyBytes}`);
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  if (chunks === undefined) return { head, body };
  const pieces: Buffer[] = [];
  for (let at = 0, turn = 0; at < bodyBytes; turn++) {
    const piece = body.subarray(at, at + (chunks[turn % chunks.length] ?? bodyBytes));
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n"));
    at += piece.length;
  }
  pieces.push(Buffer.from(["0", ...trailers.map(([name, value]) => `${name}: ${value}`), "", ""].join("\r\n")));
  return { head, body: Buffer.concat(pieces) };
}
