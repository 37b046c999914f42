/** The real agent on one node: real pods, real BPF, a control plane and a Kubernetes API of the test. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { PODS } from "#lib/kube/types.ts";
import { AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import { Action, Scope } from "#proto/authorization_pb.ts";
import { ASK, HOLD, SERVE } from "../helpers/agent-apps.ts";
import { AgentBed, type NodePod } from "../helpers/agent-bed.ts";
import { authorization, serviceAddress } from "../helpers/mesh-fixtures.ts";

const IDENTITY = "spiffe://cluster.local/ns/default/sa";
const VIP = "10.99.61.1";
const HOST = "server.default.svc.cluster.local";

let node: AgentBed;
let client: NodePod;
let server: NodePod;

beforeAll(async () => {
  node = await AgentBed.create("wagt", 61);
  client = node.addPod("client");
  server = node.addPod("server");
  node.publish(client);
  publishServer();
  node.control.setAddress(`default/${HOST}`, serviceAddress({ name: "server", vips: [VIP], ports: { 80: 8080 } }));
  node.bed.spawn(server, process.execPath, ["-e", SERVE]);
  await node.bed.listening(server, 8080);
});

afterAll(async () => {
  await node.dispose();
});

function publishServer(policies: string[] = []): void {
  node.publish(server, {
    services: { [`default/${HOST}`]: { 80: 8080 } },
    more: { authorizationPolicies: policies },
  });
}

async function ask(ip: string, port = 8080, from = client): Promise<string> {
  return (await node.bed.run(from, process.execPath, ["-e", ASK, "--", ip, String(port)])).stdout;
}

describe("enrolment", () => {
  test("pods of a labelled namespace are captured, annotated and given certificates", async () => {
    await node.agent.ready();
    await node.enrolled("client");
    await node.enrolled("server");
    await eventually("certificates", () => node.control.certificates.length >= 2);
    expect([...node.control.certificates].sort()).toEqual([`${IDENTITY}/client`, `${IDENTITY}/server`]);
  });

  test("two enrolled pods talk over HBONE, the application sees the client, and both ends are logged", async () => {
    node.agent.forgetLines();
    expect(await ask(server.ip)).toBe(`from ::ffff:${client.ip}\n`);
    expect(await ask(server.ip6)).toBe(`from ${client.ip6}\n`);
    const lines = await eventually("access lines", () => node.agent.access().length >= 4 && node.agent.access());
    for (const line of lines) {
      expect(line).toMatchObject({
        level: "info",
        message: "connection complete",
        "src.workload": "client",
        "dst.workload": "server",
        "src.identity": `${IDENTITY}/client`,
        "dst.identity": `${IDENTITY}/server`,
      });
    }
    const outbound = lines.find(({ direction }) => direction === "outbound");
    expect(outbound).toMatchObject({
      "dst.addr": `${server.ip}:15008`,
      "dst.hbone_addr": `${server.ip}:8080`,
      bytes_sent: 0,
      bytes_recv: `from ::ffff:${client.ip}\n`.length,
    });
  });

  test("a service address leads to its endpoint, and the service is named on both sides", async () => {
    node.agent.forgetLines();
    expect(await ask(VIP, 80)).toBe(`from ::ffff:${client.ip}\n`);
    const lines = await eventually("both lines", () => node.agent.access().length >= 2 && node.agent.access());
    expect(lines.map((line) => line["dst.service"])).toEqual([HOST, HOST]);
    expect(await ask(VIP, 81)).toBe("ECONNRESET");
  });

  test("the label taken off ends capture at once, put back captures again", async () => {
    node.setLabels("client", { "istio.io/dataplane-mode": "none" });
    await eventually("unenrolled", () => node.redirection("client") === undefined);
    node.agent.forgetLines();
    expect(await ask(server.ip)).toBe(`from ::ffff:${client.ip}\n`);
    const plain = await eventually("the server's line", () =>
      node.agent.access().find((line) => line.direction === "inbound" && line.error === undefined),
    );
    expect(plain).toMatchObject({ "src.workload": "client", "dst.workload": "server" });
    expect(plain["dst.hbone_addr"]).toBeUndefined();
    expect(plain["src.identity"]).toBeUndefined();
    node.setLabels("client", {});
    await node.enrolled("client");
  });

  test("a pod on the node's network or of another node is left alone", async () => {
    for (const [name, spec] of [
      ["on-host", { nodeName: "node-1", hostNetwork: true }],
      ["elsewhere", { nodeName: "node-2" }],
    ] as const) {
      node.kube.put(PODS, {
        metadata: { name, namespace: "default", uid: `11111111-0000-4000-8000-00000000000${name.length}` },
        spec,
        status: { phase: "Running", podIP: node.bed.hostIp },
      });
    }
    const dump = await eventually("a dump", async () =>
      JSON.parse((await node.agent.get("admin", "/config_dump")).text),
    );
    expect(Object.keys(dump.workloadState)).toHaveLength(2);
  });
});

describe("whose network it is", () => {
  test("a process that sits in another pod's network does not make that network its pod's", async () => {
    const uid = "22222222-0000-4000-8000-000000000001";
    const impostor = { ...node.bed.addPod("impostor", `pod${uid}`), uid };
    node.bed.spawn({ ...impostor, netns: server.netns }, "sleep", ["600"]);
    const reason = async () =>
      JSON.parse((await node.agent.get("admin", "/config_dump")).text).workloadState[uid]?.reason as string | undefined;
    node.putPod(impostor);
    await eventually("a pod without a network of its own", async () =>
      (await reason())?.includes("no process of the pod is in a network namespace with its address"),
    );
    // Also not when the API is told that the address is the pod's.
    node.putPod({ ...impostor, ip: server.ip, ip6: server.ip6 });
    await eventually("a network that is taken", async () =>
      (await reason())?.includes("its network namespace already belongs to pod default/server"),
    );
    node.kube.remove(PODS, "default", "impostor");
    await eventually("gone", async () => (await reason()) === undefined);
  });
});

describe("policy", () => {
  test("a peer without identity is let in, until a strict policy names the pod; then it is refused by that name", async () => {
    const outsider = node.bed.addPod("outsider");
    const askPlain = async () =>
      (await node.bed.run(outsider, process.execPath, ["-e", ASK, "--", server.ip, "8080"])).stdout;
    expect(await askPlain()).toBe(`from ::ffff:${outsider.ip}\n`);

    const held = node.bed.spawn(outsider, process.execPath, ["-e", HOLD, "--", server.ip, "8081"]);
    let said = "";
    held.stdout?.on("data", (text: Buffer) => {
      said += text.toString();
    });
    await eventually("a live plaintext connection", () => said.includes("open"));

    node.agent.forgetLines();
    node.control.setAuthorization(
      authorization({
        namespace: "istio-system",
        name: "strict",
        scope: Scope.WORKLOAD_SELECTOR,
        action: Action.DENY,
        rules: [{ clauses: [{ matches: [{ notPrincipals: [{ matchType: { case: "presence", value: {} } }] }] }] }],
      }),
    );
    // Only the workload changes here: that alone must end what is no longer allowed.
    publishServer(["istio-system/strict"]);
    await eventually("the live connection is cut", () => said.includes("closed"));
    expect(await askPlain()).toMatch(/ECONNRESET|^$/);
    const denied = await eventually("denial", () =>
      node.agent.access().find(({ error }) => String(error).includes("policy rejection")),
    );
    expect(denied).toMatchObject({
      level: "error",
      error: "connection closed due to policy rejection: explicitly denied by: istio-system/strict",
    });
    expect(await ask(server.ip)).toBe(`from ::ffff:${client.ip}\n`);
  });

  test("a policy that is named but has not arrived lets nobody in", async () => {
    publishServer(["default/not-there-yet"]);
    await eventually("refusal", async () => (await ask(server.ip)) !== `from ::ffff:${client.ip}\n`);
    node.control.setAuthorization(
      authorization({
        namespace: "default",
        name: "not-there-yet",
        scope: Scope.WORKLOAD_SELECTOR,
        action: Action.ALLOW,
        rules: [
          {
            clauses: [
              {
                matches: [
                  { principals: [{ matchType: { case: "exact", value: "cluster.local/ns/default/sa/client" } }] },
                ],
              },
            ],
          },
        ],
      }),
    );
    await eventually("the client is let in", async () => (await ask(server.ip)) === `from ::ffff:${client.ip}\n`);
    publishServer();
    node.control.remove(AUTHORIZATION_TYPE, "default/not-there-yet");
  });
});

describe("servers", () => {
  test("metrics carry the standard names with labels in their order, and sums that agree", async () => {
    const { text } = await node.agent.get("metrics", "/stats/prometheus");
    const line = text
      .split("\n")
      .find(
        (each) => each.startsWith('istio_tcp_connections_opened_total{reporter="source"') && each.includes(`"${HOST}"`),
      );
    expect(line).toContain(
      'reporter="source",source_workload="client",source_canonical_service="client",source_canonical_revision="v1",' +
        `source_workload_namespace="default",source_principal="${IDENTITY}/client",source_app="client",` +
        `source_version="v1",source_cluster="Kubernetes",destination_service="${HOST}",` +
        'destination_service_namespace="default",destination_service_name="server",destination_workload="server",',
    );
    expect(text).toMatch(/^weft_reasons_total\{plane="engine",reason="policy_denied"\} [1-9]/m);
    expect(text).toMatch(/^workload_manager_active_proxy_count 2$/m);
    expect(text).toMatch(/^istio_xds_message_total\{url="type.googleapis.com\/istio.workload.Address"\} [1-9]/m);
  });

  test("the dump has the keys that tools read, and no private key", async () => {
    const { text } = await node.agent.get("admin", "/config_dump");
    const dump = JSON.parse(text);
    expect(Object.keys(dump)).toEqual([
      "workloads",
      "services",
      "policies",
      "certificates",
      "direct",
      "workloadState",
      "stagedServices",
      "staticConfig",
      "version",
      "config",
    ]);
    const parts = JSON.parse((await node.agent.get("admin", "/config_dump?only=policies,version")).text);
    expect(parts).toEqual({ policies: dump.policies, version: dump.version });
    const wrong = await node.agent.get("admin", "/config_dump?only=policies,keys");
    expect([wrong.status, wrong.text]).toEqual([
      400,
      expect.stringMatching(/^only=keys: there are workloads, services/),
    ]);
    expect(dump.certificates[0]).toMatchObject({ state: "Available" });
    expect(dump.certificates[0].certChain[0].expirationTime).toMatch(/^20/);
    expect(text).not.toContain("PRIVATE KEY");
    expect(text).not.toContain("test-token");
  });

  test("log levels change while the agent runs", async () => {
    expect((await node.agent.get("admin", "/logging?level=nonsense", "POST")).status).toBe(400);
    expect((await node.agent.get("admin", "/logging?level=info,xds=debug", "POST")).text).toBe("info,xds=debug\n");
    expect((await node.agent.get("admin", "/logging?reset", "POST")).text).toBe("info\n");
  });
});
