/** Hello v1 to v3 behind nginx: a canary by header and by weights through a waypoint, as examples/hello has it. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { Bed } from "../playground/bed.ts";

const HELLO = join(import.meta.dirname, "../../examples/hello");

describe("hello through a waypoint", () => {
  let bed: Bed;
  const apply = (file: string) => bed.kubectl("apply", "-f", join(HELLO, file));
  /** Which version answers `path` of nginx. */
  async function ask(...curl: readonly string[]): Promise<string> {
    const { stdout } = await bed.try(
      "exec",
      "-n",
      "hello",
      "deployment/client",
      "--",
      "curl",
      "-s",
      "-m",
      "5",
      ...curl,
    );
    return /hello from (v\d)/.exec(stdout)?.[1] ?? stdout;
  }

  beforeAll(async () => {
    bed = await Bed.start("t-hello");
    await deployMesh(bed.playground);
    await apply("hello.yaml");
    await bed.apply(`apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: hello}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec: {containers: [{name: client, image: debian, command: [sleep, infinity]}]}
`);
    for (const name of ["hello-v1", "hello-v2", "hello-v3", "nginx", "client"]) {
      await bed.kubectl("rollout", "status", `deployment/${name}`, "-n", "hello", "--timeout=30s");
    }
    await apply("waypoint.yaml");
    await bed.kubectl("wait", "-n", "hello", "--for=condition=Programmed", "gateway/waypoint", "--timeout=25s");
    await bed.kubectl("label", "service", "-n", "hello", "hello", "istio.io/use-waypoint=waypoint");
    await apply("canary-by-header.yaml");
  });
  afterAll(() => bed?.stop());

  it("sends those who ask for a version to it", async () => {
    await eventually(
      "v2 by header",
      async () => (await ask("-H", "version-app: v2", "http://nginx/")) === "v2",
      15_000,
    );
    for (let i = 0; i < 20; ++i) expect(await ask("-H", "version-app: v2", "http://nginx/")).toBe("v2");
    for (let i = 0; i < 20; ++i) expect(await ask("-H", "version-app: v3", "http://hello/")).toBe("v3");
  });

  it("shares everybody else out by weight", async () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 90; ++i) {
      const version = await ask("http://hello/");
      counts.set(version, (counts.get(version) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(["v1", "v2", "v3"]);
    // 90 requests at a third each: below 15 in one of a million runs.
    for (const count of counts.values()) expect(count).toBeGreaterThan(14);
  });
});
