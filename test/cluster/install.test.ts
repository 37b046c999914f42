/** `weft check`, `install`, `upgrade`, `verify` and `uninstall` against a real API server. Nothing runs there: pods are never ready. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KubeClient } from "#lib/kube/client.ts";
import { DEPLOYMENTS, NODES, type ResourceType } from "#lib/kube/types.ts";
import { type WeftResult, weft } from "../helpers/weft.ts";
import { ApiServer, kind } from "./api-server.ts";
import { apply, namespace } from "./fixtures.ts";

const SYSTEM = "istio-system";
const DAEMON_SETS = kind("apps", "DaemonSet", "daemonsets");

let api: ApiServer;
let admin: KubeClient;

beforeAll(async () => {
  api = await ApiServer.start();
  admin = api.client();
  await setNode("6.18.0", "v1.36.0");
}, 300_000);

afterAll(async () => {
  admin?.close();
  await api?.stop();
});

function run(...words: string[]): Promise<WeftResult> {
  return weft(words, { kubeconfig: api.kubeconfig });
}

/** The one node of this cluster says that it runs this. */
async function setNode(kernelVersion: string, kubeletVersion: string): Promise<void> {
  await apply(api, { apiVersion: "v1", kind: "Node", metadata: { name: "node-1" } });
  const status = { nodeInfo: { kernelVersion, kubeletVersion, operatingSystem: "linux" } };
  await admin.patch(
    NODES as ResourceType<never>,
    { name: "node-1" },
    "strategic",
    { status },
    { subresource: "status" },
  );
}

async function ourObjects(): Promise<string> {
  const kinds = "deployments,daemonsets,serviceaccounts,clusterroles,clusterrolebindings,services,networkpolicies";
  const { stdout } = await api.kubectl(["get", kinds, "-A", "-l", "app.kubernetes.io/part-of=weft", "-o", "name"]);
  return stdout;
}

async function missing(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => false,
    (error: { status?: number }) => error.status === 404,
  );
}

describe("before anything is changed", () => {
  test("a cluster that will do is said to", async () => {
    expect(await run("check")).toMatchObject({ code: 0, stdout: "✔ node node-1 runs kernel 6.18.0\n" });
  });

  test("an old kernel is named with what it lacks, and keeps the installation from beginning", async () => {
    await setNode("5.10.0-28-amd64", "v1.36.0");
    const { code, stdout } = await run("check");
    expect(code).toBe(1);
    expect(stdout.split("\n")).toEqual([
      "✘ node node-1 runs kernel 5.10.0-28-amd64, which lacks cookies of sockets' network namespaces: pods cannot be captured; use kernel 5.14 or later",
      "✘ node node-1 runs kernel 5.10.0-28-amd64, which lacks cookies of network namespaces in sockops programs: pods cannot be captured; use kernel 5.15 or later",
      "! node node-1 runs kernel 5.10.0-28-amd64, which lacks bpf_set_retval: a connection that is refused says EPERM, not ECONNREFUSED; use kernel 5.18 or later",
      "! node node-1 runs kernel 5.10.0-28-amd64, which lacks tcx links: packets of direct connections pass the node's network; use kernel 6.6 or later",
      "",
    ]);
    expect((await run("install")).code).toBe(1);
    expect(await ourObjects()).toBe("");
    await setNode("6.18.0", "v1.36.0");
  });

  test("an old Kubernetes is named", async () => {
    await setNode("6.18.0", "v1.29.4");
    expect((await run("install")).stderr).toBe(
      "weft: node node-1 runs Kubernetes v1.29.4; upgrade it to 1.30 or later\n",
    );
    await setNode("6.18.0", "v1.36.0");
  });

  test.each([
    [
      "Istio, whatever its revision",
      ["deployments", "istiod-canary", { app: "istiod" }],
      "Istio is installed (deployment meshes/istiod-canary); save its resources, then `istioctl uninstall --purge` (docs/guides/migrate-from-istio.md)",
    ],
    [
      "Istio's ambient node proxy",
      ["daemonsets", "ztunnel", { app: "ztunnel" }],
      "Istio is installed (daemonset meshes/ztunnel); save its resources, then `istioctl uninstall --purge` (docs/guides/migrate-from-istio.md)",
    ],
    [
      "Linkerd",
      ["deployments", "linkerd-destination", { "linkerd.io/control-plane-component": "destination" }],
      "Linkerd is installed (deployment meshes/linkerd-destination); remove it with `linkerd uninstall | kubectl delete -f -`",
    ],
    [
      "Consul",
      ["deployments", "injector", { app: "consul", component: "connect-injector" }],
      "Consul is installed (deployment meshes/injector); remove it with `helm uninstall consul -n consul`",
    ],
    [
      "Kuma",
      ["deployments", "kuma-control-plane", { app: "kuma-control-plane" }],
      "Kuma is installed (deployment meshes/kuma-control-plane); remove it with `kumactl install control-plane | kubectl delete -f -`",
    ],
  ] as const)("another mesh is named, with how to remove it: %s", async (_mesh, [plural, name, labels], told) => {
    const type = kind("apps", plural === "deployments" ? "Deployment" : "DaemonSet", plural);
    const metadata = { namespace: "meshes", name, labels };
    const template = { metadata: { labels }, spec: { containers: [{ name: "a", image: "a" }] } };
    const spec = { selector: { matchLabels: labels }, template };
    await apply(api, namespace("meshes"), { apiVersion: "apps/v1", kind: type.kind, metadata, spec });
    expect(await run("install")).toMatchObject({ code: 1, stdout: "", stderr: `weft: ${told}\n` });
    await admin.delete(type, metadata);
  });

  test("Cilium's own mutual authentication is named; Cilium is not", async () => {
    const metadata = { namespace: "kube-system", name: "cilium-config" };
    const config = (value: string) => {
      const data = { "mesh-auth-mutual-enabled": value };
      return apply(api, { apiVersion: "v1", kind: "ConfigMap", metadata, data });
    };
    await config("false");
    expect((await run("check")).code).toBe(0);
    await config("true");
    expect((await run("install")).stderr).toBe(
      "weft: Cilium's mutual authentication is on; set authentication.mutual.spire.enabled=false in its chart\n",
    );
    await config("false");
  });

  test("sidecars that another mesh has left behind are named, and keep nothing from being installed", async () => {
    const metadata = { namespace: "meshes", name: "old-1", annotations: { "sidecar.istio.io/status": "{}" } };
    const spec = { containers: [{ name: "a", image: "a" }], automountServiceAccountToken: false };
    await apply(
      api,
      namespace("meshes"),
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace: "meshes", name: "default" } },
      { apiVersion: "v1", kind: "Pod", metadata, spec },
    );
    const { code, stdout } = await run("check");
    expect([code, stdout.split("\n").at(-2)]).toEqual([
      0,
      "! 1 pods still have Istio's sidecars, such as meshes/old-1; take the injection labels away and restart them with `kubectl rollout restart`",
    ]);
    await api.kubectl(["-n", "meshes", "delete", "pod", "old-1", "--force"]);
  });

  test("somebody who may not install is told so", async () => {
    await apply(api, namespace("shop"), {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { namespace: "shop", name: "nobody" },
    });
    const kubeconfig = api.kubeconfigOf("nobody", await api.token({ namespace: "shop", name: "nobody" }));
    const { code, stderr } = await weft(["install"], { kubeconfig });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^weft: you may not create customresourcedefinitions\.apiextensions\.k8s\.io, .*; use an account that is cluster-admin\n$/,
    );
    expect(await ourObjects()).toBe("");
  });

  test("no cluster and a wrong one are named", async () => {
    expect(await weft(["install"])).toMatchObject({ code: 3 });
    const nowhere = api.kubeconfigOf("nowhere", "token", 1);
    expect(await weft(["install"], { kubeconfig: nowhere })).toMatchObject({ code: 3, stdout: "" });
    const other = await run("install", "--context", "nope");
    expect([other.code, other.stderr]).toEqual([
      3,
      expect.stringMatching(/^weft: .*: no entry "nope" in contexts; there are: .*\n$/),
    ]);
  });

  test("definitions that are missing are named, with how to get them", async () => {
    const { code, stdout, stderr } = await run("waypoint", "apply", "-n", "shop");
    const told = "weft: there are no Gateways here; install the CRDs of the Gateway API, with weft install\n";
    expect([code, stdout, stderr]).toEqual([1, "", told]);
  });
});

describe("installing", () => {
  test("can be looked at first", async () => {
    const { code, stdout } = await run("install", "--dry-run");
    expect(code).toBe(0);
    expect(stdout).toContain("DaemonSet istio-system/weft-agent: created (dry run)");
    expect(await ourObjects()).toBe("");
    expect(await run("upgrade")).toMatchObject({
      code: 1,
      stderr: "weft: Weft is not installed in this cluster; use weft install\n",
    });
  });

  test("is finished by giving it again when it was interrupted", async () => {
    const stop = new AbortController();
    const first = await weft(["install"], {
      kubeconfig: api.kubeconfig,
      signal: stop.signal,
      onOutput: (text) => {
        if (/^CustomResourceDefinition \S+: created$/m.test(text)) stop.abort();
      },
    });
    expect(first.code).toBe(130);
    expect(await ourObjects()).not.toContain("daemonset.apps/weft-agent");
    const half = await run("verify");
    expect([half.code, half.stderr]).toEqual([1, "weft install puts it right\n"]);
    expect(half.stdout).toContain("✘ DaemonSet istio-system/weft-agent is missing\n");
  });

  test("or undone: what is half there goes", async () => {
    await run("install", "--timeout", "1");
    await run("uninstall");
    expect(await ourObjects()).toBe("");
  });

  test("says what does not come up, and goes on when it is given again", async () => {
    const first = await run("install", "--image", "registry.test/weft:9", "--timeout", "1");
    expect(first.code).toBe(1);
    expect(first.stderr).toContain("Deployment istio-system/weft-control: 0 of 1 pods are up to date and available");
    const { spec } = (await admin.get(DAEMON_SETS, { namespace: SYSTEM, name: "weft-agent" })) as unknown as {
      spec: { template: { spec: { containers: { image: string }[] } } };
    };
    expect(spec.template.spec.containers[0]?.image).toBe("registry.test/weft:9");
    // As their controllers would say.
    const pods = { replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1, observedGeneration: 100 };
    await admin.patch(
      DEPLOYMENTS,
      { namespace: SYSTEM, name: "weft-control" },
      "merge",
      { status: pods },
      { subresource: "status" },
    );
    const agents = {
      currentNumberScheduled: 1,
      desiredNumberScheduled: 1,
      numberMisscheduled: 0,
      numberReady: 1,
      numberAvailable: 1,
      updatedNumberScheduled: 1,
      observedGeneration: 100,
    };
    await admin.patch(
      DAEMON_SETS,
      { namespace: SYSTEM, name: "weft-agent" },
      "merge",
      { status: agents },
      { subresource: "status" },
    );
    const again = await run("install", "--image", "registry.test/weft:9");
    expect(again).toMatchObject({ code: 0, stderr: "" });
    expect(
      again.stdout.split("\n").filter((line) => line.endsWith(": created") || line.endsWith(": configured")),
    ).toEqual([]);
    expect(await run("verify", "--image", "registry.test/weft:9")).toMatchObject({ code: 0 });
  });

  test("is verified: what somebody has changed is named, and an upgrade puts it right", async () => {
    await api.kubectl(["-n", SYSTEM, "set", "image", "deployment/weft-control", "control=other:1"]);
    const { code, stdout } = await run("verify", "--image", "registry.test/weft:9");
    expect(code).toBe(1);
    expect(stdout).toContain("Deployment istio-system/weft-control was changed");
    const plan = await run("upgrade", "--image", "registry.test/weft:9", "--dry-run");
    expect(plan.stdout).toContain("Deployment istio-system/weft-control: configured (dry run)");
  });

  test("is undone by uninstall, which may be given again; definitions stay until asked for", async () => {
    expect((await run("uninstall")).stdout).toContain("DaemonSet istio-system/weft-agent: deleted");
    expect(await ourObjects()).toBe("");
    expect(await run("uninstall")).toMatchObject({ code: 0, stdout: "✔ Weft is gone\n" });
    const policies = { name: "authorizationpolicies.security.istio.io" };
    const definitions = kind("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", false);
    expect(await missing(admin.get(definitions, policies))).toBe(false);
    expect((await run("uninstall", "--definitions")).code).toBe(0);
    await api.kubectl(["wait", "--for=delete", `crd/${policies.name}`, "--timeout=30s"]);
    expect(await missing(admin.get(definitions, policies))).toBe(true);
  });

  test("with Helm is Helm's to change", async () => {
    const annotations = { "meta.helm.sh/release-name": "weft" };
    const template = { metadata: { labels: { app: "x" } }, spec: { containers: [{ name: "a", image: "a" }] } };
    const metadata = { namespace: SYSTEM, name: "weft-control", annotations };
    await apply(api, {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: { selector: { matchLabels: { app: "x" } }, template },
    });
    const told =
      "weft: Weft was installed with Helm (release weft); use helm upgrade or helm uninstall -n istio-system\n";
    expect(await run("install")).toMatchObject({ code: 1, stderr: told });
    expect(await run("uninstall")).toMatchObject({ code: 1, stderr: told });
  });
});
