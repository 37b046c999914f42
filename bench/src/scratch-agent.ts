/** One real agent with a synthetic mesh instead of a cluster, for its memory with many workloads. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { removeCgroup } from "../../playground/src/system/cgroup.ts";
import { FakeKube } from "../../test/helpers/fake-kube.ts";
import { TestCa } from "../../test/helpers/pki.ts";
import { settledBytes } from "./memory.ts";
import { serveSyntheticMesh } from "./synthetic-ads.ts";

const AGENT = fileURLToPath(new URL("../../agent/bin/weft-agent", import.meta.url));
const LOAD_MS = 120_000;

/** Resident bytes of an agent that has been told of `workloads` workloads on other nodes. `cgroup2`: its mount. */
export async function residentWithWorkloads(workloads: number, cgroup2: string): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "weft-bench-"));
  const name = folder.slice(folder.lastIndexOf("/") + 1);
  const cgroup = join(cgroup2, name);
  const pods = join(cgroup, "kubepods");
  mkdirSync(pods, { recursive: true });
  const kube = await FakeKube.start();
  const ca = await TestCa.create();
  const server = await ca.issue("", { uris: [], dnsNames: ["localhost"] });
  const ads = await serveSyntheticMesh(workloads, server.chain, server.key);
  writeFileSync(join(folder, "root.pem"), ca.root);
  writeFileSync(join(folder, "kubeconfig"), kubeconfig(kube.url));
  const agent = startAgent(folder, pods, name, ads.port);
  try {
    await Promise.race([ads.loaded, ended(agent), deadline()]);
    return await settledBytes(agent.pid ?? 0);
  } finally {
    agent.kill("SIGTERM");
    await ended(agent).catch(() => undefined);
    await ads.stop();
    await kube.stop();
    await cleanUp(environment(folder, pods, name, ads.port));
    await removeCgroup(cgroup);
    rmSync(folder, { recursive: true });
  }
}

function startAgent(folder: string, pods: string, name: string, port: number): ChildProcess {
  // The agent's own cgroup has to be apart from the pods': it is put there by the shell that becomes it.
  const own = join(pods, "..", "agent");
  mkdirSync(own, { recursive: true });
  const env = environment(folder, pods, name, port);
  return spawn("sh", ["-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', own, AGENT], {
    env,
    stdio: ["ignore", "ignore", "inherit"],
  });
}

function environment(folder: string, pods: string, name: string, port: number): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    NODE_NAME: "bench",
    POD_NAME: "bench",
    POD_NAMESPACE: "istio-system",
    KUBECONFIG: join(folder, "kubeconfig"),
    XDS_ADDRESS: `https://localhost:${port}`,
    XDS_ROOT_CA: join(folder, "root.pem"),
    CA_ADDRESS: "",
    WEFT_BPFFS_DIR: `/sys/fs/bpf/${name}`,
    WEFT_PODS_CGROUP: pods,
    ADMIN_ADDR: "localhost:0",
    STATS_ADDR: "localhost:0",
    READINESS_ADDR: "localhost:0",
    RUST_LOG: "warn",
  };
}

function kubeconfig(server: string): string {
  return JSON.stringify({
    "current-context": "bench",
    contexts: [{ name: "bench", context: { cluster: "bench", user: "bench" } }],
    clusters: [{ name: "bench", cluster: { server } }],
    users: [{ name: "bench", user: {} }],
  });
}

function ended(agent: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    if (agent.exitCode !== null || agent.signalCode !== null) return resolve();
    agent.once("exit", (code, signal) =>
      signal === "SIGTERM" || code === 0 ? resolve() : reject(new Error(`the agent ended with ${signal ?? code}`)),
    );
  });
}

function deadline(): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(
      () => reject(new Error(`the agent did not load its workloads within ${LOAD_MS / 1000} s`)),
      LOAD_MS,
    ).unref();
  });
}

function cleanUp(env: NodeJS.ProcessEnv): Promise<void> {
  return ended(spawn(AGENT, ["cleanup"], { env, stdio: ["ignore", "ignore", "inherit"] }));
}
