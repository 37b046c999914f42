/** Time limits, retries and delegated routes, from the resource to what servers and clients see of them. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend } from "./backend.ts";
import { WaypointChain } from "./chain.ts";

/** VirtualService `web` with these rules, each `{prefix: fields}`. */
const web = (rules: Readonly<Record<string, string>>) => `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
${Object.entries(rules)
  .map(
    ([prefix, fields]) => `  - {match: [{uri: {prefix: "${prefix}"}}], ${fields}, route: [{destination: {host: web}}]}`,
  )
  .join("\n")}
`;
const RULES = {
  "/default": "name: default",
  "/503": 'retries: {attempts: 3, retryOn: "503", backoff: 1ms}',
  "/never": "retries: {attempts: 0}",
  "/per-try": 'retries: {attempts: 2, perTryTimeout: 200ms, retryOn: "5xx", backoff: 1ms}',
  "/total": 'timeout: 300ms, retries: {attempts: 100, perTryTimeout: 50ms, retryOn: "5xx", backoff: 1ms}',
  "/slow-back-off": 'retries: {attempts: 2, retryOn: "5xx", backoff: 60s}, timeout: 300ms',
  "/": "name: rest",
};

describe("an attempt", () => {
  let chain: WaypointChain;
  let pods: Backend[];
  /** How many tries of a request came, all servers together. */
  const tries = (path: string) => pods.flatMap(({ seen }) => seen).filter((each) => each.endsWith(path)).length;

  beforeAll(async () => {
    chain = await WaypointChain.start();
    chain.service("web");
    pods = [await chain.pod("web-1", "web"), await chain.pod("web-2", "web"), await chain.pod("web-3", "web")];
    for (const pod of pods) {
      pod.handler = (request, response) => {
        const [, status = ""] = /status=(\d+)/.exec(request.url ?? "") ?? [];
        if (request.url?.includes("silent")) return;
        if (request.url?.includes("once") && tries(request.url) > 1) response.end("well again");
        else if (request.url?.includes("closed")) request.socket.destroy();
        else response.writeHead(Number(status || 200)).end(request.headers["x-envoy-attempt-count"]);
      };
    }
    chain.apply(web(RULES));
    await chain.until(({ status }) => status === 200, "http://web/");
    await chain.until((answer) => answer.status === 504, "http://web/total/silent/probe");
  });
  afterAll(() => chain?.stop());

  it("is not repeated by default when the application answers 503, or closes after it was asked", async () => {
    expect((await chain.ask("http://web/default/a?status=503")).status).toBe(503);
    expect(tries("/default/a?status=503")).toBe(1);
    expect((await chain.ask("http://web/default/closed")).status).toBe(503);
    expect(tries("/default/closed")).toBe(1);
  });

  it("is repeated as often as the route says, elsewhere each time, and the last answer is the client's", async () => {
    const answer = await chain.ask("http://web/503/a?status=503");
    expect([answer.status, answer.body]).toEqual([503, "4"]);
    expect(tries("/503/a?status=503")).toBe(4);
    // Three servers: all are asked before any is asked twice.
    expect(pods.every(({ seen }) => seen.includes("GET /503/a?status=503"))).toBe(true);
    expect(await answer.line()).toMatchObject({ response_flags: "URX", response_code_details: "via_upstream" });
    expect((await chain.ask("http://web/503/once?status=503")).body).toBe("well again");
    expect((await chain.ask("http://web/503/b?status=500")).status).toBe(500);
    expect(tries("/503/b?status=500")).toBe(1);
  });

  it("is made once where retries are off", async () => {
    expect((await chain.ask("http://web/never/a?status=503")).status).toBe(503);
    expect(tries("/never/a?status=503")).toBe(1);
  });

  it("has a time of its own, and the request has another that covers all of them", async () => {
    const perTry = await chain.ask("http://web/per-try/silent");
    expect([perTry.status, perTry.body]).toEqual([504, "upstream request timeout"]);
    expect(tries("/per-try/silent")).toBe(3);
    expect(await perTry.line()).toMatchObject({
      response_flags: "URX,UT",
      response_code_details: "upstream_per_try_timeout",
    });
    const total = await chain.ask("http://web/total/silent");
    expect([total.status, total.body]).toEqual([504, "upstream request timeout"]);
    expect(tries("/total/silent")).toBeLessThan(10);
    expect(await total.line()).toMatchObject({ response_flags: "UT", response_code_details: "response_timeout" });
  });

  it("waits for its turn by the back-off, within the time of the request", async () => {
    // At random within a minute: some tries may follow at once, but hardly ever all of them.
    const answers = await Promise.all(
      [1, 2, 3, 4, 5, 6].map((n) => chain.ask(`http://web/slow-back-off/${n}?status=500`)),
    );
    expect(answers.map(({ status }) => status)).toContain(504);
    expect(answers.every(({ status }) => status === 504 || status === 500)).toBe(true);
  });
});

describe("a rule that another VirtualService has", () => {
  let chain: WaypointChain;
  beforeAll(async () => {
    chain = await WaypointChain.start();
    chain.service("web");
    await chain.pod("web-1", "web");
    chain.apply(`apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root}
spec:
  hosts: [web]
  http:
  - {match: [{uri: {prefix: /shop}}], delegate: {name: team}, timeout: 200ms, headers: {request: {set: {x-root: "1"}}}}
  - {match: [{uri: {prefix: /lost}}], delegate: {name: nobody}}
  - {match: [{uri: {prefix: /kept}}], directResponse: {status: 201}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: team}
spec:
  http:
  - {match: [{uri: {prefix: /shop/tea}}], directResponse: {status: 418}}
  - {match: [{uri: {prefix: /other}}], directResponse: {status: 500}}
  - {rewrite: {uri: /team}, route: [{destination: {host: web}}]}
`);
    await chain.until(({ status }) => status === 418, "http://web/shop/tea");
  });
  afterAll(() => chain?.stop());

  it("counts under the root's match, keeps the root's fields, and is nothing where it contradicts", async () => {
    const answer = JSON.parse((await chain.ask("http://web/shop/x")).body) as {
      url: string;
      headers: Record<string, string>;
    };
    expect([answer.url, answer.headers["x-root"]]).toEqual(["/team/x", "1"]);
    expect((await chain.ask("http://web/other")).status).toBe(404);
  });

  it("is missing: its paths have no route", async () => {
    const answer = await chain.ask("http://web/lost");
    expect(answer.status).toBe(404);
    expect(await answer.line()).toMatchObject({ response_flags: "NR" });
  });

  it("follows when the other one changes or goes", async () => {
    chain.apply(`apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: team}
spec: {http: [{directResponse: {status: 202}}]}
`);
    await chain.until(({ status }) => status === 202, "http://web/shop/x");
    chain.remove("VirtualService", "team");
    await chain.until(({ status }) => status === 404, "http://web/shop/x");
    expect((await chain.ask("http://web/kept")).status).toBe(201);
  });
});
