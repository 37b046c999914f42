/** The agent where ztunnel was: its DaemonSet's command, environment, mounts and paths, with the addresses of a test. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { ASK, SERVE } from "../helpers/agent-apps.ts";
import { AgentBed, type NodePod } from "../helpers/agent-bed.ts";
import { AgentProcess } from "../helpers/agent-process.ts";
import { ZTUNNEL_DAEMON_SET } from "../helpers/ztunnel-daemon-set.ts";

let node: AgentBed;
let client: NodePod;
let server: NodePod;
let folder: string;

beforeAll(async () => {
  node = await AgentBed.create("wzt", 69);
  await node.agent.stop();
  // The root of the container's file system: the mounts are below it.
  folder = mkdtempSync(`${tmpdir()}/weft-ztunnel-`);
  mkdirSync(`${folder}/var/run/secrets/istio`, { recursive: true });
  mkdirSync(`${folder}/var/run/secrets/tokens`, { recursive: true });
  writeFileSync(`${folder}/var/run/secrets/istio/root-cert.pem`, node.control.ca.root);
  writeFileSync(`${folder}/var/run/secrets/tokens/istio-token`, "a-projected-token\n");
  node.control.metadata.length = 0;
  node.control.requests.length = 0;
  const address = `localhost:${node.control.port}`;
  node.agent = await AgentProcess.start({
    args: ["proxy", "ztunnel"],
    folder,
    cgroup: node.bed.agentCgroup,
    env: {
      ...ZTUNNEL_DAEMON_SET,
      XDS_ADDRESS: address,
      CA_ADDRESS: address,
      // Of this machine, not of the DaemonSet: which API, cgroups and pins are the test's.
      KUBECONFIG: node.kubeconfig,
      WEFT_PODS_CGROUP: node.bed.podsCgroup,
      WEFT_BPFFS_DIR: node.pinDir,
    },
  });
  client = node.addPod("client");
  server = node.addPod("server");
  node.publish(client);
  node.publish(server);
  node.bed.spawn(server, process.execPath, ["-e", SERVE]);
  await node.bed.listening(server, 8080);
});

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await node.dispose();
});

test("it tells the control plane what ztunnel tells", async () => {
  await node.agent.ready();
  const [request] = node.control.requests;
  expect(request?.node?.id).toBe("ztunnel~10.1.0.9~ztunnel-x7k2p.istio-system~istio-system.svc.cluster.local");
  expect(request?.node?.metadata).toMatchObject({
    NAME: "ztunnel-x7k2p",
    NAMESPACE: "istio-system",
    NODE_NAME: "node-1",
    CLUSTER_ID: "Kubernetes",
    ENABLE_HBONE: "true",
  });
  const [metadata] = node.control.metadata;
  expect(metadata?.get("authorization")).toEqual(["Bearer a-projected-token"]);
  expect(metadata?.get("clusterid")).toEqual(["Kubernetes"]);
});

test("pods of the node are in the mesh, and it answers where ztunnel is asked", async () => {
  await node.enrolled("client");
  await node.enrolled("server");
  expect((await node.bed.run(client, process.execPath, ["-e", ASK, "--", server.ip, "8080"])).stdout).toBe(
    `from ::ffff:${client.ip}\n`,
  );
  const line = await eventually("an access line", () => node.agent.access()[0]);
  expect(line).toMatchObject({ "src.identity": "spiffe://cluster.local/ns/default/sa/client" });
  expect(await node.agent.get("ready", "/healthz/ready")).toMatchObject({ status: 200, text: "ready\n" });
  for (const path of ["/metrics", "/stats/prometheus"]) {
    expect((await node.agent.get("metrics", path)).text).toContain("istio_tcp_connections_opened_total");
  }
  const dump = JSON.parse((await node.agent.get("admin", "/config_dump")).text);
  expect(Object.keys(dump)).toEqual(
    expect.arrayContaining(["workloads", "services", "policies", "certificates", "workloadState"]),
  );
  expect((await node.agent.get("admin", "/logging?level=debug", "POST")).status).toBe(200);
});

test("a token that the kubelet has replaced is used for the next certificate", async () => {
  writeFileSync(`${folder}/var/run/secrets/tokens/istio-token`, "the-next-token\n");
  node.control.metadata.length = 0;
  const late = node.addPod("late");
  node.publish(late);
  await node.enrolled("late");
  const metadata = await eventually("its certificate is asked for", () => node.control.metadata.at(-1));
  expect(metadata.get("authorization")).toEqual(["Bearer the-next-token"]);
});

test("POST /quitquitquit ends it, as it ends ztunnel", async () => {
  expect((await node.agent.get("admin", "/quitquitquit", "POST")).status).toBe(200);
  expect(await node.agent.ended()).toBe(0);
});
