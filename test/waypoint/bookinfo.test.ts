/** Bookinfo behind a waypoint: routes, weights, faults, timeouts, breakers, with Istio's resources. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { Bed } from "../playground/bed.ts";

const BOOKINFO = join(import.meta.dirname, "../../examples/bookinfo");
const REVIEWS = "http://reviews:9080/reviews/0";

const WAYPOINT = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: bookinfo, labels: {istio.io/waypoint-for: service}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: bookinfo}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}, {name: v3, labels: {version: v3}}]
`;
const CLIENT = `apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: bookinfo}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec: {containers: [{name: client, image: debian, command: [sleep, infinity]}]}
`;
/** A VirtualService for `host` with these rules. */
const routes = (host: string, rules: string) => `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ${host}, namespace: bookinfo}
spec: {hosts: [${host}], http: [${rules}]}
`;
const to = (version: string) => `route: [{destination: {host: reviews, subset: ${version}}}]`;

describe("Bookinfo behind a waypoint", () => {
  let bed: Bed;
  interface Answer {
    readonly status: number;
    readonly body: string;
    readonly seconds: number;
    readonly headers: string;
  }
  async function ask(url: string, ...more: readonly string[]): Promise<Answer> {
    const curl = ["curl", "-s", "-i", "-m", "8", "-w", "\n%{http_code} %{time_total}", ...more, url];
    const { stdout } = await bed.try("exec", "-n", "bookinfo", "deployment/client", "--", ...curl);
    const end = stdout.lastIndexOf("\n");
    const [status = "0", seconds = "0"] = stdout.slice(end + 1).split(" ");
    const [headers = "", ...body] = stdout.slice(0, end).split("\r\n\r\n");
    return { status: Number(status), body: body.join("\r\n\r\n"), seconds: Number(seconds), headers };
  }
  function version({ body }: Answer): string {
    if (!body.startsWith("{")) return body;
    return (JSON.parse(body) as { servedBy?: { version: string } }).servedBy?.version ?? "";
  }
  /** Applies and waits until an answer shows it. */
  async function apply(manifest: string, holds: () => Promise<boolean>): Promise<void> {
    await bed.apply(manifest);
    await eventually("the new routes", holds, 15_000);
  }

  beforeAll(async () => {
    bed = await Bed.start("t-bookinfo");
    await deployMesh(bed.playground);
    await bed.kubectl("apply", "-f", join(BOOKINFO, "bookinfo.yaml"));
    await bed.apply(CLIENT);
    for (const name of [
      "productpage-v1",
      "details-v1",
      "ratings-v1",
      "reviews-v1",
      "reviews-v2",
      "reviews-v3",
      "client",
    ]) {
      await bed.kubectl("rollout", "status", `deployment/${name}`, "-n", "bookinfo", "--timeout=40s");
    }
    await bed.apply(WAYPOINT);
    await bed.kubectl("wait", "-n", "bookinfo", "--for=condition=Programmed", "gateway/waypoint", "--timeout=25s");
    await bed.kubectl("label", "namespace", "bookinfo", "istio.io/use-waypoint=waypoint");
    await apply(routes("reviews", `{${to("v1")}}`), async () => (await ask(REVIEWS)).headers.includes("istio-envoy"));
  });
  afterAll(() => bed?.stop());

  it("sends everybody to one version", async () => {
    await eventually("v1", async () => version(await ask(REVIEWS)) === "v1", 10_000);
    for (let i = 0; i < 10; ++i) expect(version(await ask(REVIEWS))).toBe("v1");
  });

  it("sends one user to another version, also behind productpage", async () => {
    const jason = ["-H", "end-user: jason"];
    const rules = `{match: [{headers: {end-user: {exact: jason}}}], ${to("v2")}}, {${to("v1")}}`;
    await apply(routes("reviews", rules), async () => version(await ask(REVIEWS, ...jason)) === "v2");
    for (let i = 0; i < 5; ++i) {
      expect(version(await ask(REVIEWS, ...jason))).toBe("v2");
      expect(version(await ask(REVIEWS))).toBe("v1");
    }
    const page = await ask("http://productpage:9080/api/v1/products/0", ...jason);
    expect(page.body).toContain('"colour":"black"');
  });

  it("aborts with the status and the body that Envoy has", async () => {
    const rules = `{fault: {abort: {httpStatus: 555, percentage: {value: 100}}}, ${to("v1")}}`;
    await apply(routes("reviews", rules), async () => (await ask(REVIEWS)).status === 555);
    expect((await ask(REVIEWS)).body).toBe("fault filter abort");
  });

  it("delays, and a fault without a percentage never happens", async () => {
    const rules = `{fault: {delay: {fixedDelay: 1s, percentage: {value: 100}}, abort: {httpStatus: 500}}, ${to("v1")}}`;
    await apply(routes("reviews", rules), async () => (await ask(REVIEWS)).seconds > 1);
    const answer = await ask(REVIEWS);
    expect(answer.status).toBe(200);
    expect(answer.seconds).toBeGreaterThan(1);
    expect(answer.seconds).toBeLessThan(2.5);
  });

  it("answers 503 for a subset that is not defined", async () => {
    await apply(routes("reviews", `{${to("v9")}}`), async () => (await ask(REVIEWS)).status === 503);
    expect((await ask(REVIEWS)).body).toBe("");
  });

  it("redirects, rewrites and answers by itself", async () => {
    const rules = [
      `{match: [{uri: {exact: /old}}], redirect: {uri: /reviews/0, redirectCode: 302}}`,
      `{match: [{uri: {prefix: /r/}}], rewrite: {uri: /reviews/}, ${to("v1")}}`,
      `{match: [{uri: {exact: /tea}}], directResponse: {status: 418, body: {string: short and stout}}}`,
      `{${to("v1")}}`,
    ];
    await apply(routes("reviews", rules.join(", ")), async () => (await ask("http://reviews:9080/tea")).status === 418);
    expect((await ask("http://reviews:9080/tea")).body).toBe("short and stout");
    const old = await ask("http://reviews:9080/old");
    expect([old.status, old.headers]).toEqual([
      302,
      expect.stringContaining("location: http://reviews:9080/reviews/0"),
    ]);
    expect(version(await ask("http://reviews:9080/r/0"))).toBe("v1");
  });

  it("22: is the waypoint's at the server's own agent, whose policies know nobody else", async () => {
    const allow = (account: string) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews-l4, namespace: bookinfo}
spec:
  selector: {matchLabels: {app: reviews}}
  action: ALLOW
  rules: [{from: [{source: {principals: [cluster.local/ns/bookinfo/sa/${account}]}}]}]
`;
    await apply(allow("default"), async () => (await ask(REVIEWS)).status === 503);
    await apply(allow("waypoint"), async () => (await ask(REVIEWS)).status === 200);
    await bed.kubectl("delete", "authorizationpolicy", "-n", "bookinfo", "reviews-l4");
  });

  it("has no healthy upstream when the endpoints are gone", async () => {
    await bed.kubectl("scale", "-n", "bookinfo", "deployment/details-v1", "--replicas=0");
    await eventually("503", async () => (await ask("http://details:9080/details/0")).status === 503, 20_000);
    expect((await ask("http://details:9080/details/0")).body).toBe("no healthy upstream");
  });

  it("counts requests as Istio does", async () => {
    const { stdout } = await bed.try(
      "get",
      "pods",
      "-n",
      "bookinfo",
      "-l",
      "gateway.networking.k8s.io/gateway-name=waypoint",
      "-o",
      "jsonpath={.items[0].status.podIP}",
    );
    const metrics = await ask(`http://${stdout}:15020/stats/prometheus`);
    expect(metrics.body).toContain("istio_requests_total");
    const line = metrics.body
      .split("\n")
      .find((each) => each.startsWith("istio_requests_total") && each.includes('response_code="555"'));
    for (const label of [
      'reporter="waypoint"',
      'source_workload="client"',
      'source_workload_namespace="bookinfo"',
      'destination_service="reviews.bookinfo.svc.cluster.local"',
      'response_flags="FI"',
      'connection_security_policy="mutual_tls"',
    ]) {
      expect(line).toContain(label);
    }
  });
});
