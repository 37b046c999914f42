/** The kernel-direct path as the agent keeps it: what it gives to BPF, what it shows, and what a next agent makes of it. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { PODS } from "#lib/kube/types.ts";
import { AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import { Action, Scope } from "#proto/authorization_pb.ts";
import { ASK, HOLD, SERVE } from "../helpers/agent-apps.ts";
import { AgentBed, type NodePod } from "../helpers/agent-bed.ts";
import type { LogLine } from "../helpers/agent-process.ts";
import { authorization } from "../helpers/mesh-fixtures.ts";

const SA = "spiffe://cluster.local/ns/default/sa";

let node: AgentBed;
let client: NodePod;
let other: NodePod;
let server: NodePod;

beforeAll(async () => {
  node = await AgentBed.create("wdir", 64);
  client = node.addPod("client");
  other = node.addPod("other");
  server = node.addPod("server");
  for (const pod of [client, other, server]) node.publish(pod);
  node.bed.spawn(server, process.execPath, ["-e", SERVE]);
  await node.bed.listening(server, 8080);
  await node.bed.listening(server, 8081);
  for (const { name } of [client, other, server]) await node.enrolled(name);
  await node.agent.ready();
});

afterAll(async () => {
  await node.dispose();
});

beforeEach(() => {
  node.agent.forgetLines();
});

async function ask(from = client, to = server): Promise<string> {
  return (await node.bed.run(from, process.execPath, ["-e", ASK, "--", to.ip, "8080"])).stdout;
}

const served = (from = client) => `from ::ffff:${from.ip}\n`;

/** The line of one connection. */
async function lineOf(from = client): Promise<LogLine> {
  const before = node.agent.access().length;
  await ask(from);
  return eventually("its line", () => node.agent.access().slice(before).at(-1));
}

async function becomesDirect(from = client): Promise<LogLine> {
  return eventually("a connection that needs no agent", async () => {
    const line = await lineOf(from);
    return line.direction === "direct" ? line : undefined;
  });
}

async function dump(): Promise<Dump> {
  return JSON.parse((await node.agent.get("admin", "/config_dump")).text) as Dump;
}

interface Dump {
  readonly direct: {
    readonly state: string;
    readonly routes: number;
    readonly verdicts: number;
    readonly express: string;
  };
  readonly workloadState: Readonly<Record<string, PodState>>;
}

interface PodState {
  readonly redirect: string;
  readonly device?: string;
  readonly express: string;
  readonly connections: Readonly<Record<"inbound" | "outbound", readonly { readonly protocol: string }[]>>;
}

async function metric(name: string): Promise<number> {
  const { text } = await node.agent.get("metrics", "/metrics");
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
}

function deny(account: string, dryRun = false): void {
  const principals = [{ matchType: { case: "exact" as const, value: `cluster.local/ns/default/sa/${account}` } }];
  node.control.setAuthorization(
    authorization({
      namespace: "default",
      name: "no",
      scope: Scope.NAMESPACE,
      action: Action.DENY,
      dryRun,
      rules: [{ clauses: [{ matches: [{ principals }] }] }],
    }),
  );
}

const permit = () => node.control.remove(AUTHORIZATION_TYPE, "default/no");

describe("the second connection to a destination", () => {
  test("needs no agent, and is told of with both identities", async () => {
    expect(await becomesDirect()).toMatchObject({
      "src.identity": `${SA}/client`,
      "dst.identity": `${SA}/server`,
      bytes_sent: 0,
      bytes_recv: served().length,
      connection_security_policy: "kernel_direct",
    });
    expect(await metric("weft_direct_routes")).toBeGreaterThan(0);
    expect(await metric("weft_direct_failures_total")).toBe(0);
  });

  test("is the agent's again while a policy on trial would deny it, and reported each time", async () => {
    await becomesDirect();
    deny("client", true);
    const said = () => node.agent.lines.filter(({ message }) => message === "dry-run policy decided");
    for (let round = 1; round <= 2; round++) {
      await eventually("a report", async () => {
        expect(await ask()).toBe(served());
        return said().length >= round;
      });
    }
    permit();
    await becomesDirect();
  });

  test("is refused by connect() when a policy denies it, by the policy's name", async () => {
    await becomesDirect();
    deny("client");
    const denied = await eventually("a refusal", async () => {
      expect(["ECONNREFUSED", "ECONNRESET", served()]).toContain(await ask());
      return node.agent.access().find(({ direction, error }) => direction === "direct" && error !== undefined);
    });
    expect(denied).toMatchObject({
      level: "error",
      "src.identity": `${SA}/client`,
      error: "connection closed due to policy rejection: explicitly denied by: default/no",
    });
    permit();
    await becomesDirect();
  });
});

describe("plaintext that needs no agent", () => {
  let outside: NodePod;

  beforeAll(async () => {
    outside = node.addPod("outside", { "istio.io/dataplane-mode": "none" });
    node.bed.spawn(outside, process.execPath, ["-e", SERVE]);
    await node.bed.listening(outside, 8080);
  });

  /** A line that BPF has told of: the agent measures no round trip. */
  async function toldByBpf(from: NodePod, to: NodePod): Promise<LogLine> {
    return eventually("a connection that needs no agent", async () => {
      expect(await ask(from, to)).toBe(served(from));
      const own = node.agent.access().filter((line) => String(line["src.addr"]).startsWith(`${from.ip}:`));
      return own.find(({ srtt_us }) => srtt_us !== undefined);
    });
  }

  test("to somebody outside the mesh is the pod's line and proves nobody", async () => {
    const line = await toldByBpf(client, outside);
    expect(line).toMatchObject({
      direction: "outbound",
      "src.workload": "client",
      "dst.addr": `${outside.ip}:8080`,
      bytes_sent: 0,
      bytes_recv: served().length,
    });
    expect(Object.keys(line)).not.toContain("src.identity");
    // It joins the mesh: from now on it is reached through the mesh, or not at all.
    node.agent.forgetLines();
    node.publish(outside);
    node.setLabels("outside", {});
    await node.enrolled("outside");
    const joined = await eventually("a connection within the mesh", async () => {
      await ask(client, outside);
      return node.agent.access().find((one) => one["dst.workload"] === "outside" && one.direction === "direct");
    });
    expect(joined).toMatchObject({ "src.identity": `${SA}/client`, "dst.identity": `${SA}/outside` });
    node.setLabels("outside", { "istio.io/dataplane-mode": "none" });
    node.publish(outside, { hbone: false });
  });

  test("from somebody outside into a pod without policies is its line", async () => {
    await eventually("outside is out", () => node.redirection("outside") === undefined);
    expect(await toldByBpf(outside, server)).toMatchObject({
      direction: "inbound",
      "src.workload": "outside",
      "dst.workload": "server",
      bytes_sent: served(outside).length,
      bytes_recv: 0,
    });
  });
});

describe("what the dump says", () => {
  test("of the node and of each pod: what is on, and why not", async () => {
    await becomesDirect();
    const held = node.bed.spawn(client, process.execPath, ["-e", HOLD, "--", server.ip, "8081"]);
    const { direct, workloadState } = await eventually("an open connection", async () => {
      const now = await dump();
      const [open] = now.workloadState[client.uid]?.connections.outbound ?? [];
      return open === undefined ? undefined : now;
    });
    held.kill("SIGKILL");
    expect(direct.state).toBe("on");
    expect(direct.routes).toBeGreaterThan(0);
    expect(direct.verdicts).toBeGreaterThan(0);
    expect(direct.express).toMatch(/^(offered|off: .+)$/);
    const pod = workloadState[client.uid];
    expect(pod?.redirect).toMatch(/^(on|off: .+)$/);
    expect(pod?.express).toBe("off: the pod has not asked for it");
  });

  test("of a pod that asks for express connections, without taking it out of the mesh", async () => {
    const pod = node.pod("client");
    if (pod === undefined) throw new Error("no client");
    const annotations = { ...pod.metadata.annotations, "weft.dev/express": "enabled" };
    node.kube.put(PODS, { ...pod, metadata: { ...pod.metadata, annotations } });
    const state = await eventually("its state", async () => {
      const express = (await dump()).workloadState[client.uid]?.express;
      return express === "off: the pod has not asked for it" ? undefined : express;
    });
    expect(state).toMatch(/^(on|off: .+)$/);
    expect(node.agent.lines.filter(({ message }) => message === "unenrolled pod")).toEqual([]);
    node.kube.put(PODS, pod);
    await becomesDirect();
  });
});

describe("the next agent", () => {
  test("has the routes of the one before at once, and forgets those of pods that are gone", async () => {
    await becomesDirect();
    await becomesDirect(other);
    const { routes } = (await dump()).direct;
    await node.agent.stop("SIGKILL");
    node.kube.remove(PODS, "default", "other");
    node.unpublish(other);
    await node.restart();
    await node.agent.ready();
    expect((await lineOf()).direction).toBe("direct");
    const now = (await dump()).direct;
    expect(now.routes).toBeGreaterThan(0);
    expect(now.routes).toBeLessThan(routes);
  });

  test("ends the connections that a policy of meanwhile forbids, and names it", async () => {
    const held = node.bed.spawn(client, process.execPath, ["-e", HOLD, "--", server.ip, "8081"]);
    let said = "";
    held.stdout?.on("data", (text: Buffer) => {
      said += text.toString();
    });
    await eventually("a connection", () => said.includes("open"));
    // The first one was the agent's.
    held.kill("SIGKILL");
    const again = node.bed.spawn(client, process.execPath, ["-e", HOLD, "--", server.ip, "8081"]);
    let then = "";
    again.stdout?.on("data", (text: Buffer) => {
      then += text.toString();
    });
    await eventually("a direct connection", () => then.includes("open"));
    await node.agent.stop("SIGKILL");
    deny("client");
    await node.restart();
    await eventually("its end", () => then.includes("closed"), 10_000);
    const line = await eventually("its line", () =>
      node.agent.access().find(({ error }) => String(error).includes("policy change")),
    );
    expect(line).toMatchObject({
      direction: "direct",
      "src.workload": "client",
      error: "connection closed due to policy change: explicitly denied by: default/no",
    });
    expect(await metric("weft_direct_ended_total")).toBe(1);
    permit();
    await becomesDirect();
  });
});
