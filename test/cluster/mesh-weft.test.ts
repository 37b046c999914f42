/** Every command of `weft` on a cluster of two nodes, by its output. It installs the mesh itself, and removes it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { run } from "../../playground/src/system/command.ts";
import { client, fetchScript, namespace, server } from "./apps.ts";
import { apply, inPod, kubectl, must, NODES, on, type Running, start, WEFT } from "./cluster.ts";

const WAIT_MS = 120_000;
const IMAGE = "docker.io/library/weft:test";

/** Holds a connection to each server, so that there is one to be seen. */
const HOLD = `
const net = require("node:net");
const open = (host) => net.connect(80, host).on("error", () => {}).on("close", () => setTimeout(open, 500, host));
for (const host of ["near", "far"]) open(host);
process.on("SIGTERM", () => process.exit(0));`;

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "weft-cluster-test-"));
  // So that servers are held by nobody when they end.
  await kubectl("delete", "namespace", "shop", "--ignore-not-found");
});

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await kubectl("delete", "namespace", "shop", "--ignore-not-found", "--wait=false");
});

/** Fails with what `weft` says when it does not succeed. */
function weft(...words: string[]): Promise<string> {
  return must(on("hub", [WEFT, ...words]));
}

function attempt(words: readonly string[], input = "") {
  return on("hub", [WEFT, ...words], input);
}

async function json<T>(...words: string[]): Promise<T> {
  return JSON.parse(await weft(...words, "-o", "json")) as T;
}

/** Runs `weft` until it has printed something; then Ctrl-C, unless it has ended by itself. */
async function interrupted(words: readonly string[], pattern: RegExp): Promise<Running> {
  const running = start("hub", [WEFT, ...words]);
  await eventually(`weft ${words.join(" ")} prints ${pattern}`, () => pattern.test(running.stdout), WAIT_MS);
  await running.interrupt();
  return running;
}

function withFile(name: string, object: object): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(object));
  return path;
}

function policy(name: string, spec: object): object {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { namespace: "shop", name },
    spec,
  };
}

describe("weft installs", () => {
  test("on a cluster that it says is fit for it", async () => {
    const tried = NODES.map(
      (node) => new RegExp(`^✔ node ${node} has everything that Weft uses \\(kernel \\S+, tried\\)$`, "m"),
    );
    const checks = await weft("check", "--image", IMAGE);
    for (const pattern of tried) expect(checks).toMatch(pattern);
    expect(checks.split("\n").filter((line) => !line.startsWith("✔"))).toEqual([""]);
    const pulled = await attempt(["check", "--image", "docker.io/library/nothing:test"]);
    expect(pulled.code).toBe(1);
    expect(pulled.stdout).toMatch(
      /^✘ node node1 does not run docker.io\/library\/nothing:test: \w+; push it to where nodes pull from/m,
    );
    expect(await kubectl("get", "pods", "-A", "-o", "name")).not.toContain("weft-check");
    const plan = await weft("install", "--image", IMAGE, "--dry-run");
    expect(plan).toContain("DaemonSet istio-system/weft-agent: created (dry run)\n");
    expect(await kubectl("get", "daemonsets", "-A", "-o", "name")).not.toContain("weft");
  });

  test("what an interrupted installation has left out, when it is given again", async () => {
    const first = await interrupted(["install", "--image", IMAGE], /ServiceAccount \S+: created\n/);
    expect(first.code).toBe(130);
    const half = await attempt(["verify", "--image", IMAGE]);
    expect(half.code).toBe(1);
    // A fast machine has made every object before it hears of the interruption; what is never done by then is waiting.
    expect(half.stdout).toMatch(/^✘ \S.* (is missing|pods are up to date and available)$/m);
    expect(half.stderr).toBe("weft install puts it right\n");
    const again = await weft("install", "--image", IMAGE);
    expect(again).toMatch(/ServiceAccount \S+: unchanged\n/);
    expect(again).toMatch(/^DaemonSet istio-system\/weft-agent: (created|unchanged)$/m);
    expect(again).toContain("✔ Weft is installed; label a namespace with istio.io/dataplane-mode=ambient\n");
    expect(await weft("verify", "--image", IMAGE)).toBe("✔ everything is there and runs\n");
  });

  test("nothing again when nothing is to do, and puts right what somebody has changed", async () => {
    await kubectl("-n", "istio-system", "set", "env", "daemonset/weft-agent", "CLUSTER_ID=other");
    expect((await attempt(["verify", "--image", IMAGE])).stdout).toContain("DaemonSet istio-system/weft-agent");
    const plan = await weft("upgrade", "--image", IMAGE, "--dry-run");
    expect(plan).toContain("DaemonSet istio-system/weft-agent: configured (dry run)\n");
    await weft("upgrade", "--image", IMAGE);
    const again = await weft("install", "--image", IMAGE);
    expect(again.split("\n").filter((line) => /: (created|configured)$/.test(line))).toEqual([]);
    expect(await weft("verify", "--image", IMAGE)).toBe("✔ everything is there and runs\n");
  });
});

describe("weft shows", () => {
  beforeAll(async () => {
    await apply(namespace("shop", { "istio.io/dataplane-mode": "ambient" }));
    await apply(
      ...server({ namespace: "shop", name: "far", node: "node2" }),
      ...server({ namespace: "shop", name: "near", node: "node1" }),
      ...client({ namespace: "shop", name: "web", node: "node1", script: HOLD }),
      policy("anyone", { rules: [{}] }),
    );
    await kubectl("-n", "shop", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s");
    await eventually(
      "all pods are captured",
      async () => !(await weft("analyze", "-n", "shop")).includes("IST0103"),
      WAIT_MS,
    );
    await eventually(
      "requests go through",
      async () => {
        const texts = await Promise.all(
          ["near", "far"].map((name) => inPod("shop", "web", fetchScript(`http://${name}/`))),
        );
        return texts.every(({ stdout }) => stdout.startsWith("200"));
      },
      WAIT_MS,
    );
  });

  test("a waypoint that it makes, and its conditions", async () => {
    expect(await weft("waypoint", "generate", "-n", "shop")).toMatch(
      /kind: Gateway\n[\s\S]*gatewayClassName: weft-waypoint/,
    );
    expect(await weft("waypoint", "list", "-n", "shop")).toBe("no waypoints in namespace shop\n");
    expect(await weft("waypoint", "apply", "-n", "shop", "--enroll-namespace", "--wait")).toBe(
      [
        "✔ waypoint shop/waypoint applied",
        "✔ waypoint shop/waypoint is ready",
        "✔ namespace shop labelled with istio.io/use-waypoint=waypoint\n",
      ].join("\n"),
    );
    expect(await weft("waypoint", "list", "-A")).toMatch(/\nshop +waypoint +default +service +True\n$/);
    expect(await weft("waypoint", "status", "-n", "shop")).toMatch(/shop +waypoint +Programmed +True +Programmed/);
  });

  test("who is connected, and in sync", async () => {
    await eventually("everybody in sync", async () => (await attempt(["status"])).code === 0, WAIT_MS);
    const table = await weft("status");
    expect(table).toMatch(/^NAME +KIND +NODE +SYNC +CONTROL +VERSION\n/);
    expect(table.match(/weft-agent-\S+\.istio-system +agent +node[12] +synced +weft-control-\S+ +\d/g)).toHaveLength(2);
    expect(table).toMatch(/waypoint-\S+\.shop +waypoint +node[12] +synced/);
    expect(await weft("proxy-status", "-o", "wide")).toMatch(/Address \d+\/\d+/);
  });

  test("what agents know, also as istioctl spells it", async () => {
    expect(await weft("workloads", "-n", "shop")).toMatch(/shop +web +10\.244\.1\.\d+ +node1 +\S+ +HBONE\n/);
    expect(await weft("zc", "workload", "--workload-namespace", "shop")).toBe(await weft("workloads", "-n", "shop"));
    expect(await weft("services", "-n", "shop", "-o", "wide")).toMatch(
      /shop +far +10\.96\.\S+ +waypoint +1\/1 +far\.shop\.svc\.cluster\.local +80:8080\n/,
    );
    expect(await weft("policies", "-n", "shop")).toMatch(/shop +anyone +Allow +Namespace\n$/);
    expect(await weft("certs")).toMatch(
      /spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web +Leaf +Available +true +\d+ +20\S+Z +20\S+Z +node1/,
    );
    const dump = JSON.parse(await weft("ztunnel-config", "all", "--node", "node2")) as object;
    expect(Object.keys(dump)).toEqual(expect.arrayContaining(["workloads", "services", "policies", "certificates"]));
    const pods = await json<{ name: string }[]>("workloads", "-n", "shop");
    expect(pods.map(({ name }) => name)).toEqual(expect.arrayContaining(["far", "near", "web"]));
  });

  test("open connections, and as they come and go", async () => {
    await eventually(
      "the client's",
      async () => /web\.shop +Outbound +web\S* +\S+/.test(await weft("connections", "-n", "shop")),
      WAIT_MS,
    );
    const watching = start("hub", [WEFT, "connections", "-n", "shop", "--watch", "--interval", "0.5"]);
    await eventually("the first look", () => /^\+ web\.shop/m.test(watching.stdout), WAIT_MS);
    await kubectl("-n", "shop", "exec", "web", "--", "sh", "-c", "kill 1");
    await eventually("an end", () => /^- web\.shop/m.test(watching.stdout), WAIT_MS);
    await watching.interrupt();
    expect(watching.code).toBe(0);
    await kubectl("-n", "shop", "wait", "--for=condition=Ready", "pod", "web", "--timeout=60s");
  });

  test("what a waypoint executes", async () => {
    const far = "far.shop.svc.cluster.local";
    const pc = (...words: string[]) => weft("proxy-config", ...words, "-n", "shop");
    await eventually("the service is bound", async () => (await pc("listeners")).includes(far), WAIT_MS);
    expect(await pc("listeners", "waypoint", "--port", "80")).toMatch(/\nmesh +shop\/far\S+ +10\.96\.\S+:80 +HTTP\n/);
    expect(await pc("routes", "waypoint", "--name", `${far}:80`)).toMatch(/ \/\* /);
    expect(await pc("clusters", "--fqdn", far)).toMatch(/\nfar\S+ +80 +- +outbound +EDS\n$/);
    expect(await pc("endpoints", "--port", "8080")).toMatch(
      /10\.244\.2\.\d+:8080 +HEALTHY +OK +inbound-vip\|80\|http\|far\.shop\.svc\.cluster\.local\n/,
    );
    expect(await pc("secrets")).toMatch(/spiffe:\/\/cluster\.local\/ns\/shop\/sa\/waypoint +Cert Chain +Available/);
    expect(await pc("bootstrap")).toContain("waypoint");
    expect(await pc("all")).not.toContain("PRIVATE KEY");
    expect(await pc("log", "waypoint", "--level", "debug")).toMatch(/waypoint-\S+ .*debug/);
  });

  test("traffic, as it is counted and as Prometheus would scrape it", async () => {
    await inPod("shop", "web", fetchScript("http://far/"));
    await eventually("it is counted", async () => /source +web\.shop +\S+ +[1-9]/.test(await weft("metrics")), WAIT_MS);
    expect(await weft("metrics", "--raw", "--node", "node2")).toMatch(/^# pod istio-system\/weft-agent-\S+\n# HELP /);
  });

  test("an admin page until Ctrl-C", async () => {
    const running = start("hub", [WEFT, "dashboard", "agent", "--node", "node2"]);
    await eventually("its address", () => /^http:\/\/127\.0\.0\.1:\d+\/\n/.test(running.stdout), WAIT_MS);
    expect(await must(on("hub", ["curl", "-s", running.stdout.trim()]))).toMatch(/^weft-agent\n/);
    await running.interrupt();
    expect(running.code).toBe(0);
  });

  test("logs, and log levels that it sets", async () => {
    expect(await weft("logs", "control", "--grep", "xds client connected", "--tail", "all")).toContain('{"level":');
    expect(await weft("logs", "agents", "--tail", "1")).toMatch(/^\[weft-agent-\S+\] .+\n\[weft-agent-\S+\] .+\n$/);
    expect(await weft("log-level", "agents", "--node", "node1", "--level", "info,access:debug")).toMatch(
      /weft-agent-\S+ +node1 +\S*access=debug/,
    );
    expect(await weft("zc", "log", "--reset")).not.toContain("debug");
  });

  test("versions of everything", async () => {
    expect(await weft("version")).toMatch(/client +(\S+) +1\ncontrol plane +\1 +1\nagent +\1 +2\nwaypoint +\1 +1\n$/);
  });

  test("completion for shells, which knows the cluster's names", async () => {
    for (const shell of ["bash", "zsh", "fish"]) expect(await weft("completion", shell)).toContain("weft");
  });
});

describe("weft explains", () => {
  const shop = ["-n", "shop"];

  test("what affects a pod and a Service", async () => {
    const pod = await weft("describe", "pod", "web", ...shop);
    expect(pod).toMatch(/Mesh: +in the mesh, captured by its node's agent/);
    expect(pod).toMatch(/^AuthorizationPolicy +shop\/anyone /m);
    expect(await weft("describe", "service", "far", ...shop)).toMatch(/^Gateway +shop\/waypoint +bound to waypoint/m);
  });

  test("the ways of connections, hop by hop", async () => {
    expect(await weft("trace", "web", "far:80", ...shop)).toMatch(/^P3 \(by way of a waypoint\) .*: reached\n/);
    const path = async (...words: string[]) => (await json<{ path: string }[]>("trace", ...words, ...shop))[0]?.path;
    expect(await path("web", "pod/near:8080")).toBe("P1");
    expect(await path("web", "pod/far:8080")).toBe("P2");
  });

  test("which policy decides, before and after it is applied", async () => {
    const denial = policy("no-delete", {
      targetRefs: [{ kind: "Service", group: "", name: "far" }],
      action: "DENY",
      rules: [{ to: [{ operation: { methods: ["DELETE"] } }] }],
    });
    const file = withFile("no-delete.json", denial);
    const ask = ["authz", "explain", "web", "far:80", "DELETE", "/", ...shop];
    expect((await attempt(ask)).code).toBe(0);
    const preview = await attempt([...ask, "-f", file]);
    expect(preview.code).toBe(4);
    expect(preview.stdout).toMatch(/^They differ: .*: reached → denied \(by shop\/no-delete\)$/m);
    expect(await weft("authz", "check", "svc/far", "-f", file, ...shop)).toMatch(/^added +L7 +DENY +shop\/no-delete /m);
    await apply(denial);
    const status = async () => (await inPod("shop", "web", fetchScript("http://far/", "DELETE"))).stdout;
    await eventually("it is in force", async () => (await status()).startsWith("403"), WAIT_MS);
    const after = await attempt(ask);
    expect(after.code).toBe(4);
    expect(after.stdout).toContain(
      "waypoint shop/waypoint: denied, because DENY policy shop/no-delete, rule #0 matches",
    );
  });

  test("what is wrong with resources, in the cluster and as a file would have it", async () => {
    expect((await attempt(["analyze", ...shop, "--output-threshold", "Warning"])).code).toBe(0);
    const route = [{ destination: { host: "near", subset: "v9" } }];
    const file = withFile("route.json", {
      apiVersion: "networking.istio.io/v1",
      kind: "VirtualService",
      metadata: { namespace: "shop", name: "extra" },
      spec: { hosts: ["near"], http: [{ route }] },
    });
    const found = await attempt(["analyze", file, ...shop]);
    expect(found.code).toBe(79);
    expect(found.stdout).toContain("Error [IST0101] (VirtualService shop/extra ");
  });
});

describe("weft collects", () => {
  test("a report of every part, with every kind of the mesh's objects and no secret", async () => {
    await apply({
      apiVersion: "networking.istio.io/v1alpha3",
      kind: "EnvoyFilter",
      metadata: { namespace: "shop", name: "seen" },
      spec: { configPatches: [] },
    });
    const file = join(folder, "report.tar.gz");
    expect(await weft("bug-report", "--output-file", file)).toBe(`${file}\n`);
    const names = (await run("tar", ["-tzf", file])).split("\n");
    const has = (part: string) => names.some((name) => name.endsWith(part));
    for (const part of ["config_dump.json", "clusters.txt", "current.log", "debug/syncz.json", "cluster/nodes.json"])
      expect([part, has(part)]).toEqual([part, true]);
    const text = await run("tar", ["-xzOf", file]);
    expect(text).toMatch(/"name": ?"seen"/);
    for (const secret of ["PRIVATE KEY", "eyJhbG"]) expect(text).not.toContain(secret);
  });
});

describe("weft removes", () => {
  test("waypoints", async () => {
    expect(await weft("waypoint", "delete", "--all", "-n", "shop")).toBe("waypoint shop/waypoint deleted\n");
    await kubectl("label", "namespace", "shop", "istio.io/use-waypoint-");
    expect(await weft("waypoint", "list", "-A")).toBe("no waypoints anywhere\n");
  });

  test("itself when it is half there, and leaves nothing on the nodes", async () => {
    expect(await weft("uninstall", "--dry-run")).toContain("DaemonSet istio-system/weft-agent: deleted if it is there");
    const first = await interrupted(["uninstall"], /DaemonSet istio-system\/weft-agent: deleted\n/);
    expect(first.code).toBe(130);
    expect(await weft("uninstall")).toContain("✔ Weft is gone\n");
    for (const node of NODES) {
      const pins = (await must(on(node, ["ls", "/sys/fs/bpf"]))).split("\n");
      expect(pins.filter((name) => name !== "" && !name.endsWith(".debug"))).toEqual([]);
    }
    expect((await inPod("shop", "web", fetchScript("http://far/"))).stdout).toMatch(/^200 /);
    expect(await weft("uninstall")).toBe("✔ Weft is gone\n");
  });
});
