/** Resources that make no sense: each says why in its own status, and what was in force before it stays. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { WaypointChain } from "./chain.ts";

const networking = (kind: string, spec: string) => `apiVersion: networking.istio.io/v1
kind: ${kind}
metadata: {name: web}
spec: ${spec}
`;
const security = (kind: string, spec: string) => `apiVersion: security.istio.io/v1
kind: ${kind}
metadata: {name: web}
spec: ${spec}
`;
const TARGETS = 'targetRefs: [{group: "", kind: Service, name: web}]';
const KEPT = "the last valid version stays in force";

describe("an invalid resource", () => {
  let chain: WaypointChain;
  beforeAll(async () => {
    chain = await WaypointChain.start();
    chain.service("web");
    await chain.pod("web-1", "web", { version: "v1" });
    chain.apply(networking("DestinationRule", "{host: web, subsets: [{name: v1, labels: {version: v1}}]}"));
    chain.apply(
      networking(
        "VirtualService",
        "{hosts: [web], http: [{name: good, route: [{destination: {host: web, subset: v1}}]}]}",
      ),
    );
    chain.apply(
      security("AuthorizationPolicy", `{${TARGETS}, action: DENY, rules: [{to: [{operation: {paths: [/no]}}]}]}`),
    );
    await chain.until(({ status }) => status === 200, "http://web/");
    await chain.until(({ status }) => status === 403, "http://web/no");
  });
  afterAll(() => chain?.stop());

  const told = (kind: string, ...texts: readonly string[]) =>
    eventually(
      `the status of the ${kind}`,
      () => chain.conditions(kind, "web").find((each) => texts.every((text) => each.includes(text))),
      20_000,
    );

  const kept: [string, string, string][] = [
    [
      "VirtualService",
      "{hosts: [web], http: [{timeout: 0s, directResponse: {status: 500}}]}",
      "spec.http[0].timeout: must be at least 1ms",
    ],
    [
      "DestinationRule",
      "{host: web, trafficPolicy: {connectionPool: {}}}",
      "spec.trafficPolicy.connectionPool: needs tcp or http",
    ],
  ];
  it.each(kept)("of kind %s leaves the last good one in force", async (kind, spec, reason) => {
    chain.apply(networking(kind, spec));
    expect(await told(kind, "Accepted=False/Invalid", reason)).toContain(KEPT);
    const answer = await chain.ask("http://web/");
    expect(answer.status).toBe(200);
    expect(await answer.line()).toMatchObject({
      route_name: "good",
      upstream_cluster: expect.stringContaining("|http/v1|"),
    });
  });

  it("that becomes valid again says so, and is in force", async () => {
    chain.apply(
      networking("VirtualService", "{hosts: [web], http: [{name: better, route: [{destination: {host: web}}]}]}"),
    );
    await told("VirtualService", "Accepted=True/Accepted");
    await eventually(
      "its route",
      async () => (await (await chain.ask("http://web/")).line()).route_name === "better",
      20_000,
    );
  });

  it("of kind AuthorizationPolicy denies no less than before", async () => {
    chain.apply(
      security("AuthorizationPolicy", `{${TARGETS}, action: DENY, rules: [{to: [{operation: {path: [/yes]}}]}]}`),
    );
    expect(
      await told(
        "AuthorizationPolicy",
        "WaypointAccepted=False/Invalid",
        "spec.rules[0].to[0].operation.path: unknown field",
      ),
    );
    expect((await chain.ask("http://web/no")).status).toBe(403);
  });

  it("of kind RequestAuthentication takes no token by what is not understood", async () => {
    chain.apply(security("RequestAuthentication", `{${TARGETS}, jwtRules: [{issuer: i, jwks: "none"}]}`));
    await told("RequestAuthentication", "WaypointAccepted=False/Invalid", "spec.jwtRules[0].jwks: is not JSON");
    // {"alg":"none"}.{"iss":"i"}
    const headers = { authorization: "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJpIn0." };
    await chain.until(({ status }) => status === 401, "http://web/", { headers });
    chain.remove("RequestAuthentication", "web");
    await chain.until(({ status }) => status === 200, "http://web/", { headers });
  });

  it("of kind Telemetry, with a filter that is none, logs as if it were not there", async () => {
    chain.apply(`apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: web}
spec: {${TARGETS}, accessLogging: [{filter: {expression: "response.code >="}}]}
`);
    await told("Telemetry", "Accepted=False/Invalid", "spec.accessLogging[0].filter.expression");
    expect(await (await chain.ask("http://web/")).line()).toMatchObject({ response_code: 200 });
  });

  it("of kind ServiceEntry is no destination", async () => {
    chain.apply(
      networking("ServiceEntry", '{hosts: ["*"], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}'),
    );
    await told("ServiceEntry", "Accepted=False/Invalid", "spec.hosts[0]");
  });

  it("of kind HTTPRoute says which backend is missing, and answers 500 for it", async () => {
    chain.apply(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /lost}}]
    backendRefs: [{name: nobody, port: 80}]
  - backendRefs: [{name: web, port: 80}]
`);
    await told("HTTPRoute", "ResolvedRefs=False/BackendNotFound", "nobody");
    const answer = await chain.until(({ status }) => status === 500, "http://web/lost");
    expect(answer.body).toBe("");
    expect((await chain.ask("http://web/")).status).toBe(200);
    chain.remove("HTTPRoute", "web");
    await chain.until(({ status }) => status === 200, "http://web/lost");
  });

  it("of kind Gateway that no class of ours owns is left alone", async () => {
    chain.apply(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec: {gatewayClassName: somebody-elses, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`);
    chain.apply(networking("VirtualService", "{hosts: [web], http: [{directResponse: {status: 299}}]}"));
    await chain.until(({ status }) => status === 299, "http://web/");
    expect(chain.conditions("Gateway", "web")).toEqual([]);
  });
});
