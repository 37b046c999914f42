/** Who may ask what, decided at a waypoint: methods, paths, principals, tokens, an HTTPRoute beside it. */
import { createSign, generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { Bed } from "../playground/bed.ts";

const API = join(import.meta.dirname, "../../examples/apigateway");
const ISSUER = "https://issuer.example";

const pod = (name: string) => `apiVersion: v1
kind: ServiceAccount
metadata: {name: ${name}, namespace: ml}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: ml}
spec:
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec: {serviceAccountName: ${name}, containers: [{name: ${name}, image: debian, command: [sleep, infinity]}]}
---
`;
const policy = (name: string, action: string, rules: string) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: ml}
spec:
  targetRefs: [{kind: Service, group: "", name: api}]
  action: ${action}
  rules: [${rules}]
`;

describe("policies at a waypoint", () => {
  let bed: Bed;
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  function token(claims: Record<string, unknown>): string {
    const text = `${base64({ alg: "RS256", kid: "k" })}.${base64({ iss: ISSUER, ...claims })}`;
    return `${text}.${createSign("RSA-SHA256").update(text).sign(privateKey).toString("base64url")}`;
  }
  async function ask(
    from: string,
    path: string,
    ...more: readonly string[]
  ): Promise<{ status: number; body: string }> {
    const curl = ["curl", "-s", "-m", "8", "-w", "\n%{http_code}", ...more, `http://api${path}`];
    const { stdout } = await bed.try("exec", "-n", "ml", `deployment/${from}`, "--", ...curl);
    const end = stdout.lastIndexOf("\n");
    return { status: Number(stdout.slice(end + 1)), body: stdout.slice(0, end) };
  }
  const becomes = (what: string, status: number, ...args: Parameters<typeof ask>) =>
    eventually(what, async () => (await ask(...args)).status === status, 15_000);

  beforeAll(async () => {
    bed = await Bed.start("t-security");
    await deployMesh(bed.playground);
    await bed.kubectl("apply", "-f", join(API, "apigateway.yaml"));
    await bed.apply(pod("alice") + pod("bob"));
    for (const name of ["api", "upload", "predict", "alice", "bob"]) {
      await bed.kubectl("rollout", "status", `deployment/${name}`, "-n", "ml", "--timeout=40s");
    }
    await bed.kubectl("apply", "-f", join(API, "waypoint.yaml"));
    await bed.kubectl("wait", "-n", "ml", "--for=condition=Programmed", "gateway/waypoint", "--timeout=25s");
    await bed.kubectl("label", "service", "-n", "ml", "api", "istio.io/use-waypoint=waypoint");
    await bed.kubectl("apply", "-f", join(API, "routes.yaml"));
    await becomes("the routes", 200, "alice", "/upload", "-X", "POST", "-d", "x");
  });
  afterAll(() => bed?.stop());

  it("sends each path of the api-gateway to who does it, large uploads too", async () => {
    expect((await ask("alice", "/api/x")).body).toContain('"role":"api"');
    expect((await ask("alice", "/predict", "-d", '{"features":[1,3]}')).body).toContain('"score":2');
    const upload = ["exec", "-n", "ml", "deployment/alice", "--", "sh", "-c"];
    const { stdout } = await bed.try(...upload, "head -c 50000000 /dev/zero | curl -s -m 30 -T - http://api/upload");
    expect(stdout).toContain('"bytes":50000000');
  });

  it("denies by method and path with Envoy's body", async () => {
    await bed.apply(policy("no-delete", "DENY", "{to: [{operation: {methods: [DELETE], paths: [/api/*]}}]}"));
    await becomes("the denial", 403, "alice", "/api/x", "-X", "DELETE");
    expect((await ask("alice", "/api/x", "-X", "DELETE")).body).toBe("RBAC: access denied");
    expect((await ask("alice", "/api/x")).status).toBe(200);
    // The policy sees the path that is forwarded.
    expect((await ask("alice", "/upload/../api/x", "-X", "DELETE", "--path-as-is")).status).toBe(403);
  });

  it("allows by principal and nobody else", async () => {
    const rule = "{from: [{source: {principals: [cluster.local/ns/ml/sa/alice]}}]}";
    await bed.apply(policy("alice-only", "ALLOW", rule));
    await becomes("the denial", 403, "bob", "/api/x");
    expect((await ask("alice", "/api/x")).status).toBe(200);
    await bed.kubectl("delete", "authorizationpolicy", "-n", "ml", "alice-only");
    await becomes("the way back", 200, "bob", "/api/x");
  });

  it("checks tokens, and allows by claim", async () => {
    const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k", use: "sig" }] });
    await bed.apply(`apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: ml}
spec:
  targetRefs: [{kind: Service, group: "", name: api}]
  jwtRules: [{issuer: "${ISSUER}", jwks: '${jwks}'}]
`);
    const bearer = (text: string) => ["-H", `authorization: Bearer ${text}`];
    await becomes("the check", 401, "alice", "/api/x", ...bearer("nonsense"));
    expect((await ask("alice", "/api/x")).status).toBe(200);
    expect((await ask("alice", "/api/x", ...bearer(token({ exp: 1 })))).body).toBe("Jwt is expired");
    expect((await ask("alice", "/api/x", ...bearer(token({ iss: "other" })))).body).toBe(
      "Jwt issuer is not configured",
    );
    expect((await ask("alice", "/api/x", ...bearer(token({ sub: "a" })))).status).toBe(200);
    const rule = '{when: [{key: "request.auth.claims[groups]", values: [admin]}]}';
    await bed.apply(policy("admins", "ALLOW", rule));
    await becomes("the denial", 403, "alice", "/api/x");
    expect((await ask("alice", "/api/x", ...bearer(token({ groups: ["admin"] })))).status).toBe(200);
    expect((await ask("alice", "/api/x", ...bearer(token({ groups: ["user"] })))).status).toBe(403);
    await bed.kubectl("delete", "authorizationpolicy", "-n", "ml", "admins");
  });

  it("takes an HTTPRoute in place of the VirtualService", async () => {
    await becomes("the way back", 200, "bob", "/api/x");
    await bed.apply(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: ml}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /score}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /predict}}}]
    backendRefs: [{name: predict, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /gone}}]
    backendRefs: [{name: nobody, port: 80}]
`);
    await becomes("the route", 200, "alice", "/score", "-d", '{"features":[4]}');
    expect((await ask("alice", "/gone")).status).toBe(500);
    expect((await ask("alice", "/scores")).status).toBe(404);
    const path = "jsonpath={range .status.parents[0].conditions[*]}{.type}={.status}/{.reason} {end}";
    await eventually("its status", async () => {
      const conditions = await bed.kubectl("get", "httproute", "-n", "ml", "api", "-o", path);
      return conditions.includes("Accepted=True/Accepted") && conditions.includes("ResolvedRefs=False/BackendNotFound");
    });
  });
});
