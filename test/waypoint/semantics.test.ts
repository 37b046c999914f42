/**
 * What of Istio's routes and rules everybody gets wrong, from the resource to the answer. The numbers are those of
 * docs/reference/istio-semantics.md, which names the test of each.
 */
import { once } from "node:events";
import { createServer as createHttp2, type Http2Server } from "node:http2";
import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { Backend } from "./backend.ts";
import { WaypointChain } from "./chain.ts";

/** A VirtualService or DestinationRule. */
const resource = (kind: string, name: string, spec: string) => `apiVersion: networking.istio.io/v1
kind: ${kind}
metadata: {name: ${name}}
spec: ${spec}
---
`;
const to = (subset: string) => `route: [{destination: {host: web, subset: ${subset}}}]`;
/** A rule for this path alone. */
const rule = (prefix: string, rest: string) => `{match: [{uri: {prefix: ${prefix}}}], ${rest}}`;

const RULES = [
  rule("/never", `fault: {abort: {httpStatus: 500}, delay: {fixedDelay: 60s}}, ${to("v1")}`),
  rule("/odd", `fault: {abort: {httpStatus: 555, percentage: {value: 100}}}, ${to("v1")}`),
  rule("/foo", `rewrite: {uri: /}, ${to("v1")}`),
  `{match: [{uri: {regex: "/re[a-z]"}}], rewrite: {uriRegexRewrite: {match: "[a-z]", rewrite: "x"}}, ${to("v1")}}`,
  rule(
    "/weights",
    "route: [{destination: {host: web, subset: v1}, weight: 1}, {destination: {host: web, subset: v2}}]",
  ),
  rule("/single", "route: [{destination: {host: web, subset: v2}, weight: 7}]"),
  rule("/default", to("v1")),
  rule("/in-time", `timeout: 300ms, retries: {attempts: 50, retryOn: "5xx", backoff: 1ms}, ${to("v1")}`),
  rule("/no-subset", to("v9")),
  rule("/empty-subset", to("v3")),
  `{match: [{uri: {prefix: /without}, withoutHeaders: {x-test: {exact: yes}}}], ${to("v1")}}`,
  `{match: [{uri: {prefix: /without}, withoutHeaders: {x-test: {}}}], directResponse: {status: 201}}`,
  rule("/without", "directResponse: {status: 202}"),
  `{match: [{uri: {prefix: /empty-value}, withoutHeaders: {x-test: {exact: ""}}}], directResponse: {status: 203}}`,
  rule("/empty-value", "directResponse: {status: 204}"),
  `{match: [{uri: {prefix: /labels}, sourceLabels: {app: nobody}}], directResponse: {status: 205}}`,
  `{match: [{uri: {prefix: /labels}, sourceLabels: {app: nobody}, gateways: [mesh]}], directResponse: {status: 206}}`,
].join(", ");

const SUBSETS =
  "subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}, {name: v3, labels: {version: v3}}]";

describe("a request at a waypoint", () => {
  let chain: WaypointChain;
  let v1: Backend;
  let h2: Http2Server;
  let speaker: Server;
  const held: (() => void)[] = [];

  beforeAll(async () => {
    chain = await WaypointChain.start({ waypoint: { WEFT_LOOPS: "1" } });
    chain.service("web");
    v1 = await chain.pod("web-v1", "web", { version: "v1" });
    await chain.pod("web-v2", "web", { version: "v2" });
    chain.apply(resource("DestinationRule", "web", `{host: web, ${SUBSETS}}`));
    chain.apply(resource("VirtualService", "web", `{hosts: [web], http: [${RULES}]}`));
    chain.apply(
      resource(
        "VirtualService",
        "later",
        "{hosts: [web], http: [{match: [{uri: {prefix: /odd}}], directResponse: {status: 210}}, {directResponse: {status: 211}}, {directResponse: {status: 212}}]}",
      ),
    );

    // One connection, one stream on it, one request in line.
    const pool =
      "connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1, maxConcurrentStreams: 1}}";
    h2 = createHttp2((_, response) => void held.push(() => response.end("done")));
    await new Promise<void>((resolve) => h2.listen(chain.port, chain.address(1), resolve));
    chain.putPod({ name: "h2-1", ip: chain.address(1) }, { app: "h2" });
    chain.service("h2", [{ name: "http2", port: 80 }]);
    chain.apply(resource("DestinationRule", "h2", `{host: h2, trafficPolicy: {${pool}}, subsets: [{name: all}]}`));
    chain.apply(
      resource("VirtualService", "h2", "{hosts: [h2], http: [{route: [{destination: {host: h2, subset: all}}]}]}"),
    );

    speaker = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.write("220 hello\r\n");
    }).listen(chain.port, chain.address(2));
    await once(speaker, "listening");
    chain.putPod({ name: "speaker-1", ip: chain.address(2) }, { app: "speaker" });
    chain.service(
      "speaker",
      [{ name: "mail", port: 2525 }, { name: "tcp-mail", port: 2526 }, { port: 25 }, { name: "db", port: 3306 }].map(
        (port, i) => ({ ...port, name: port.name ?? `p${i}` }),
      ),
    );
    chain.service("unnamed", [{ port: 8000 }], "web");
    await chain.until(({ status }) => status === 211, "http://web/");
    await chain.until(({ status }) => status === 200, "http://unnamed:8000/");
  });
  afterAll(async () => {
    await chain?.stop();
    h2?.close();
    speaker?.close();
  });

  const status = async (url: string, headers: Readonly<Record<string, string>> = {}) =>
    (await chain.ask(url, { headers })).status;
  const seen = async (url: string) => JSON.parse((await chain.ask(url)).body) as { pod: string; url: string };

  it("1: meets no fault without a percentage, and with one of 100 always, whatever the status", async () => {
    for (let i = 0; i < 20; i++) expect(await status("http://web/never")).toBe(200);
    const odd = await chain.ask("http://web/odd");
    expect([odd.status, odd.body]).toEqual([555, "fault filter abort"]);
    expect(await odd.line()).toMatchObject({ response_flags: "FI", response_code_details: "fault_filter_abort" });
  });

  it("2: matches a prefix to the letter, a regex as a whole, and has every occurrence rewritten", async () => {
    expect((await seen("http://web/foo/bar?q=1")).url).toBe("//bar?q=1");
    expect((await seen("http://web/foobar")).url).toBe("/bar");
    expect((await seen("http://web/rea?abc")).url).toBe("/xxx?abc");
    expect(await status("http://web/rea/b")).toBe(211);
  });

  it("3: goes by the VirtualServices of its host in the order of their age, and by none behind one that takes all", async () => {
    expect(await status("http://web/odd")).toBe(555);
    expect(await status("http://web/anything")).toBe(211);
  });

  it("4: goes to nobody of weight 0 among several, and to a single one whatever its weight", async () => {
    for (let i = 0; i < 20; i++) expect((await seen("http://web/weights")).pod).toBe("web-v1");
    expect((await seen("http://web/single")).pod).toBe("web-v2");
  });

  it("5: is not retried by default when the application answers 503", async () => {
    const usual = v1.handler;
    v1.handler = (_, response) => response.writeHead(503).end();
    expect(await status("http://web/default")).toBe(503);
    expect(v1.seen.filter((each) => each === "GET /default")).toHaveLength(1);
    v1.handler = usual;
  });

  it("6: has as long as the route says for all of its tries", async () => {
    const usual = v1.handler;
    v1.handler = (_, response) => setTimeout(() => response.writeHead(500).end(), 20);
    const answer = await chain.ask("http://web/in-time");
    expect([answer.status, answer.body]).toEqual([504, "upstream request timeout"]);
    expect(v1.seen.filter((each) => each === "GET /in-time").length).toBeGreaterThan(1);
    v1.handler = usual;
  });

  it("8: waits in a line of bounded length over HTTP/2 too, and is told of the overload", async () => {
    const first = chain.ask("http://h2/1");
    await eventually("the first", () => held.length === 1);
    const others = [chain.ask("http://h2/2"), chain.ask("http://h2/3")];
    const refused = await Promise.race(others);
    expect([refused.status, refused.headers["x-envoy-overloaded"]]).toEqual([503, "true"]);
    expect(await refused.line()).toMatchObject({ response_flags: "UO" });
    held[0]?.();
    await eventually("the second", () => held.length === 2);
    held[1]?.();
    expect((await Promise.all([first, ...others])).map((each) => each.status).toSorted()).toEqual([200, 200, 503]);
  });

  it("16: without a header has the empty value of it, unless presence is asked for; gateways switch sourceLabels off", async () => {
    expect(await status("http://web/without", { "x-test": "yes" })).toBe(202);
    expect(await status("http://web/without", { "x-test": "no" })).toBe(200);
    expect(await status("http://web/without")).toBe(200);
    expect(await status("http://web/empty-value")).toBe(204);
    expect(await status("http://web/empty-value", { "x-test": "a" })).toBe(203);
    expect(await status("http://web/labels")).toBe(206);
  });

  it("18: has no cluster for a subset that is not defined, and nobody in one that is empty", async () => {
    for (const [path, flag, body] of [
      ["no-subset", "NC", ""],
      ["empty-subset", "UH", "no healthy upstream"],
    ]) {
      const answer = await chain.ask(`http://web/${path}`);
      expect([answer.status, answer.body]).toEqual([503, body]);
      expect(await answer.line()).toMatchObject({ response_flags: flag });
    }
  });

  it("19: is HTTP on a port without a name; who speaks first is heard only where the port is known to be TCP", async () => {
    expect(await status("http://unnamed:8000/")).toBe(200);
    const hears = async (port: number) => {
      const stream = await chain.open("speaker", port);
      const [text] = (await once(stream, "data")) as [Buffer];
      stream.destroy();
      return text.toString();
    };
    for (const port of [2526, 25, 3306]) expect(await hears(port)).toBe("220 hello\r\n");
    // On the sniffed port nothing comes before the client has said something.
    const stream = await chain.open("speaker", 2525);
    let heard = "";
    stream.on("data", (text: Buffer) => {
      heard += text.toString();
    });
    for (const port of [2526, 2526, 2526]) await hears(port);
    expect(heard).toBe("");
    stream.write("HELO there\r\n");
    await eventually("the greeting", () => heard === "220 hello\r\n");
    stream.destroy();
  });
});
