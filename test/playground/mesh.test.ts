import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { deployMesh, type Mesh } from "../../playground/src/mesh.ts";
import { run } from "../../playground/src/system/command.ts";
import { Bed, service, webDeployment } from "./bed.ts";

describe("the mesh in a playground", () => {
  let bed: Bed;
  let mesh: Mesh;
  beforeAll(async () => {
    bed = await Bed.start("t-mesh");
    mesh = await deployMesh(bed.playground);
  });
  afterAll(() => bed?.stop());

  it("has a control plane and one agent per node, each with an address on this machine", async () => {
    expect(await bed.kubectl("-n", "istio-system", "get", "daemonset", "weft-agent")).toMatch(/weft-agent +2 +2 +2/);
    expect([...mesh.agents.keys()].sort()).toEqual(["node1", "node2"]);
    for (const { metrics, readiness } of mesh.agents.values()) {
      const page = await (await fetch(`http://127.0.0.1:${metrics.port}/metrics`)).text();
      expect(page).toContain("# TYPE");
      expect((await fetch(`http://127.0.0.1:${readiness.port}/healthz/ready`)).status).toBe(200);
    }
  });

  it("takes a namespace's pods in by its label, and says so on the pods", async () => {
    await bed.kubectl("label", "namespace", "default", "istio.io/dataplane-mode=ambient");
    await bed.apply(webDeployment("web", 2) + webDeployment("client", 1) + service("web", "web"));
    await bed.kubectl("rollout", "status", "deployment/web", "--timeout=20s");
    await eventually(
      "all pods are captured",
      async () => {
        const { items } = JSON.parse(await bed.kubectl("get", "pods", "-o", "json"));
        return items.every(
          (pod: { metadata: { annotations?: Record<string, string> } }) =>
            pod.metadata.annotations?.["ambient.istio.io/redirection"] === "enabled",
        );
      },
      15_000,
    );
    expect(await bed.kubectl("exec", "deployment/client", "--", "curl", "-s", "-m", "5", "http://web/")).toMatch(
      /^web-/,
    );
    // The line follows the end of the connection.
    await eventually("the agents' logs name who called", async () => {
      const logs = await bed.kubectl("-n", "istio-system", "logs", "daemonset/weft-agent", "--all-pods=true");
      return logs.includes('src.identity="spiffe://cluster.local/ns/default/sa/default"');
    });
  });

  it("takes its BPF programs with it when it ends", async () => {
    const attached = async (id: number) => (await run("bpftool", ["link", "list"])).includes(`cgroup_id ${id} `);
    // A cgroup's id is the inode of its folder.
    const ids = bed.playground.nodes.map(({ name }) => statSync(join(bed.playground.cgroup, name, "kubepods")).ino);
    for (const id of ids) expect(await attached(id)).toBe(true);
    await bed.stop();
    for (const id of ids) await eventually("nothing is attached", async () => !(await attached(id)));
  });
});
