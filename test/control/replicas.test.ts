/** Replicas of the control plane as processes, an agent's own client of them, and an API that is not always there. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import {
  AUTHORIZATION_POLICIES,
  type KubeObject,
  NAMESPACES,
  PODS,
  type ResourceType,
  SECRETS,
  SERVICE_ACCOUNTS,
} from "#lib/kube/types.ts";
import { LogRoot } from "#lib/log.ts";
import { AdsClient } from "#lib/xds/ads-client.ts";
import { openChannel, requestMetadata } from "#lib/xds/channel.ts";
import type { PeerConfig } from "#lib/xds/peer.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, formatNodeId } from "#lib/xds/types.ts";
import { NodeSchema } from "#proto/discovery_pb.ts";
import { ControlProcess } from "../helpers/control-process.ts";
import { FakeKube } from "../helpers/fake-kube.ts";
import { TcpSwitch } from "../helpers/tcp-switch.ts";

const LEASE = { WEFT_LEASE_SECONDS: "2" };
const LEASES: ResourceType<KubeObject & { spec?: { holderIdentity?: string } }> = {
  group: "coordination.k8s.io",
  version: "v1",
  kind: "Lease",
  plural: "leases",
  namespaced: true,
};
const PATIENCE_MS = 60_000;
const PODS_AT_START = 300;

let folder: string;
let kube: FakeKube;
/** In front of the API, and of the replicas. */
let api: TcpSwitch;
let istiod: TcpSwitch;
let replicas: ControlProcess[];
let agents: Agent[];

/** The agent's client of the control plane, with what it has been told. */
class Agent {
  readonly names = new Set<string>();
  received = 0;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;

  constructor(token: string) {
    const data = kube.read(SECRETS, "istio-system", "istio-ca-secret")?.data ?? {};
    const pem = Buffer.from(data["root-cert.pem"] ?? "", "base64").toString();
    const peer: PeerConfig = {
      address: `https://localhost:${istiod.port}`,
      root: { kind: "pem", pem },
      headers: {},
    };
    const nothing = { apply: () => undefined, remove: () => undefined, commit: () => undefined };
    const addresses = {
      apply: (name: string) => {
        this.names.add(name);
        this.received++;
      },
      remove: (name: string) => void this.names.delete(name),
      commit: () => undefined,
    };
    const id = { type: "ztunnel", ip: "1.1.1.1", podName: "weft-agent-1", namespace: "istio-system" };
    const client = new AdsClient({
      types: new Map([
        [ADDRESS_TYPE, addresses],
        [AUTHORIZATION_TYPE, nothing],
      ]),
      node: create(NodeSchema, { id: formatNodeId(id), metadata: { NAMESPACE: "istio-system" } }),
      open: async () => ({
        client: await openChannel(peer),
        metadata: await requestMetadata({ kind: "static", token }, "Kubernetes", peer),
      }),
      log: new LogRoot({ format: "plain", filter: "off" }).logger("xds"),
    });
    this.#running = client.run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "weft-replicas-"));
  replicas = [];
  agents = [];
  kube = await FakeKube.start();
  for (const name of ["istio-system", "shop"]) kube.put(NAMESPACES, { metadata: { name } });
  kube.put(SERVICE_ACCOUNTS, { metadata: { namespace: "shop", name: "web" } });
  for (let i = 0; i < PODS_AT_START; i++) putPod(i);
  for (const token of ["first", "second"]) {
    kube.tokens.set(token, {
      authenticated: true,
      username: "system:serviceaccount:istio-system:weft-agent",
      audiences: ["istio-ca"],
      extra: {},
    });
  }
  api = await TcpSwitch.start(Number(new URL(kube.url).port));
  istiod = await TcpSwitch.start();
});
afterEach(async () => {
  await Promise.all(agents.map((agent) => agent.stop()));
  await Promise.all(replicas.map((replica) => replica.end("SIGKILL")));
  await Promise.all([istiod.stop(), api.stop(), kube.stop()]);
  rmSync(folder, { recursive: true });
});

async function startReplica(name: string): Promise<ControlProcess> {
  const replica = await ControlProcess.start(name, folder, `http://127.0.0.1:${api.port}`, LEASE);
  replicas.push(replica);
  return replica;
}

function startAgent(token = "first"): Agent {
  const agent = new Agent(token);
  agents.push(agent);
  return agent;
}

function putPod(index: number): void {
  kube.put(PODS, {
    metadata: { namespace: "shop", name: `web-${index}`, labels: { app: "web" } },
    spec: { nodeName: "node-1", serviceAccountName: "web", containers: [] },
    status: { phase: "Running", podIP: `10.1.${index >> 8}.${index & 255}` },
  });
}

const uid = (index: number) => `Kubernetes//Pod/shop/web-${index}`;
const podsOf = ({ names }: Agent) => [...names].filter((name) => name.startsWith("Kubernetes//Pod/shop/")).sort();
const holder = () => kube.read(LEASES, "istio-system", "weft-control-leader")?.spec?.holderIdentity;
const invalidPolicy = (name: string) =>
  kube.put(AUTHORIZATION_POLICIES, {
    metadata: { namespace: "shop", name },
    spec: { rules: [{ from: [{ source: { ipBlocks: ["nonsense"] } }] }] },
  });
const answered = (name: string) => kube.read(AUTHORIZATION_POLICIES, "shop", name)?.status?.conditions?.[0];

test("agents lose nothing when a replica is killed while the mesh changes, and the other one writes on", async () => {
  const first = await startReplica("replica-1");
  const second = await startReplica("replica-2");
  await eventually("a leader", () => holder() === "replica-1", PATIENCE_MS);
  istiod.targets = [first.grpcPort];
  const agent = startAgent();
  await eventually("all pods", () => podsOf(agent).length === PODS_AT_START, PATIENCE_MS);
  const before = agent.received;
  // A pod comes and another goes at each step; in the middle of it, the replica dies without a word.
  const steps = 60;
  for (let i = 0; i < steps; i++) {
    putPod(PODS_AT_START + i);
    kube.remove(PODS, "shop", `web-${i}`);
    if (i === steps / 2) {
      istiod.targets = [second.grpcPort];
      await first.end("SIGKILL");
    }
    // The pace of the changes, not a wait: it goes on while the agent looks for another replica.
    await sleep(5);
  }
  const expected = Array.from({ length: PODS_AT_START }, (_, index) => uid(index + steps)).sort();
  await eventually("what there is", () => podsOf(agent).join() === expected.join(), PATIENCE_MS);
  // It came back with the versions that it had: only what is another is sent.
  expect(agent.received - before).toBeLessThan(PODS_AT_START / 2);
  await eventually("another leader", () => holder() === "replica-2", PATIENCE_MS);
  invalidPolicy("later");
  await eventually("a status", () => answered("later")?.status === "False", PATIENCE_MS);
});

test("one replica writes, and hands over when it is told to go", async () => {
  const first = await startReplica("replica-1");
  await eventually("a leader", () => holder() === "replica-1", PATIENCE_MS);
  await startReplica("replica-2");
  invalidPolicy("one");
  await eventually("a status", () => answered("one")?.status === "False", PATIENCE_MS);
  const writes = kube.requests.filter((request) => /^(PUT|PATCH) .*authorizationpolicies/.test(request));
  expect(writes).toHaveLength(1);
  await first.end("SIGTERM");
  await eventually("another leader", () => holder() === "replica-2", PATIENCE_MS);
});

test("while the API is gone, what is known is served; what happened meanwhile is known when it is back", async () => {
  const replica = await startReplica("replica-1");
  istiod.targets = [replica.grpcPort];
  const agent = startAgent();
  await eventually("all pods", () => podsOf(agent).length === PODS_AT_START, PATIENCE_MS);
  api.turn();
  // A token that is known is good still, so that an agent which restarts is served.
  const restarted = startAgent();
  await eventually("all pods", () => podsOf(restarted).length === PODS_AT_START, PATIENCE_MS);
  // One that is not known has to wait for the API, and is not told that it is bad.
  const stranger = startAgent("second");
  // Meanwhile the mesh changes, and the API server forgets what it told last.
  kube.remove(PODS, "shop", "web-0");
  putPod(PODS_AT_START);
  kube.endWatches(true);
  api.turn(Number(new URL(kube.url).port));
  const expected = Array.from({ length: PODS_AT_START }, (_, index) => uid(index + 1)).sort();
  for (const each of [agent, restarted, stranger]) {
    await eventually("what there is now", () => podsOf(each).join() === expected.join(), PATIENCE_MS);
  }
});

test("an API that hangs holds nobody up who is known, and what it has held back counts when it goes on", async () => {
  const replica = await startReplica("replica-1");
  istiod.targets = [replica.grpcPort];
  const agent = startAgent();
  await eventually("all pods", () => podsOf(agent).length === PODS_AT_START, PATIENCE_MS);
  api.hold();
  kube.remove(PODS, "shop", "web-0");
  putPod(PODS_AT_START);
  // Its token is known, and so is the mesh.
  const restarted = startAgent();
  await eventually("all pods", () => podsOf(restarted).length === PODS_AT_START, PATIENCE_MS);
  // One whose token is not known waits, and nobody waits for it.
  const stranger = startAgent("second");
  const another = startAgent();
  await eventually("all pods", () => podsOf(another).length === PODS_AT_START, PATIENCE_MS);
  expect(stranger.received).toBe(0);
  api.release();
  const expected = Array.from({ length: PODS_AT_START }, (_, index) => uid(index + 1)).sort();
  for (const each of [agent, restarted, another, stranger]) {
    await eventually("what there is now", () => podsOf(each).join() === expected.join(), PATIENCE_MS);
  }
});
