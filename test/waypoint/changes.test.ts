/** What happens to traffic while waypoints come, go and change, and to traffic that is sent to pods by their own address. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { Bed, service, webDeployment } from "../playground/bed.ts";

const GATEWAY = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, labels: {istio.io/waypoint-for: all}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
`;

/** Asks on a new connection each time until told to stop by SIGTERM or the end of its time, and says how that went. */
const ASKER = `const http = require("node:http");
const counts = {};
const end = Date.now() + Number(process.argv[1]);
const ask = () => new Promise((done) => {
  const note = (what) => { counts[what] = (counts[what] ?? 0) + 1; done(); };
  const request = http.get("http://web/", { agent: false, timeout: 5000 }, (response) => {
    response.resume().on("end", () => note(response.statusCode)).on("error", (error) => note(error.code));
  });
  request.on("timeout", () => request.destroy(new Error("timeout")));
  request.on("error", (error) => note(error.code ?? error.message));
});
(async () => {
  while (Date.now() < end) await ask();
  console.log(JSON.stringify(counts));
})();`;

describe("a waypoint's traffic", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.start("t-wp-changes");
    await deployMesh(bed.playground);
    await bed.kubectl("label", "namespace", "default", "istio.io/dataplane-mode=ambient");
    await bed.apply(webDeployment("web", 2) + webDeployment("client", 1) + service("web", "web") + GATEWAY);
    for (const name of ["web", "client"]) await bed.kubectl("rollout", "status", `deployment/${name}`, "--timeout=20s");
    await bed.kubectl("wait", "--for=condition=Programmed", "gateway/waypoint", "--timeout=25s");
  });
  afterAll(() => bed?.stop());

  async function answer(url: string): Promise<string> {
    const { stdout } = await bed.try("exec", "deployment/client", "--", "curl", "-sig", "-m", "5", url);
    if (!/^HTTP\/1.1 200/.test(stdout)) return "nothing";
    return stdout.includes("server: istio-envoy") ? "by the waypoint" : "directly";
  }

  /** What a client sees that asks all the time while `change` happens. */
  async function whileAsking(ms: number, change: () => Promise<unknown>): Promise<Record<string, number>> {
    const asking = bed.kubectl("exec", "deployment/client", "--", "node", "-e", ASKER, String(ms));
    await change();
    return JSON.parse(await asking);
  }

  it("of a pod that is asked for by its own address goes there too, when the waypoint is for workloads", async () => {
    const [pod] = JSON.parse(await bed.kubectl("get", "pods", "-l", "app=web", "-o", "json")).items;
    const url = `http://${pod.status.podIP}:8080/`;
    expect(await answer(url)).toBe("directly");
    await bed.kubectl("label", "pod", pod.metadata.name, "istio.io/use-waypoint=waypoint");
    await eventually("the way by the waypoint", async () => (await answer(url)) === "by the waypoint", 10_000);
    await bed.kubectl("label", "pod", pod.metadata.name, "istio.io/use-waypoint-");
    await eventually("the way without it", async () => (await answer(url)) === "directly", 10_000);
  });

  it("begins and ends without a request being lost", async () => {
    const bound = await whileAsking(3_000, () =>
      bed.kubectl("label", "namespace", "default", "istio.io/use-waypoint=waypoint"),
    );
    expect(Object.keys(bound)).toEqual(["200"]);
    await eventually(
      "the way by the waypoint",
      async () => (await answer("http://web/")) === "by the waypoint",
      10_000,
    );
    const unbound = await whileAsking(3_000, () =>
      bed.kubectl("label", "namespace", "default", "istio.io/use-waypoint-"),
    );
    expect(Object.keys(unbound)).toEqual(["200"]);
  });

  it("goes on while the waypoint's pods are replaced", async () => {
    await bed.kubectl("label", "service", "web", "istio.io/use-waypoint=waypoint");
    await eventually(
      "the way by the waypoint",
      async () => (await answer("http://web/")) === "by the waypoint",
      10_000,
    );
    const counts = await whileAsking(12_000, async () => {
      await bed.kubectl("rollout", "restart", "deployment/waypoint");
      await bed.kubectl("rollout", "status", "deployment/waypoint", "--timeout=25s");
    });
    expect(Object.keys(counts)).toEqual(["200"]);
  });

  it("is refused while no pod of the waypoint is there, for the reason that the agent's log names", async () => {
    await bed.kubectl("scale", "deployment/waypoint", "--replicas=0");
    await eventually("the refusal", async () => (await answer("http://web/")) === "nothing", 15_000);
    await eventually("the reason", async () => {
      const logs = await bed.kubectl("-n", "istio-system", "logs", "daemonset/weft-agent", "--all-pods=true");
      return logs.includes("no_waypoint");
    });
    await bed.kubectl("wait", "--for=condition=Programmed=false", "gateway/waypoint", "--timeout=15s");
    await bed.kubectl("scale", "deployment/waypoint", "--replicas=2");
    await eventually(
      "the way by the waypoint",
      async () => (await answer("http://web/")) === "by the waypoint",
      20_000,
    );
  });
});
