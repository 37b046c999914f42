/** Servers that waypoints depend on, when they are down, slow or hostile: those of token keys, and external authorizers. */
import { createSign, generateKeyPairSync, type KeyObject } from "node:crypto";
import { createServer } from "node:http2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { Backend, Handler } from "./backend.ts";
import { WaypointChain } from "./chain.ts";

const MESH_CONFIG = `extensionProviders:
- {name: http, envoyExtAuthzHttp: {service: authz.shop.svc.cluster.local, port: 80, timeout: 200ms}}
- {name: open, envoyExtAuthzHttp: {service: authz.shop.svc.cluster.local, port: 80, timeout: 200ms, failOpen: true}}
- {name: status, envoyExtAuthzHttp: {service: authz.shop.svc.cluster.local, port: 80, timeout: 200ms, statusOnError: "503"}}
- {name: grpc, envoyExtAuthzGrpc: {service: authz-grpc.shop.svc.cluster.local, port: 80, timeout: 200ms}}
- {name: down, envoyExtAuthzHttp: {service: authz-down.shop.svc.cluster.local, port: 80, timeout: 200ms}}
`;

const rule = (name: string, uri: string, timeout = "10s") => `apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: ${name}}
spec:
  targetRefs: [{group: "", kind: Service, name: ${name}}]
  jwtRules: [{issuer: "https://${name}.example", jwksUri: "${uri}", timeout: ${timeout}}]
`;
const custom = (provider: string) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${provider}}
spec:
  targetRefs: [{group: "", kind: Service, name: ask-${provider}}]
  action: CUSTOM
  provider: {name: ${provider}}
  rules: [{}]
`;

const PIECE = Buffer.alloc(16 * 1024, " ");

interface KeyServer {
  readonly handler: Handler;
  readonly reason: string;
  readonly timeout?: string;
}

/** What a server of keys does, and what the token rule's status says of it. */
const KEY_SERVERS: Readonly<Record<string, KeyServer>> = {
  slow: { handler: () => undefined, reason: "no answer within 500 ms", timeout: "500ms" },
  endless: { handler: (_, response) => void response.write("{"), reason: "no answer within 500 ms", timeout: "500ms" },
  huge: {
    handler: (_, response) => {
      const go = () => {
        while (!response.destroyed && response.write(PIECE));
      };
      response.on("drain", go);
      go();
    },
    reason: "more than 262144 bytes",
  },
  circle: {
    handler: (request, response) => response.writeHead(302, { location: request.url }).end(),
    reason: "more than 3 redirects",
  },
  inward: {
    handler: (_, response) => response.writeHead(307, { location: "http://169.254.169.254/latest/meta-data" }).end(),
    reason: "address 169.254.169.254 is not allowed",
  },
  page: { handler: (_, response) => response.end("<html>keys?</html>"), reason: "the key set is not JSON" },
  keyless: {
    handler: (_, response) => response.end('{"keys":[{"kty":"none"}]}'),
    reason: "has no key that can be used",
  },
  broken: { handler: (_, response) => response.writeHead(500).end("{}"), reason: "status 500" },
  cut: {
    handler: (request) => request.socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"keys":'),
    reason: "aborted",
  },
};

describe("a waypoint", () => {
  let chain: WaypointChain;
  let authz: Backend;
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const silent = createServer(() => undefined);

  beforeAll(async () => {
    chain = await WaypointChain.start({
      meshConfig: MESH_CONFIG,
      // Key servers of tests are on this machine; by default no key is fetched from there.
      control: { PILOT_BLOCKED_CIDRS_IN_JWKS_URIS: "169.254.0.0/16" },
    });
    const keys = await chain.pod("keys", "keys");
    keys.handler = (request, response) => {
      const name = request.url?.slice(1) ?? "";
      const jwk = { ...publicKey.export({ format: "jwk" }), kid: "k" };
      if (name === "good") response.end(JSON.stringify({ keys: [jwk] }));
      else KEY_SERVERS[name]?.handler(request, response);
    };
    await chain.pod("web", "web");
    for (const name of [...Object.keys(KEY_SERVERS), "good"]) {
      chain.service(name, undefined, "web");
      chain.apply(rule(name, `http://${keys.ip}:${chain.port}/${name}`, KEY_SERVERS[name]?.timeout));
    }
    chain.service("down", undefined, "web");
    chain.apply(rule("down", `http://${chain.address(1)}:${chain.port}/`));

    authz = await chain.pod("authz", "authz");
    chain.service("authz");
    await new Promise<void>((resolve) => silent.listen(chain.port, chain.address(2), resolve));
    chain.putPod({ name: "authz-grpc", ip: chain.address(2) }, { app: "authz-grpc" });
    chain.service("authz-grpc", [{ name: "grpc", port: 80 }]);
    chain.putPod({ name: "authz-down", ip: chain.address(3) }, { app: "authz-down" });
    chain.service("authz-down");
    for (const provider of ["http", "open", "status", "grpc", "down", "unheard-of"]) {
      chain.service(`ask-${provider}`, undefined, "web");
      chain.apply(custom(provider));
    }
  });
  afterAll(async () => {
    await chain?.stop();
    silent.close();
  });

  describe("whose keys for tokens cannot be had", () => {
    const token = (issuer: string) => ({ authorization: `Bearer ${signed({ iss: issuer, sub: "a" }, privateKey)}` });

    it("takes tokens of an issuer that is well, whatever becomes of the others", async () => {
      const headers = token("https://good.example");
      await chain.until(({ status }) => status === 200, "http://good/x", { headers });
      expect(chain.conditions("RequestAuthentication", "good")).toEqual([
        "WaypointAccepted=True/Accepted: enforced by waypoints",
      ]);
    });

    const servers = Object.entries(KEY_SERVERS).map(([name, { reason }]): [string, string] => [name, reason]);
    it.each([...servers, ["down", "ECONNREFUSED"] as const])(
      "takes no token, only requests without one: %s",
      async (name, reason) => {
        const headers = token(`https://${name}.example`);
        const answer = await chain.until(({ status }) => status === 401, `http://${name}/x`, { headers });
        expect(answer.body).toBe("Jwks remote fetch is failed");
        expect(answer.headers["www-authenticate"]).toBe(`Bearer realm="http://${name}/x", error="invalid_token"`);
        expect(await answer.line()).toMatchObject({
          response_code: 401,
          response_flags: "-",
          response_code_details: "jwt_authn_access_denied{Jwks_remote_fetch_is_failed}",
        });
        expect((await chain.ask(`http://${name}/x`)).status).toBe(200);
        await eventually("the reason in the rule's status", () =>
          chain
            .conditions("RequestAuthentication", name)
            .some((text) => text.startsWith("WaypointAccepted=False/Invalid") && text.includes(reason)),
        );
      },
    );
  });

  describe("whose authorizer", () => {
    const error = { status: 403, body: "", flags: "UAEX", details: "ext_authz_error" };
    async function facts(service: string) {
      const answer = await chain.ask(`http://${service}/x`);
      const { response_flags: flags, response_code_details: details } = await answer.line();
      return { status: answer.status, body: answer.body, flags, details };
    }
    beforeAll(() => {
      authz.handler = () => undefined;
    });

    it.each(["http", "grpc"])("does not answer in time refuses: by %s", async (provider) => {
      await chain.until(({ status }) => status === 403, `http://ask-${provider}/x`);
      expect(await facts(`ask-${provider}`)).toEqual(error);
    });

    it("does not answer in time refuses with the status that was asked for, or lets pass", async () => {
      await chain.until(({ status }) => status === 503, "http://ask-status/x");
      expect(await facts("ask-status")).toEqual({ ...error, status: 503 });
      expect(await facts("ask-open")).toMatchObject({ status: 200, flags: "-", details: "via_upstream" });
    });

    it("cannot be reached, or is not known, refuses", async () => {
      await chain.until(({ status }) => status === 403, "http://ask-down/x");
      expect(await facts("ask-down")).toEqual(error);
      await chain.until(({ status }) => status === 403, "http://ask-unheard-of/x");
      expect(await facts("ask-unheard-of")).toMatchObject({ status: 403 });
    });

    it("speaks something else refuses", async () => {
      authz.handler = (request) => request.socket.end("hello\r\n\r\n");
      expect(await facts("ask-http")).toEqual(error);
    });

    it("denies in its own words", async () => {
      authz.handler = (_, response) => response.writeHead(401, { "content-type": "text/plain" }).end("who are you?");
      expect(await facts("ask-http")).toEqual({
        status: 401,
        body: "who are you?",
        flags: "UAEX",
        details: "ext_authz_denied",
      });
    });
  });
});

function signed(claims: Readonly<Record<string, unknown>>, key: KeyObject): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "RS256", kid: "k" })}.${part(claims)}`;
  return `${text}.${createSign("RSA-SHA256").update(text).sign(key).toString("base64url")}`;
}
