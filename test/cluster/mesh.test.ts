/** Weft on a cluster of two nodes, installed with Helm as its users do. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { client, fetchScript, namespace, server } from "./apps.ts";
import { apply, helm, inPod, install, kubectl, must, NODES, on } from "./cluster.ts";

const WAIT_MS = 120_000;

beforeAll(async () => {
  await install();
  await apply(namespace("shop", { "istio.io/dataplane-mode": "ambient" }), namespace("outside"));
  await apply(
    ...server({ namespace: "shop", name: "far", node: "node2" }),
    ...server({ namespace: "shop", name: "near", node: "node1" }),
    ...client({ namespace: "shop", name: "web", node: "node1" }),
    ...client({ namespace: "outside", name: "stranger", node: "node1" }),
  );
  await kubectl("-n", "shop", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s");
  await kubectl("-n", "outside", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s");
  await eventually(
    "all pods are captured",
    async () => (await annotations()).split(" ").filter((value) => value === "enabled").length === 3,
    WAIT_MS,
  );
}, 600_000);

afterAll(async () => {
  await kubectl("delete", "namespace", "shop", "outside", "--ignore-not-found", "--wait=false");
});

function annotations(): Promise<string> {
  return kubectl(
    "get",
    "pods",
    "-A",
    "-o",
    "jsonpath={.items[*].metadata.annotations.ambient\\.istio\\.io/redirection}",
  );
}

async function ask(url: string, from = "shop/web", method = "GET"): Promise<string> {
  const [namespace = "", pod = ""] = from.split("/");
  return (await must(inPod(namespace, pod, fetchScript(url, method)))).trim();
}

/** What a node's agent has counted of connections from `shop/web` to a service, by how they were secured. */
async function connections(node: string, destination: string, policy: string): Promise<number> {
  const page = await must(on(node, ["curl", "-s", "http://127.0.0.1:15020/metrics"]));
  const lines = page
    .split("\n")
    .filter(
      (line) =>
        line.startsWith("istio_tcp_connections_opened_total{") &&
        line.includes(`destination_service_name="${destination}"`) &&
        line.includes(`connection_security_policy="${policy}"`),
    );
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function address(pod: string): Promise<string> {
  return kubectl("-n", "shop", "get", "pod", pod, "-o", "jsonpath={.status.podIP}");
}

describe("pods of two nodes", () => {
  test("talk over HBONE, and the server sees the client's address", async () => {
    expect(await ask("http://far.shop/")).toBe(`200 ::ffff:${await address("web")}`);
    await eventually(
      "a record at the destination",
      async () => (await connections("node2", "far", "mutual_tls")) > 0,
      WAIT_MS,
    );
  });
});

describe("pods of one node", () => {
  test("talk directly once their route is known", async () => {
    await eventually(
      "a direct connection",
      async () => {
        expect(await ask("http://near.shop/")).toBe(`200 ::ffff:${await address("web")}`);
        return (await connections("node1", "near", "kernel_direct")) > 0;
      },
      WAIT_MS,
    );
  });
});

describe("policies", () => {
  test("STRICT keeps strangers out; probes and members come through", async () => {
    expect(await ask("http://near.shop/", "outside/stranger")).toMatch(/^200 /);
    await apply(mtls("STRICT"));
    try {
      await eventually(
        "the stranger is refused",
        async () => (await ask("http://near.shop/", "outside/stranger")).startsWith("failed"),
        WAIT_MS,
      );
      expect(await ask("http://far.shop/", "outside/stranger")).toMatch(/^failed/);
      expect(await ask("http://near.shop/")).toMatch(/^200 /);
      expect(await ask("http://far.shop/")).toMatch(/^200 /);
      // Several probes later, each a second after the one before.
      const since = Date.now();
      await eventually("probes have gone on", () => Date.now() - since > 5_000, WAIT_MS);
      await kubectl("-n", "shop", "wait", "--for=condition=Ready", "pod", "far", "near", "--timeout=1s");
    } finally {
      await apply(mtls("PERMISSIVE"));
    }
  });

  test.each(["far", "near"])("an AuthorizationPolicy refuses an account at %s", async (name) => {
    const rule = { from: [{ source: { principals: ["cluster.local/ns/shop/sa/web"] } }] };
    const selector = { matchLabels: { app: name } };
    await apply(policy("no-web", { selector, action: "DENY", rules: [rule] }));
    await eventually("refused", async () => (await ask(`http://${name}.shop/`)).startsWith("failed"), WAIT_MS);
    await kubectl("-n", "shop", "delete", "authorizationpolicy", "no-web");
    await eventually("allowed again", async () => (await ask(`http://${name}.shop/`)).startsWith("200"), WAIT_MS);
  });
});

describe("a waypoint", () => {
  test("comes up for a Gateway, and decides by method", async () => {
    await apply({
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "Gateway",
      metadata: { namespace: "shop", name: "waypoint", labels: { "istio.io/waypoint-for": "service" } },
      spec: { gatewayClassName: "weft-waypoint", listeners: [{ name: "mesh", port: 15_008, protocol: "HBONE" }] },
    });
    await kubectl("-n", "shop", "wait", "--for=condition=Programmed", "gateway/waypoint", "--timeout=120s");
    await kubectl("-n", "shop", "label", "service", "far", "istio.io/use-waypoint=waypoint");
    const targetRefs = [{ kind: "Service", group: "", name: "far" }];
    await apply(
      policy("read-only", { targetRefs, action: "ALLOW", rules: [{ to: [{ operation: { methods: ["GET"] } }] }] }),
    );
    await eventually(
      "DELETE is refused",
      async () => (await ask("http://far.shop/", "shop/web", "DELETE")).startsWith("403"),
      WAIT_MS,
    );
    expect(await ask("http://far.shop/")).toMatch(/^200 /);
    await kubectl("-n", "shop", "delete", "gateway", "waypoint");
    await kubectl("-n", "shop", "label", "service", "far", "istio.io/use-waypoint-");
    await kubectl("-n", "shop", "delete", "authorizationpolicy", "read-only");
  });
});

describe("an update of the agents under load", () => {
  test("ends no direct connection, and lets tunnels begin again", async () => {
    const script = (host: string) => `
      const { Agent, get } = require("node:http");
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const end = Date.now() + 45000;
      let sockets = new Set(), ok = 0, failed = 0;
      const next = () => Date.now() > end
        ? console.log(JSON.stringify({ ok, failed, connections: sockets.size })) || process.exit(0)
        : get({ host: "${host}.shop", agent }, (answer) => {
            answer.on("end", () => { ok++; setTimeout(next, 5); }).resume();
          }).on("socket", (socket) => sockets.add(socket)).on("error", () => { failed++; setTimeout(next, 50); });
      next();`;
    // So that the next connection is direct as well.
    const before = await connections("node1", "near", "kernel_direct");
    await eventually(
      "a direct connection",
      async () =>
        (await ask("http://near.shop/")) !== "" && (await connections("node1", "near", "kernel_direct")) > before,
      WAIT_MS,
    );
    const loads = Promise.all(["near", "far"].map((name) => must(inPod("shop", "web", script(name)))));
    await kubectl("-n", "istio-system", "rollout", "restart", "daemonset/weft-agent");
    await kubectl("-n", "istio-system", "rollout", "status", "daemonset/weft-agent", "--timeout=120s");
    const [near, far] = (await loads).map(
      (text) => JSON.parse(text) as { ok: number; failed: number; connections: number },
    );
    process.stdout.write(`under an update: direct ${JSON.stringify(near)}, tunnelled ${JSON.stringify(far)}\n`);
    expect(near).toMatchObject({ failed: 0, connections: 1 });
    expect(far?.ok).toBeGreaterThan(100);
    expect(await ask("http://far.shop/")).toMatch(/^200 /);
  });
});

describe("uninstalling", () => {
  test("leaves no program, map, pin or annotation, and pods that still talk", async () => {
    await helm("uninstall", "weft");
    await kubectl("-n", "istio-system", "wait", "--for=delete", "pod", "--all", "--timeout=120s");
    for (const node of NODES) {
      // The two are the file system's own.
      const pins = (await must(on(node, ["ls", "/sys/fs/bpf"]))).split("\n");
      expect(pins.filter((name) => name !== "" && !name.endsWith(".debug"))).toEqual([]);
      const attached = await must(on(node, ["bpftool", "cgroup", "tree", "/sys/fs/cgroup/unified"]));
      const below = attached.split("\n").filter((line) => line.includes(`weft-cluster-${node}/`));
      expect(below).toEqual([]);
    }
    expect((await annotations()).trim()).toBe("");
    expect(await ask("http://far.shop/")).toMatch(/^200 /);
    expect(await ask("http://near.shop/")).toMatch(/^200 /);
  });
});

function mtls(mode: string): object {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "PeerAuthentication",
    metadata: { namespace: "shop", name: "default" },
    spec: { mtls: { mode } },
  };
}

function policy(name: string, spec: object): object {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { namespace: "shop", name },
    spec,
  };
}
