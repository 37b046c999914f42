/** External authorizers, and policies that do not decide: CUSTOM by gRPC and HTTP, AUDIT, dry-run; every key of `when`. */
import { createSign, generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { Shown } from "./programs/authorizer.ts";
import { program, WaypointBed } from "./waypoint-bed.ts";

const SERVICE = "service: authorizer.shop.svc.cluster.local";
const MESH = `
extensionProviders:
- name: grpc
  envoyExtAuthzGrpc: {${SERVICE}, port: 9191, timeout: 2s, includeRequestBodyInCheck: {maxRequestBytes: 10, allowPartialMessage: true}}
- {name: open, envoyExtAuthzGrpc: {${SERVICE}, port: 9191, timeout: 1s, failOpen: true}}
- name: http
  envoyExtAuthzHttp:
    ${SERVICE}
    port: 8000
    timeout: 2s
    statusOnError: "503"
    pathPrefix: /check
    includeRequestHeadersInCheck: [x-show]
    includeAdditionalHeadersInCheck: {x-extra: "1"}
    includeRequestBodyInCheck: {maxRequestBytes: 10}
    headersToUpstreamOnAllow: ["x-auth-*"]
    headersToDownstreamOnAllow: [x-allowed]
    headersToDownstreamOnDeny: [x-why]
- {name: nowhere, envoyExtAuthzGrpc: {service: nobody.shop.svc.cluster.local, port: 9191}}
`;
const WEB = '{kind: Service, group: "", name: web}';
const GATEWAY = "{kind: Gateway, group: gateway.networking.k8s.io, name: waypoint}";

function policy(name: string, action: string, rules: string, more = "", target = WEB, annotations = ""): string {
  return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: shop, annotations: {${annotations}}}
spec: {targetRefs: [${target}], action: ${action}, ${more} rules: [${rules}]}
---
`;
}
const custom = (provider: string) =>
  policy(provider, "CUSTOM", `{to: [{operation: {paths: [/${provider}/*]}}]}`, `provider: {name: ${provider}},`);

describe("authorizers and policies of a waypoint", () => {
  let bed: WaypointBed;
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  function token(claims: Record<string, unknown>): string {
    const text = `${base64({ alg: "RS256", kid: "k" })}.${base64({ iss: "me", sub: "you", ...claims })}`;
    return `${text}.${createSign("RSA-SHA256").update(text).sign(privateKey).toString("base64url")}`;
  }

  beforeAll(async () => {
    bed = await WaypointBed.start("t-authz");
    await bed.meshConfig(MESH);
    await bed.app("authorizer", [program("authorizer"), "9191", "8000"], { ports: { grpc: 9191, http: 8000 } });
    await bed.ready("authorizer");
    await bed.apply(`apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: logs, namespace: shop}
spec: {accessLogging: [{providers: [{name: envoy}]}]}
`);
    await bed.apply(custom("grpc") + custom("open") + custom("http") + custom("nowhere"));
    await bed.becomes("the authorizer", ({ status }) => status === 418, "/grpc/deny");
    await bed.becomes("the other", ({ status }) => status === 401, "/http/deny");
  });
  afterAll(() => bed?.stop());

  const shown = async (path: string): Promise<Shown | undefined> =>
    (await bed.lines("authorizer")).map((line) => JSON.parse(line) as Shown).findLast((each) => each.path === path);
  const logOf = (path: string) => bed.line(`the log of ${path}`, "waypoint", (line) => line.includes(` ${path} `));

  it("shows requests by gRPC, and changes them as the authorizer says", async () => {
    const allowed = await bed.ask("/grpc/allow?q=1", "-d", "ten bytes and more", "-H", "x-secret: s");
    expect(allowed.status).toBe(200);
    expect(allowed.headers["x-decided"]).toBe("yes");
    const seen = JSON.parse(allowed.body);
    expect(seen).toMatchObject({ path: "/grpc/allow?q=1", bytes: 18, headers: { "x-user": "me" } });
    expect(seen.headers["x-secret"]).toBeUndefined();
    expect(await shown("/grpc/allow?q=1")).toMatchObject({
      by: "grpc",
      method: "POST",
      body: "ten bytes ",
      source: "spiffe://cluster.local/ns/shop/sa/client",
      headers: { "x-secret": "s" },
    });
    const denied = await bed.ask("/grpc/deny");
    expect(denied).toMatchObject({ status: 418, body: "no coffee", headers: { "x-why": "tea" } });
    expect(await logOf("/grpc/deny")).toContain(" 418 UAEX ext_authz_denied ");
  });

  it("refuses when a gRPC authorizer fails or is too slow, unless it fails open", async () => {
    for (const path of ["/grpc/broken", "/grpc/slow"]) {
      expect(await bed.ask(path)).toMatchObject({ status: 403, body: "" });
      expect(await logOf(path)).toContain(" 403 UAEX ext_authz_error ");
      expect((await bed.ask(path.replace("grpc", "open"))).status).toBe(200);
    }
    expect((await bed.ask("/open/deny")).status).toBe(418);
  });

  it("shows requests by HTTP, what the provider names and no more", async () => {
    const allowed = await bed.ask(
      "/http/allow",
      "-d",
      "ten bytes!",
      "-H",
      "x-show: 1",
      "-H",
      "x-other: 1",
      "-H",
      "authorization: a",
    );
    expect(allowed.status).toBe(200);
    expect(allowed.headers["x-allowed"]).toBe("yes");
    expect(allowed.headers["x-hidden"]).toBeUndefined();
    const { headers } = JSON.parse(allowed.body);
    expect(headers["x-auth-user"]).toBe("me");
    expect(headers["x-hidden"]).toBeUndefined();
    const asked = await shown("/check/http/allow");
    expect(asked).toMatchObject({
      by: "http",
      method: "POST",
      body: "ten bytes!",
      headers: { host: "web:8080", "x-show": "1", "x-extra": "1", authorization: "a" },
    });
    expect(asked?.headers["x-other"]).toBeUndefined();
    const denied = await bed.ask("/http/deny");
    expect(denied).toMatchObject({ status: 401, body: "who are you", headers: { "x-why": "who" } });
    expect(denied.headers["x-hidden"]).toBeUndefined();
    // More than may be shown, and not in part.
    expect((await bed.ask("/http/allow", "-d", "eleven bytes")).status).toBe(413);
    for (const path of ["/http/broken", "/http/slow"]) {
      expect((await bed.ask(path)).status).toBe(503);
      expect(await logOf(path)).toContain(" 503 UAEX ext_authz_error ");
    }
  });

  it("denies what an authorizer without a service would decide, and says so", async () => {
    expect(await bed.ask("/nowhere/x")).toMatchObject({ status: 403 });
    const path = 'jsonpath={.status.conditions[?(@.type=="WaypointAccepted")].message}';
    const said = () => bed.kubectl("get", "authorizationpolicy", "-n", "shop", "nowhere", "-o", path);
    const wanted =
      'authorizer "nowhere" has no service nobody.shop.svc.cluster.local with port 9191: what matches is denied';
    await eventually("the condition", async () => (await said()) === wanted, 30_000);
  });

  it("decides nothing by AUDIT and by dry runs", async () => {
    const all = "{to: [{operation: {paths: [/quiet*]}}]}";
    const dry = 'istio.io/dry-run: "true"';
    await bed.apply(policy("audit", "AUDIT", all) + policy("dry", "DENY", all, "", WEB, dry));
    await bed.apply(policy("marker", "DENY", "{to: [{operation: {paths: [/marker]}}]}"));
    await bed.becomes("the marker", ({ status }) => status === 403, "/marker");
    expect((await bed.ask("/quiet")).status).toBe(200);
    // What the dry run would have done shows under Istio's name for it.
    const tried = 'envoy_http_inbound_0_0_0_0_8080_rbac{authz_dry_run_action="deny",authz_dry_run_result=';
    await eventually("the denial that was none", async () => {
      const page = await bed.scrape();
      return page.includes(`${tried}"denied"} 1`) && page.includes(`${tried}"allowed"} `);
    });
    await bed.kubectl("delete", "authorizationpolicy", "-n", "shop", "audit", "dry", "marker");
  });

  it("knows every key of when", async () => {
    const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k", use: "sig" }] });
    await bed.apply(`apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: shop}
spec:
  targetRefs: [${WEB}]
  jwtRules: [{issuer: me, jwks: '${jwks}'}]
`);
    const ip = (
      await bed.kubectl("get", "pod", "-n", "shop", "-l", "app=client", "-o", "jsonpath={.items[0].status.podIP}")
    ).trim();
    const vip = (await bed.kubectl("get", "service", "-n", "shop", "web", "-o", "jsonpath={.spec.clusterIP}")).trim();
    const keys: [string, string, string][] = [
      ["request.headers[x-team]", "blue", "red"],
      ["source.ip", ip, "192.0.2.1"],
      ["remote.ip", `${ip}/32`, "192.0.2.0/24"],
      ["source.namespace", "sh*", "other"],
      ["source.principal", "cluster.local/ns/shop/sa/client", "cluster.local/ns/shop/sa/web"],
      ["source.serviceAccount", "client", "other/client"],
      ["source.trustDomain", "cluster.local", "elsewhere"],
      ["request.auth.principal", "me/you", "me/nobody"],
      ["request.auth.audiences", "shop", "office"],
      ["request.auth.presenter", "app-1", "app-2"],
      ["request.auth.claims[groups]", "admin", "users"],
      ["request.auth.claims[deep][er]", "yes", "no"],
      ["destination.ip", vip, "192.0.2.1"],
      ["destination.port", "8080", "80"],
    ];
    const rule = (key: string, value: string, path: string) =>
      `{to: [{operation: {paths: ["${path}"]}}], when: [{key: "${key}", values: ["${value}"]}]}`;
    // Denied where the key has the value; let through where it has another.
    const rules = keys.flatMap(([key, yes, no], index) => [
      rule(key, yes, `/when/${index}/yes`),
      rule(key, no, `/when/${index}/no`),
    ]);
    const marker = "{to: [{operation: {paths: [/when/marker]}}]}";
    await bed.apply(policy("when", "DENY", [...rules, marker].join(", ")));
    const bearer = token({ aud: ["shop"], azp: "app-1", groups: ["admin", "x"], deep: { er: "yes" } });
    const asking = ["-H", "x-team: blue", "-H", `authorization: Bearer ${bearer}`];
    await bed.becomes("the marker", ({ status }) => status === 403, "/when/marker", ...asking);
    const found: [string, number, number][] = [];
    for (const [index, [key]] of keys.entries()) {
      const yes = await bed.ask(`/when/${index}/yes`, ...asking);
      const no = await bed.ask(`/when/${index}/no`, ...asking);
      found.push([key, yes.status, no.status]);
    }
    expect(found).toEqual(keys.map(([key]) => [key, 403, 200]));
    // There is no TLS here that is passed through.
    await bed.apply(policy("when", "ALLOW", '{when: [{key: "connection.sni", values: ["*"]}]}'));
    await bed.becomes(
      "the denial",
      ({ status, body }) => status === 403 && body === "RBAC: access denied",
      "/when/0/no",
    );
    await bed.kubectl("delete", "authorizationpolicy", "-n", "shop", "when");
  });

  it("knows the name that TLS asks for, where it is passed through", async () => {
    const make =
      "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=tls -days 2 -keyout /tmp/k.pem -out /tmp/c.pem 2>/dev/null";
    const serve = "exec openssl s_server -quiet -accept 8443 -key /tmp/k.pem -cert /tmp/c.pem -www";
    await bed.app("tls", ["sh", "-c", `${make}; ${serve}`], { ports: { https: 8443 } });
    await bed.ready("tls");
    await bed.kubectl("label", "service", "-n", "shop", "tls", "istio.io/use-waypoint=waypoint");
    const rule = '{when: [{key: "connection.sni", values: ["tls.shop"]}]}';
    await bed.apply(policy("sni", "ALLOW", rule, "", '{kind: Service, group: "", name: tls}'));
    await bed.becomes("the refusal", ({ status }) => status === 0, "https://tls:8443/", "-k");
    await bed.becomes("the way in", ({ status }) => status === 200, "https://tls.shop:8443/", "-k");
    expect((await bed.ask("https://tls:8443/", "-k")).status).toBe(0);
  });

  it("is in force for pods that are addressed by themselves, where the policy is the waypoint's", async () => {
    await bed.kubectl("label", "pod", "-n", "shop", "-l", "app=web", "istio.io/use-waypoint=waypoint");
    const ip = (
      await bed.kubectl("get", "pod", "-n", "shop", "-l", "app=web", "-o", "jsonpath={.items[0].status.podIP}")
    ).trim();
    const url = (path: string) => `http://${ip}:8080${path}`;
    const from =
      '{from: [{source: {principals: ["cluster.local/ns/shop/sa/client"]}}], to: [{operation: {paths: [/own*]}}]}';
    await bed.apply(
      policy("own", "DENY", from, "", GATEWAY) +
        policy("of-service", "DENY", "{to: [{operation: {paths: [/service*]}}]}") +
        policy("port", "DENY", '{to: [{operation: {ports: ["8080"], paths: [/port*]}}]}', "", GATEWAY),
    );
    const denied = await bed.becomes("the denial", ({ status }) => status === 403, url("/own"));
    expect(denied.body).toBe("RBAC: access denied");
    expect(await logOf("/own")).toContain(" 403 - rbac_access_denied_matched_policy[ns[shop]-policy[own]-rule[0]] ");
    await bed.becomes("the port", ({ status }) => status === 403, url("/port"));
    await bed.becomes("the denial of the service", ({ status }) => status === 403, "/service");
    // What is for the service is not for who goes past it.
    expect((await bed.ask(url("/service"))).status).toBe(200);
    expect((await bed.ask(url("/other"))).status).toBe(200);
  });
});
