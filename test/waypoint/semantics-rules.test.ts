/** As semantics.test.ts, of rules about endpoints, identities and tokens. */
import { createSign, generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { Backend } from "./backend.ts";
import { WaypointChain } from "./chain.ts";

const networking = (kind: string, name: string, spec: string) => `apiVersion: networking.istio.io/v1
kind: ${kind}
metadata: {name: ${name}}
spec: ${spec}
---
`;
const policy = (name: string, spec: string, service = "web") => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}}
spec: {targetRefs: [{group: "", kind: Service, name: ${service}}], ${spec}}
`;
const ISSUER = "https://issuer.example";

describe("at a waypoint", () => {
  let chain: WaypointChain;
  let failing: Backend;
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k" }] });
  const bearer = (claims: object) => `Bearer ${token({ iss: ISSUER, sub: "a", aud: "shop", ...claims })}`;
  function token(claims: object): string {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const text = `${part({ alg: "RS256", kid: "k" })}.${part(claims)}`;
    return `${text}.${createSign("RSA-SHA256").update(text).sign(privateKey).toString("base64url")}`;
  }
  const status = async (url: string, headers: Readonly<Record<string, string>> = {}) =>
    (await chain.ask(url, { headers })).status;

  beforeAll(async () => {
    chain = await WaypointChain.start({ waypoint: { WEFT_LOOPS: "1", WEFT_LOCALITY: "east/e1" } });
    for (const name of ["web", "tokens"]) chain.service(name, undefined, "web");
    await chain.pod("web-1", "web");
    chain.service("two");
    await chain.pod("two-1", "two");
    failing = await chain.pod("two-2", "two");
    chain.apply(
      networking(
        "DestinationRule",
        "two",
        "{host: two, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 1, interval: 100ms}}, subsets: [{name: all}]}",
      ),
    );
    chain.apply(
      networking("VirtualService", "two", "{hosts: [two], http: [{route: [{destination: {host: two, subset: all}}]}]}"),
    );
    for (const host of ["web", "tokens", "two"]) {
      await chain.until((answer) => answer.status === 200, `http://${host}/`);
    }
  });
  afterAll(() => chain?.stop());

  it("9: ten percent of fewer than ten endpoints are none, so that nobody is ejected by default", async () => {
    failing.handler = (_, response) => response.writeHead(500).end();
    let failed = 0;
    for (let i = 0; i < 60; i++) if ((await status("http://two/")) === 500) failed++;
    expect(failed).toBeGreaterThan(10);
  });

  it("12: a token is asked of nobody, is taken out, and is forbidden to another audience", async () => {
    chain.apply(`apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec:
  targetRefs: [{group: "", kind: Service, name: tokens}]
  jwtRules: [{issuer: "${ISSUER}", audiences: [shop], jwks: '${jwks}'}]
`);
    const url = "http://tokens/";
    await chain.until((answer) => answer.status === 401, url, { headers: { authorization: "Bearer x" } });
    expect(await status(url)).toBe(200);
    const good = await chain.ask(url, { headers: { authorization: bearer({}) } });
    expect(good.status).toBe(200);
    expect(JSON.parse(good.body)).not.toHaveProperty("headers.authorization");
    const other = await chain.ask(url, { headers: { authorization: bearer({ aud: "bank" }) } });
    expect([other.status, other.body]).toEqual([403, "Audiences in Jwt are not allowed"]);
    expect(await status(`${url}?access_token=x`)).toBe(401);
    chain.apply(`apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec:
  targetRefs: [{group: "", kind: Service, name: tokens}]
  jwtRules: [{issuer: "${ISSUER}", jwks: '${jwks}', fromHeaders: [{name: x-token}]}]
`);
    await chain.until((answer) => answer.status === 401, url, { headers: { "x-token": "x" } });
    // Where tokens are looked for is said: nowhere else.
    expect(await status(url, { authorization: "Bearer x" })).toBe(200);
    expect(await status(`${url}?access_token=x`)).toBe(200);
  });

  it("13: no rule allows nobody, an empty one everybody, and DENY comes first", async () => {
    const url = "http://web/";
    chain.apply(policy("none", ""));
    await chain.until((answer) => answer.body === "RBAC: access denied", url);
    chain.apply(policy("all", "rules: [{}]"));
    await chain.until((answer) => answer.status === 200, url);
    chain.apply(policy("deny", "action: DENY, rules: [{to: [{operation: {methods: [DELETE]}}]}]"));
    await chain.until((answer) => answer.status === 403, url, { method: "DELETE" });
    expect(await status(url)).toBe(200);
    for (const name of ["none", "all", "deny"]) chain.remove("AuthorizationPolicy", name);
    await chain.until((answer) => answer.status === 200, url, { method: "DELETE" });
  });

  it("15: a policy with a selector is none of its business", async () => {
    chain.apply(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: everybody}
spec: {action: DENY, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: selected}
spec: {selector: {matchLabels: {app: web}}, action: DENY, rules: [{}]}
`);
    // Behind these two in the same stream of changes.
    chain.apply(policy("marker", "action: DENY, rules: [{to: [{operation: {paths: [/marker]}}]}]"));
    await chain.until((answer) => answer.status === 403, "http://web/marker");
    expect(await status("http://web/")).toBe(200);
    await eventually("their statuses", () =>
      ["everybody", "selected"].every((name) =>
        chain.conditions("AuthorizationPolicy", name).some((text) => text.startsWith("ZtunnelAccepted=True")),
      ),
    );
    expect(chain.conditions("AuthorizationPolicy", "marker").every((text) => text.startsWith("WaypointAccepted"))).toBe(
      true,
    );
    for (const name of ["everybody", "selected", "marker"]) chain.remove("AuthorizationPolicy", name);
  });

  it("20: metrics have dashes, latest and unknown for what nobody knows", async () => {
    const { text } = await chain.waypoint.get("metrics", "/stats/prometheus");
    const line = text
      .split("\n")
      .find((each) => each.startsWith("istio_requests_total{") && each.includes('destination_service_name="web"'));
    for (const label of [
      'reporter="waypoint"',
      'response_flags="-"',
      'source_workload="unknown"',
      'destination_version="unknown"',
      'destination_canonical_revision="latest"',
    ]) {
      expect(line).toContain(label);
    }
  });
});
