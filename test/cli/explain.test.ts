/** What `weft` says would happen is what happens: analyze, describe, trace and authz against a playground. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { Way } from "../../cli/src/explain/trace.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { weft } from "../helpers/weft.ts";
import { weftHere } from "../helpers/weft-here.ts";
import { Bed } from "../playground/bed.ts";

const HELLO = join(import.meta.dirname, "../../examples/hello");
const CLIENT = `apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: hello}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec: {containers: [{name: client, image: debian, command: [sleep, infinity]}]}
`;
const STRICT = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: hello}
spec: {mtls: {mode: STRICT}}
`;
const NO_CLIENT = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-client, namespace: hello}
spec:
  selector: {matchLabels: {app: nginx}}
  action: DENY
  rules: [{from: [{source: {namespaces: [hello]}}]}]
`;

/** What is being done, where there is no terminal. */
const PROGRESS = "reading the cluster's objects\n";

describe("weft says beforehand", () => {
  let bed: Bed;
  let folder: string;
  const apply = (file: string) => bed.kubectl("apply", "-f", join(HELLO, file));
  const say = (...args: readonly string[]) =>
    weftHere([...args, "-n", "hello"], { kubeconfig: bed.playground.kubeconfig });
  const ways = async (...args: readonly string[]): Promise<Way[]> =>
    JSON.parse((await say(...args, "-o", "json")).stdout);
  /** The status that a request of the client gets; 000 when the connection ends without one. */
  async function status(...curl: readonly string[]): Promise<string> {
    const words = [
      "-n",
      "hello",
      "deployment/client",
      "--",
      "curl",
      "-s",
      "-m",
      "5",
      "-o",
      "/dev/null",
      "-w",
      "%{http_code}",
    ];
    return (await bed.try("exec", ...words, ...curl)).stdout;
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "weft-explain-"));
    bed = await Bed.start("t-explain");
    await deployMesh(bed.playground);
    await apply("hello.yaml");
    await bed.apply(CLIENT);
    for (const name of ["hello-v1", "nginx", "client"]) {
      await bed.kubectl("rollout", "status", `deployment/${name}`, "-n", "hello", "--timeout=60s");
    }
    await apply("waypoint.yaml");
    await bed.kubectl("wait", "-n", "hello", "--for=condition=Programmed", "gateway/waypoint", "--timeout=60s");
    await bed.kubectl("label", "service", "-n", "hello", "hello", "istio.io/use-waypoint=waypoint");
    await apply("canary-by-header.yaml");
    await eventually(
      "all pods are captured",
      async () => (await say("analyze")).stdout.includes("IST0103") === false,
      30_000,
    );
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true });
    await bed?.stop();
  });

  it("which way a connection takes, node by node", async () => {
    const [direct] = await ways("trace", "client", "nginx");
    const nodes = JSON.parse(await bed.kubectl("get", "pods", "-n", "hello", "-o", "json")).items as {
      metadata: { name: string };
      spec: { nodeName: string };
    }[];
    const nodeOf = (app: string) => nodes.find(({ metadata }) => metadata.name.startsWith(`${app}-`))?.spec.nodeName;
    expect([direct?.path, direct?.outcome]).toEqual([nodeOf("client") === nodeOf("nginx") ? "P1" : "P2", "reached"]);
    const [behind] = await ways("trace", "client", "hello:80");
    expect([behind?.path, behind?.outcome]).toEqual(["P3", "reached"]);
    expect(behind?.checkpoints.map(({ at }) => at)[0]).toBe("waypoint hello/waypoint");
    const { code, stdout, stderr } = await weft(["trace", "client", "hello:80", "-n", "hello"], {
      kubeconfig: bed.playground.kubeconfig,
    });
    expect([code, stderr]).toEqual([0, PROGRESS]);
    expect(stdout).toMatch(
      /^P3 \(by way of a waypoint\) to service hello\.hello\.svc\.cluster\.local, mutual TLS, then mutual TLS: reached\n/,
    );
    expect(stdout).toContain("opens a tunnel (HBONE, 15008) to waypoint hello/waypoint");
  });

  it("what a waypoint allows, and then allows just that", async () => {
    const file = join(HELLO, "no-delete.yaml");
    const preview = await say("authz", "explain", "client", "hello:80", "DELETE", "/", "-f", file);
    expect(preview.code).toBe(4);
    expect(preview.stdout).toMatch(/^They differ: .*: reached → denied \(by hello\/no-delete\)$/m);
    expect(await status("-X", "DELETE", "http://hello/")).not.toBe("403");
    await bed.kubectl("apply", "-f", file);
    await eventually(
      "the policy is in force",
      async () => (await status("-X", "DELETE", "http://hello/")) === "403",
      30_000,
    );
    const after = await say("authz", "explain", "client", "hello:80", "DELETE", "/");
    expect([after.code, after.stderr]).toEqual([4, PROGRESS]);
    expect(after.stdout).toContain(
      "waypoint hello/waypoint: denied, because DENY policy hello/no-delete, rule #0 matches",
    );
    expect((await say("authz", "explain", "client", "hello:80", "GET", "/")).code).toBe(0);
    expect(await status("http://hello/")).toBe("200");
  });

  it("what an agent allows, and then allows just that", async () => {
    const file = join(folder, "no-client.yaml");
    writeFileSync(file, NO_CLIENT);
    expect((await say("authz", "explain", "client", "nginx")).code).toBe(0);
    expect(await status("http://nginx/")).toBe("200");
    expect((await say("authz", "explain", "client", "nginx", "-f", file)).code).toBe(4);
    const check = await say("authz", "check", "svc/nginx", "-f", file);
    expect(check.stdout).toMatch(/^added +L4 +DENY +hello\/no-client +selected workloads +1/m);
    await bed.kubectl("apply", "-f", file);
    await eventually("the policy is in force", async () => (await status("http://nginx/")) === "000", 30_000);
    expect((await say("authz", "explain", "client", "nginx")).stdout).toContain(
      "DENY policy hello/no-client, rule #0 matches",
    );
    await bed.kubectl("delete", "-f", file);
  });

  it("who is let in without an identity", async () => {
    const [open] = await ways("trace", "192.0.2.7", "pod/nginx:80");
    expect([open?.path, open?.outcome]).toEqual(["P5", "reached"]);
    await bed.apply(STRICT);
    const [closed] = await ways("trace", "192.0.2.7", "pod/nginx:80");
    expect([closed?.path, closed?.outcome]).toEqual(["P5", "denied"]);
    const { stdout } = await say("describe", "pod", "nginx");
    expect(stdout).toMatch(/Mutual TLS: +STRICT/);
    expect(stdout).toMatch(/^PeerAuthentication +hello\/default +sets mode STRICT for the namespace$/m);
  });

  it("what affects a pod and a Service, also as istioctl spells it", async () => {
    const { code, stdout } = await say("x", "describe", "service", "hello");
    expect(code).toBe(0);
    expect(stdout).toContain("Service hello/hello\n");
    expect(stdout).toMatch(/^Gateway +hello\/waypoint +bound to waypoint hello\/waypoint$/m);
    expect(stdout).toMatch(
      /^VirtualService +hello\/hello +.*version-app: exact v2.* → hello\.hello\.svc\.cluster\.local/m,
    );
    expect(stdout).toMatch(/^DestinationRule +hello\/hello +.*subset v1 \(version=v1\) has 1 workload/m);
    expect(stdout).toMatch(
      /^AuthorizationPolicy +hello\/no-delete +DENY at the waypoint, by Service hello\/hello: to methods DELETE$/m,
    );
    const pod = await say("describe", "pod", "hello-v1");
    expect(pod.stdout).toMatch(/Mesh: +in the mesh, captured by its node's agent/);
    expect(pod.stdout).toMatch(
      /^Service +hello\/hello +sends traffic for hello\.hello\.svc\.cluster\.local here .*by way of waypoint hello\/waypoint$/m,
    );
  });

  it("what is wrong, in the cluster and with a file as if it were applied", async () => {
    expect(await say("analyze", "--output-threshold", "Warning")).toMatchObject({ code: 0 });
    const file = join(folder, "route.yaml");
    writeFileSync(
      file,
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: extra}\nspec:\n  hosts: [nginx]\n  http: [{route: [{destination: {host: nginx, subset: v9}}]}]\n",
    );
    const found = await say("analyze", file);
    expect(found.code).toBe(79);
    expect(found.stdout).toContain(
      `Error [IST0101] (VirtualService hello/extra ${file}:6) Referenced host+subset in destinationrule not found: "nginx.hello.svc.cluster.local+v9"\n`,
    );
  });

  it("who is not there", async () => {
    const unknown = await say("trace", "nobody", "hello:80");
    expect([unknown.code, unknown.stdout]).toEqual([1, ""]);
    expect(unknown.stderr.replace(PROGRESS, "")).toMatch(
      /^weft: there is no pod "nobody" in namespace hello; pods there: /,
    );
  });
});
