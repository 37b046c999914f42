/** What clients get, and the log says, when there is no way to an answer: status, body to the letter, flag. */
import { createServer } from "node:http2";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { Backend, Handler } from "./backend.ts";
import { type AccessLine, type Answer, WaypointChain } from "./chain.ts";

const RESET = "upstream connect error or disconnect/reset before headers. ";
const HELD_BODY_BYTES = 256 * 1024 * 1024;
const PIECE = Buffer.alloc(64 * 1024, "x");
/** Buffers of the kernel's sockets on both sides, of the tunnel and of the waypoint itself. */
const ON_THE_WAY_BYTES = 48 * 1024 * 1024;

const RESOURCES = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v3, labels: {version: v3}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: busy}
spec: {host: busy, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - {match: [{uri: {prefix: /nowhere}}], route: [{destination: {host: nowhere}}]}
  - {match: [{uri: {prefix: /no-subset}}], route: [{destination: {host: web, subset: v9}}]}
  - {match: [{uri: {prefix: /empty-subset}}], route: [{destination: {host: web, subset: v3}}]}
  - {match: [{uri: {prefix: /empty}}], route: [{destination: {host: empty}}]}
  - {match: [{uri: {prefix: /refused-once}}], retries: {attempts: 0}, route: [{destination: {host: refused}}]}
  - {match: [{uri: {prefix: /refused}}], route: [{destination: {host: refused}}]}
  - {match: [{uri: {prefix: /slow}}], timeout: 200ms, route: [{destination: {host: web}}]}
  - {match: [{uri: {prefix: /web}}], route: [{destination: {host: web}}]}
`;

/** What an application does that breaks off, by path. */
const BROKEN: Readonly<Record<string, Handler>> = {
  "/web/closed": (request) => request.socket.destroy(),
  "/web/garbage": (request) => request.socket.end("250 ESMTP, hello there\r\n\r\n"),
  "/web/two-lengths": (request) =>
    request.socket.end("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx"),
  "/web/short": (request) => request.socket.end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
  "/web/chunks": (request) => {
    request.socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", () =>
      request.socket.resetAndDestroy(),
    );
  },
};

describe("a request that has no answer", () => {
  let chain: WaypointChain;
  let web: Backend;
  /** Requests that wait for the test. */
  const held: (() => void)[] = [];
  const h2 = createServer((request, response) => {
    if (request.url === "/before") request.stream.close(7);
    else response.write("half", () => request.stream.close(2));
  });

  beforeAll(async () => {
    chain = await WaypointChain.start();
    for (const name of ["web", "empty", "refused", "busy"]) chain.service(name);
    chain.service("h2", [{ name: "http2", port: 80 }]);
    web = await chain.pod("web-1", "web", { version: "v1" });
    const busy = await chain.pod("busy-1", "busy");
    busy.handler = (_, response) => void held.push(() => response.end("done"));
    chain.putPod({ name: "refused-1", ip: chain.address(1) }, { app: "refused" });
    const h2Address = chain.address(2);
    await new Promise<void>((resolve) => h2.listen(chain.port, h2Address, resolve));
    chain.putPod({ name: "h2-1", ip: h2Address }, { app: "h2" });
    const usual = web.handler;
    web.handler = (request, response) => (BROKEN[request.url ?? ""] ?? usual)(request, response);
    chain.apply(RESOURCES);
    await chain.until(({ status }) => status === 200, "http://web/web");
    await chain.until(({ status }) => status === 404, "http://web/");
  });
  afterAll(async () => {
    await chain?.stop();
    h2.close();
  });

  /** The first line of the log that is so. */
  const logged = (holds: (line: AccessLine) => boolean) =>
    eventually("its line", () => chain.waypoint.text.map((each) => JSON.parse(each) as AccessLine).find(holds));
  const facts = async (answer: Answer) => {
    const { response_code, response_flags, response_code_details } = await answer.line();
    const { status, body } = answer;
    return { status, body, logged: response_code, flags: response_flags, details: response_code_details };
  };

  const refused: [string, string, number, string, string, string | RegExp][] = [
    ["a destination that nobody knows", "/nowhere", 503, "", "NC", "cluster_not_found"],
    ["a subset that is not defined", "/no-subset", 503, "", "NC", "cluster_not_found"],
    ["a subset without a pod", "/empty-subset", 503, "no healthy upstream", "UH", "no_healthy_upstream"],
    ["a service without a pod", "/empty", 503, "no healthy upstream", "UH", "no_healthy_upstream"],
    ["a path without a route", "/other", 404, "", "NR", "route_not_found"],
    ["a time limit that is over", "/slow", 504, "upstream request timeout", "UT", "response_timeout"],
    [
      "a server that closes without a word",
      "/web/closed",
      503,
      `${RESET}reset reason: connection termination`,
      "UC",
      "upstream_reset_before_response_started{connection_termination}",
    ],
    [
      "a server that speaks something else",
      "/web/garbage",
      502,
      `${RESET}reset reason: protocol error`,
      "UPE",
      /^upstream_reset_before_response_started\{protocol_error/,
    ],
    [
      "a server with two lengths",
      "/web/two-lengths",
      502,
      `${RESET}reset reason: protocol error`,
      "UPE",
      /^upstream_reset_before_response_started\{protocol_error/,
    ],
  ];
  it.each(refused)("is refused for %s", async (_, path, status, body, flags, details) => {
    if (path === "/slow") web.handler = ignoring(web.handler, path);
    const answer = await chain.ask(`http://web${path}`);
    expect(await facts(answer)).toEqual({
      status,
      body,
      logged: status,
      flags,
      details: typeof details === "string" ? details : expect.stringMatching(details),
    });
    expect(answer.headers["content-type"]).toBe(body === "" ? undefined : "text/plain");
  });

  it("is tried again elsewhere before nobody could be reached, and the body says so", async () => {
    const once = await facts(await chain.ask("http://web/refused-once"));
    const reason = "remote connection failure, transport failure reason: delayed connect error: Connection refused";
    expect(once).toMatchObject({ status: 503, flags: "UF", body: `${RESET}reset reason: ${reason}` });
    const answer = await chain.ask("http://web/refused");
    expect(await facts(answer)).toMatchObject({
      status: 503,
      flags: "URX,UF",
      body: `${RESET}retried and the latest reset reason: ${reason}`,
    });
    expect((await answer.line()).upstream_host).toBe(`${chain.address(1)}:${chain.port}`);
  });

  it("is told that everybody is busy when a breaker is open", async () => {
    const first = chain.ask("http://busy/1");
    await eventually("the first request", () => held.length === 1);
    const second = await chain.ask("http://busy/2");
    expect(second.headers["x-envoy-overloaded"]).toBe("true");
    expect(await facts(second)).toEqual({
      status: 503,
      body: `${RESET}reset reason: overflow`,
      logged: 503,
      flags: "UO",
      details: "upstream_reset_before_response_started{overflow}",
    });
    held.splice(0).forEach((go) => {
      go();
    });
    expect((await first).body).toBe("done");
    expect((await first).headers["x-envoy-overloaded"]).toBeUndefined();
  });

  it.each(["/web/short", "/web/chunks"])("is cut where its server breaks off: %s", async (path) => {
    const answer = await chain.ask(`http://web${path}`);
    expect(answer.complete).toBe(false);
    expect(await facts(answer)).toMatchObject({ status: 200, body: "half", logged: 200, flags: "UC" });
  });

  it("is reset where its server resets the stream, before the head and behind it", async () => {
    const before = await facts(await chain.ask("http://h2/before"));
    expect(before).toMatchObject({
      status: 503,
      body: `${RESET}retried and the latest reset reason: remote refused stream reset`,
      flags: "URX,UR",
    });
    const behind = await chain.ask("http://h2/behind");
    expect(behind.complete).toBe(false);
    expect(await facts(behind)).toMatchObject({ status: 200, body: "half", flags: "UR" });
  });

  it("is a bad request when it is none", async () => {
    const stream = await chain.open("web");
    const text = new Promise<string>((resolve) => {
      let all = "";
      stream.setEncoding("latin1").on("data", (piece: string) => {
        all += piece;
      });
      stream.on("end", () => resolve(all));
    });
    stream.write("GET /web HTTP/1.1\r\nhost: web\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx");
    expect(await text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    const line = await logged((each) => each.response_code === 400);
    expect(line).toMatchObject({ response_flags: "DPE" });
  });

  it("is refused as a tunnel where its destination is none of the waypoint's", async () => {
    await expect(chain.open("10.96.99.99")).rejects.toThrow("503");
    const line = await logged((each) => each.response_flags === "NR" && each.method === null);
    expect(line).toMatchObject({ response_code: 0, connection_termination_details: "no such destination" });
  });

  describe("that its client does not take", () => {
    let sent = 0;
    beforeAll(() => {
      const usual = web.handler;
      web.handler = (request, response) => {
        if (!request.url?.includes("/large")) return usual(request, response);
        sent = 0;
        const pieces = function* () {
          for (; sent < HELD_BODY_BYTES; sent += PIECE.length) yield PIECE;
        };
        Readable.from(pieces(), { objectMode: false }).pipe(response);
      };
    });
    /** Asks, and reads nothing of the answer. */
    async function askAndSleep(path: string, id: string) {
      const stream = await chain.open("web", 80, "sleeper");
      stream.write(`GET ${path} HTTP/1.1\r\nhost: web\r\nx-request-id: ${id}\r\n\r\n`);
      await eventually("the answer's begin", () => sent > PIECE.length);
      return stream;
    }

    it("holds its server back, in bounded memory, and is logged when it leaves", async () => {
      const before = chain.waypoint.residentBytes();
      const stream = await askAndSleep("/web/large", "11111111-1111-4111-8111-111111111111");
      for (let i = 0; i < 100; i++) expect((await chain.ask("http://web/web")).status).toBe(200);
      expect(sent).toBeLessThan(ON_THE_WAY_BYTES);
      expect(chain.waypoint.residentBytes() - before).toBeLessThan(ON_THE_WAY_BYTES);
      stream.destroy();
      const line = await chain.line("11111111-1111-4111-8111-111111111111");
      expect(line).toMatchObject({ response_code: 200, response_flags: "DC" });
      expect(Number(line.bytes_sent)).toBeLessThan(ON_THE_WAY_BYTES);
    });

    it("is cut when the route's time is over", async () => {
      await askAndSleep("/slow/large", "22222222-2222-4222-8222-222222222222");
      const line = await chain.line("22222222-2222-4222-8222-222222222222");
      expect(line).toMatchObject({
        response_code: 200,
        response_flags: "UT",
        response_code_details: "response_timeout",
      });
    });
  });

  it("is logged as left when its client leaves before the answer", async () => {
    const id = "33333333-3333-4333-8333-333333333333";
    const stream = await chain.open("busy", 80, "impatient");
    stream.write(`GET /leave HTTP/1.1\r\nhost: busy\r\nx-request-id: ${id}\r\n\r\n`);
    await eventually("the request", () => held.length === 1);
    stream.destroy();
    expect(await chain.line(id)).toMatchObject({ response_code: 0, response_flags: "DC" });
  });
});

/** Says nothing to requests for `path`. */
function ignoring(usual: Handler, path: string): Handler {
  return (request, response) => {
    if (request.url !== path) usual(request, response);
  };
}
