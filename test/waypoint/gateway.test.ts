/** A waypoint's life in a playground: applied, made, programmed, bound, deleted. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { Bed, service, webDeployment } from "../playground/bed.ts";

const GATEWAY = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, labels: {istio.io/waypoint-for: service}}
spec:
  gatewayClassName: weft-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
`;

const STRICT = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict}
spec: {mtls: {mode: STRICT}}
---
`;

const ONLY_WAYPOINT = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-waypoint}
spec:
  selector: {matchLabels: {app: web}}
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/waypoint]}}]}]
`;

describe("a waypoint in a playground", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.start("t-waypoint");
    await deployMesh(bed.playground);
    await bed.kubectl("label", "namespace", "default", "istio.io/dataplane-mode=ambient");
    await bed.apply(webDeployment("web", 2) + webDeployment("client", 1) + service("web", "web"));
    await bed.kubectl("rollout", "status", "deployment/web", "--timeout=20s");
    await bed.kubectl("rollout", "status", "deployment/client", "--timeout=20s");
  });
  afterAll(() => bed?.stop());

  const curl = () => bed.try("exec", "deployment/client", "--", "curl", "-s", "-m", "5", "http://web/");

  it("is made from a Gateway and programmed", async () => {
    await bed.apply(GATEWAY);
    await bed.kubectl("wait", "--for=condition=Programmed", "gateway/waypoint", "--timeout=25s");
    expect(await bed.kubectl("get", "gateway", "waypoint")).toMatch(
      /waypoint +weft-waypoint +waypoint\.default\.svc\.cluster\.local +True/,
    );
    expect(await bed.kubectl("get", "gatewayclass", "weft-waypoint")).toMatch(/istio\.io\/mesh-controller +True/);
    expect(await bed.kubectl("get", "deployment,service,serviceaccount", "-o", "name")).toMatch(
      /deployment\.apps\/waypoint[\s\S]*service\/waypoint[\s\S]*serviceaccount\/waypoint/,
    );
  });

  it("owns the traffic of a service that is labelled, and of nothing that opts out", async () => {
    expect((await curl()).stdout).toMatch(/^web-/);
    await bed.kubectl("label", "service", "web", "istio.io/use-waypoint=waypoint");
    const path = "jsonpath={.status.conditions[?(@.type=='istio.io/WaypointBound')].reason}";
    await eventually(
      "the binding",
      async () => (await bed.kubectl("get", "service", "web", "-o", path)) === "WaypointAccepted",
    );
    // The waypoint names itself in its answers, and the client's agent tells where it sent the connection.
    const throughIt = async () => {
      const { stdout } = await bed.try("exec", "deployment/client", "--", "curl", "-si", "-m", "5", "http://web/");
      return /^HTTP\/1.1 200 OK/.test(stdout) && stdout.includes("server: istio-envoy") && /\nweb-/.test(stdout);
    };
    await eventually("an answer through the waypoint", throughIt, 15_000);
    await eventually("the agent's log names the waypoint", async () => {
      const logs = await bed.kubectl("-n", "istio-system", "logs", "daemonset/weft-agent", "--all-pods=true");
      return logs.includes('dst.identity="spiffe://cluster.local/ns/default/sa/waypoint"');
    });
    // To the pods it comes by mutual TLS, as itself.
    await bed.apply(STRICT + ONLY_WAYPOINT);
    for (let i = 0; i < 10; i++) expect(await throughIt()).toBe(true);
    await bed.kubectl("label", "service", "web", "istio.io/use-waypoint=none", "--overwrite");
    await eventually("nobody else is let in", async () => !(await curl()).stdout.startsWith("web-"), 10_000);
    await bed.kubectl("delete", "authorizationpolicy/only-waypoint", "peerauthentication/strict");
    await eventually("the way without it", async () => (await curl()).stdout.startsWith("web-"), 10_000);
  });

  it("shares the connections to a service with a canary", async () => {
    await bed.apply(GATEWAY.replace("name: waypoint", "name: canary"));
    await bed.kubectl("wait", "--for=condition=Programmed", "gateway/canary", "--timeout=60s");
    await bed.kubectl("annotate", "service", "web", "istio.io/use-waypoint-canary-weight=50");
    const labels = ["istio.io/use-waypoint=waypoint", "istio.io/use-waypoint-canary=canary"];
    await bed.kubectl("label", "service", "web", "--overwrite", ...labels);
    const canary = 'dst.identity="spiffe://cluster.local/ns/default/sa/canary"';
    await eventually(
      "a connection by the canary",
      async () => {
        const { stdout } = await curl();
        const logs = await bed.kubectl("-n", "istio-system", "logs", "daemonset/weft-agent", "--all-pods=true");
        return stdout.startsWith("web-") && logs.includes(canary);
      },
      60_000,
    );
    for (let i = 0; i < 10; i++) expect((await curl()).stdout).toMatch(/^web-/);
    await bed.kubectl("label", "service", "web", "istio.io/use-waypoint-canary-");
    await bed.kubectl("delete", "gateway", "canary");
  });

  it("is not gone around when it is not there", async () => {
    await bed.kubectl("label", "service", "web", "istio.io/use-waypoint=nobody", "--overwrite");
    await eventually("the refusal", async () => (await curl()).code !== 0, 10_000);
    await bed.kubectl("label", "service", "web", "istio.io/use-waypoint-");
    await eventually("the way without it", async () => (await curl()).stdout.startsWith("web-"), 10_000);
  });

  it("takes everything with it that was made for it", async () => {
    await bed.kubectl("delete", "gateway", "waypoint");
    await eventually(
      "nothing is left",
      async () =>
        !(await bed.kubectl("get", "deployment,service,serviceaccount,pods", "-o", "name")).includes("/waypoint"),
      15_000,
    );
  });
});
