/** Bookinfo behind a waypoint with routes of the Gateway API, policies and tokens, as its examples have it. */
import { generateKeyPairSync, sign } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { Bed } from "../playground/bed.ts";

const BOOKINFO = join(import.meta.dirname, "../../examples/bookinfo");
const PRODUCTPAGE = "as-productpage";
const STRANGER = "stranger";
const REVIEWS = "http://reviews:9080/reviews/0";

interface Answer {
  readonly status: number;
  readonly headers: string;
  readonly body: string;
  /** Which version of a service answered. */
  readonly version: string;
}

describe("Bookinfo with the Gateway API", () => {
  let bed: Bed;
  const apply = (file: string) => bed.kubectl("apply", "-f", join(BOOKINFO, file));

  async function ask(client: string, ...curl: readonly string[]): Promise<Answer> {
    const command = ["exec", "-n", "bookinfo", `deployment/${client}`, "--", "curl", "-s", "-i", "-m", "5", ...curl];
    const { stdout } = await bed.try(...command);
    const [headers = "", ...rest] = stdout.split("\r\n\r\n");
    const body = rest.join("\r\n\r\n");
    const status = Number(/^HTTP\/\S+ (\d+)/.exec(headers)?.[1]);
    // The last is the service's own: those that it asked come before.
    return { status, headers, body, version: [...body.matchAll(/"version":"(v\d)"/g)].at(-1)?.[1] ?? "" };
  }

  const client = (name: string, account: string) => `apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: bookinfo}
spec:
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      serviceAccountName: ${account}
      containers: [{name: client, image: debian, command: [sleep, infinity]}]
---
`;

  beforeAll(async () => {
    bed = await Bed.start("t-bookgw");
    await deployMesh(bed.playground);
    await apply("bookinfo.yaml");
    await apply("gateway-api/bookinfo-versions.yaml");
    await bed.apply(client(PRODUCTPAGE, "bookinfo-productpage") + client(STRANGER, "default"));
    for (const name of ["reviews-v1", "reviews-v2", "reviews-v3", "ratings-v1", PRODUCTPAGE, STRANGER]) {
      await bed.kubectl("rollout", "status", `deployment/${name}`, "-n", "bookinfo", "--timeout=30s");
    }
    await apply("gateway-api/waypoint.yaml");
    await bed.kubectl("wait", "-n", "bookinfo", "--for=condition=Programmed", "gateway/waypoint", "--timeout=25s");
  });
  afterAll(() => bed?.stop());

  it("shows jason black stars and everybody else none, and says that the route is in force", async () => {
    await apply("gateway-api/route-reviews-by-user.yaml");
    await eventually(
      "jason's stars",
      async () => (await ask(STRANGER, "-H", "end-user: jason", REVIEWS)).version === "v2",
      20_000,
    );
    for (let i = 0; i < 10; ++i) expect((await ask(STRANGER, "-H", "end-user: jason", REVIEWS)).version).toBe("v2");
    for (let i = 0; i < 10; ++i) expect((await ask(STRANGER, REVIEWS)).version).toBe("v1");
    await bed.kubectl(
      "wait",
      "-n",
      "bookinfo",
      `--for=jsonpath={.status.parents[0].conditions[?(@.type=="Accepted")].status}=True`,
      "httproute/reviews",
      "--timeout=10s",
    );
  });

  it("marks what a canary answers", async () => {
    await apply("gateway-api/route-reviews-canary.yaml");
    const canary = await eventually(
      "the canary",
      async () => {
        const answer = await ask(STRANGER, "-H", "version-app: v3", REVIEWS);
        return answer.version === "v3" && answer;
      },
      20_000,
    );
    expect(canary.headers).toMatch(/^x-canary: v3$/im);
    expect((await ask(STRANGER, REVIEWS)).headers).not.toMatch(/x-canary/i);
  });

  it("shares requests out by weight", async () => {
    await apply("gateway-api/route-reviews-thirds.yaml");
    await eventually("another version", async () => (await ask(STRANGER, REVIEWS)).version !== "v1", 20_000);
    const counts = new Map<string, number>();
    for (let i = 0; i < 90; ++i) {
      const { version } = await ask(STRANGER, REVIEWS);
      counts.set(version, (counts.get(version) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(["v1", "v2", "v3"]);
    // 90 requests at a third each: below 15 in one of a million runs.
    for (const count of counts.values()) expect(count).toBeGreaterThan(14);
  });

  it("answers 500 when the backend of a route is not there, and names it in the status", async () => {
    await bed.apply(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: details, namespace: bookinfo}
spec:
  parentRefs: [{group: "", kind: Service, name: details}]
  rules: [{backendRefs: [{name: nobody, port: 9080}]}]
`);
    await eventually("500", async () => (await ask(STRANGER, "http://details:9080/details/0")).status === 500, 20_000);
    const path = 'jsonpath={.status.parents[0].conditions[?(@.type=="ResolvedRefs")].reason}';
    await eventually("the reason", async () => {
      return (await bed.kubectl("get", "httproute", "-n", "bookinfo", "details", "-o", path)) === "BackendNotFound";
    });
    await bed.kubectl("delete", "httproute", "-n", "bookinfo", "details");
    await eventually("200", async () => (await ask(STRANGER, "http://details:9080/details/0")).status === 200, 20_000);
  });

  it("lets productpage GET reviews, and nobody else, and nothing else", async () => {
    await apply("gateway-api/policy-reviews-get.yaml");
    const refused = await eventually(
      "a refusal",
      async () => {
        const answer = await ask(STRANGER, REVIEWS);
        return answer.status === 403 && answer;
      },
      20_000,
    );
    expect(refused.body).toBe("RBAC: access denied");
    expect((await ask(PRODUCTPAGE, REVIEWS)).status).toBe(200);
    expect((await ask(PRODUCTPAGE, "-X", "DELETE", REVIEWS)).status).toBe(403);
    const path = 'jsonpath={.status.conditions[?(@.type=="WaypointAccepted")].status}';
    await eventually("the condition", async () => {
      return (await bed.kubectl("get", "authorizationpolicy", "-n", "bookinfo", "reviews-get", "-o", path)) === "True";
    });
  });

  it("takes tokens of one issuer for ratings: none is denied, a bad one is not even looked at by the policy", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k", alg: "ES256" }] });
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const token = (issuer: string) => {
      const text = `${encode({ alg: "ES256", kid: "k", typ: "JWT" })}.${encode({ iss: issuer, sub: "jason", exp: 4_000_000_000 })}`;
      return `${text}.${sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
    };
    const target = '{group: "", kind: Service, name: ratings}';
    await bed.apply(`apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: ratings, namespace: bookinfo}
spec:
  targetRefs: [${target}]
  jwtRules: [{issuer: book.example, jwks: '${jwks}'}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ratings, namespace: bookinfo}
spec:
  targetRefs: [${target}]
  rules: [{from: [{source: {requestPrincipals: [book.example/jason]}}]}]
`);
    const url = "http://ratings:9080/ratings/0";
    const withToken = (text: string) => ask(STRANGER, "-H", `authorization: Bearer ${text}`, url);
    await eventually("a refusal", async () => (await ask(STRANGER, url)).status === 403, 20_000);
    await eventually("a good token", async () => (await withToken(token("book.example"))).status === 200, 20_000);
    expect(await withToken(token("other.example"))).toMatchObject({
      status: 401,
      body: "Jwt issuer is not configured",
    });
    const forged = `${token("book.example").slice(0, -4)}AAAA`;
    expect(await withToken(forged)).toMatchObject({ status: 401, body: "Jwt verification fails" });
  });
});
