/** A whole cluster on one machine: `startPlayground` for tests and the demo, `weft playground up` for people. */

import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join, resolve } from "node:path";
import { stringify } from "yaml";
import { DEFAULT_HISTORY } from "./api/store.ts";
import { CertificateAuthority, type KeyPair } from "./auth/certificates.ts";
import type { FabricConfig, KubeletConfig, NodeConfig } from "./config.ts";
import { playgroundCgroup, tearDown } from "./down.ts";
import { FABRIC_BITS, MAX_NODES, type NetworkPlan, networkPlan } from "./network/plan.ts";
import { holdNamespace, PlaygroundProcess, scriptPath } from "./processes.ts";
import { checkName, claimIndex, isAbandoned, releaseIndex, stateDir, writeState } from "./state.ts";
import { ip, run } from "./system/command.ts";

export interface PlaygroundOptions {
  readonly name: string;
  /** How many nodes, named `node1` and so on; or their labels by name. Default 2. */
  readonly nodes?: number | Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Port on 127.0.0.1 for the API; 0 or absent: any. */
  readonly apiPort?: number;
  /** Events kept for watches to resume from. */
  readonly historySize?: number;
  /** Time between bookmarks of a watch. */
  readonly bookmarkMs?: number;
  /** Told what goes wrong inside. */
  readonly report?: (message: string) => void;
}

export interface HostAddress {
  readonly host: string;
  readonly port: number;
}

const ROOT = resolve(import.meta.dirname, "../..");
const BOOKMARK_MS = 60_000;
const ADMIN = { commonName: "playground-admin", organizations: ["system:masters"] };

export class Playground {
  readonly name: string;
  readonly plan: NetworkPlan;
  readonly nodes: readonly NodeConfig[];
  /** Path of a kubeconfig for this machine, as cluster admin. */
  readonly kubeconfig: string;
  readonly api: HostAddress;
  /** `<cgroup2 mount>/weft-<name>` */
  readonly cgroup: string;
  /** Resolves with a message when a process of the playground has ended by itself. */
  readonly failed: Promise<string>;
  readonly #processes: ReadonlyMap<string, PlaygroundProcess>;
  readonly #holders: ReadonlyMap<string, number>;
  readonly #addresses: Record<string, string>;
  #stopping: Promise<void> | undefined;

  constructor(parts: {
    name: string;
    plan: NetworkPlan;
    nodes: readonly NodeConfig[];
    kubeconfig: string;
    api: HostAddress;
    processes: ReadonlyMap<string, PlaygroundProcess>;
    holders: ReadonlyMap<string, number>;
  }) {
    this.name = parts.name;
    this.plan = parts.plan;
    this.nodes = parts.nodes;
    this.kubeconfig = parts.kubeconfig;
    this.api = parts.api;
    this.cgroup = playgroundCgroup(parts.name);
    this.#processes = parts.processes;
    this.#holders = parts.holders;
    this.#addresses = { api: `https://${parts.api.host}:${parts.api.port}` };
    this.failed = Promise.race([...parts.processes.values()].map((each) => each.ended));
    this.#save();
  }

  /** Path of a node's network namespace (`fabric` too), for nsenter. */
  netns(node: string): string {
    const pid = this.#holders.get(node);
    if (pid === undefined) throw new Error(`playground ${this.name} has no node "${node}"`);
    return `/proc/${pid}/ns/net`;
  }

  /** Runs a program in a node's network namespace; resolves with its stdout. */
  runOnNode(node: string, program: string, ...args: string[]): Promise<string> {
    return run("nsenter", [`--net=${this.netns(node)}`, program, ...args]);
  }

  /** Makes `host:port` of a node's network reachable on 127.0.0.1 of this machine. `label` is for `status`. */
  async expose(node: string, target: HostAddress, label: string, localPort = 0): Promise<HostAddress> {
    const kubelet = this.#processes.get(node);
    if (kubelet === undefined) throw new Error(`playground ${this.name} has no node "${node}"`);
    const { listener, address } = await listenLocally(localPort);
    await kubelet.give({ kind: "forward", host: target.host, port: target.port }, listener);
    this.#addresses[label] = `${address.host}:${address.port}`;
    this.#save();
    return address;
  }

  /** Ends everything and leaves nothing behind; the same promise for every caller. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await tearDown(this.name);
    await Promise.all([...this.#processes.values()].map((each) => each.ended));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #save(): void {
    const { name, nodes, kubeconfig, cgroup } = this;
    const addresses = this.#addresses;
    writeState({ name, index: this.plan.index, pid: process.pid, cgroup, nodes, kubeconfig, addresses });
  }
}

/** Resolves when nodes are registered, service addresses and DNS work. What has begun is undone on failure. */
export async function startPlayground(options: PlaygroundOptions): Promise<Playground> {
  checkName(options.name);
  if (process.getuid?.() !== 0) throw new Error("a playground needs root: it makes network namespaces and cgroups");
  const nodes = nodeConfigs(options.nodes ?? 2);
  if (isAbandoned(options.name)) {
    options.report?.(`undoing a playground "${options.name}" that was left behind`);
    await tearDown(options.name);
  }
  if (existsSync(stateDir(options.name)) || existsSync(playgroundCgroup(options.name))) {
    throw new Error(`a playground "${options.name}" exists; end it with: weft playground down --name ${options.name}`);
  }
  const index = claimIndex(options.name);
  try {
    mkdirSync(stateDir(options.name), { recursive: true, mode: 0o700 });
    return await start(options, nodes, networkPlan(index));
  } catch (error) {
    await tearDown(options.name).catch(() => releaseIndex(options.name));
    throw error;
  }
}

async function start(options: PlaygroundOptions, nodes: readonly NodeConfig[], plan: NetworkPlan): Promise<Playground> {
  const { name } = options;
  const folder = stateDir(name);
  const cgroup = playgroundCgroup(name);
  const { listener, address: api } = await listenLocally(options.apiPort ?? 0);
  const cacheDir = join(ROOT, "build", "compile-cache");
  const report = options.report ?? (() => {});
  const authority = new CertificateAuthority(`weft-playground-${name}`);
  const admin = authority.issue(ADMIN);
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(kubeconfig, kubeconfigText(name, api, authority.cert, admin), { mode: 0o600 });

  const names = ["fabric", ...nodes.map((node) => node.name)];
  const holders = new Map(
    await Promise.all(names.map(async (each) => [each, await holdNamespace(join(cgroup, each, "network"))] as const)),
  );
  const netns = (each: string) => `/proc/${holders.get(each)}/ns/net`;
  const processes = new Map<string, PlaygroundProcess>();
  const launch = (each: string, script: string, group: string, config: unknown) => {
    const configPath = join(folder, `${each}.json`);
    writeFileSync(configPath, JSON.stringify(config), { mode: 0o600 });
    const options = { name: each, script: scriptPath(script, "main.ts"), configPath, cacheDir, report };
    processes.set(each, new PlaygroundProcess({ ...options, cgroup: join(cgroup, each, group), netns: netns(each) }));
  };
  await connect(plan, nodes, holders);
  const fabric: FabricConfig = {
    index: plan.index,
    stateDir: folder,
    ca: authority.cert,
    serving: authority.issue({ commonName: "kube-apiserver", altNames: apiNames(plan) }),
    tokenKey: generateKeyPairSync("ec", { namedCurve: "P-256" })
      .privateKey.export({ type: "pkcs8", format: "pem" })
      .toString(),
    historySize: options.historySize ?? DEFAULT_HISTORY,
    bookmarkMs: options.bookmarkMs ?? BOOKMARK_MS,
  };
  launch("fabric", "fabric", "control", fabric);
  for (const node of nodes) {
    const nodeDir = join(folder, node.name);
    mkdirSync(join(nodeDir, "bpf"), { recursive: true, mode: 0o700 });
    // A bpffs of the node's own: what is pinned there ends with the playground.
    await run("mount", ["-t", "bpf", "weft-playground", join(nodeDir, "bpf")]);
    const config: KubeletConfig = {
      playground: name,
      index: plan.index,
      node,
      nodes,
      stateDir: folder,
      nodeDir,
      cgroup: join(cgroup, node.name),
      ca: authority.cert,
      client: authority.issue({ commonName: `system:node:${node.name}`, organizations: ["system:nodes"] }),
      repository: ROOT,
    };
    launch(node.name, "kubelet", "kubelet", config);
  }
  const playground = new Playground({ name, plan, nodes, kubeconfig, api, processes, holders });
  await processes.get("fabric")?.ready;
  await processes.get("fabric")?.give({ kind: "serve-api" }, listener);
  await Promise.all([...processes.values()].map((each) => each.ready));
  for (const each of names) rmSync(join(folder, `${each}.json`));
  return playground;
}

function nodeConfigs(wish: NonNullable<PlaygroundOptions["nodes"]>): NodeConfig[] {
  const named: [string, Readonly<Record<string, string>>][] =
    typeof wish === "number"
      ? Array.from({ length: wish }, (_, i) => [`node${i + 1}`, { "topology.kubernetes.io/zone": `zone${i + 1}` }])
      : Object.entries(wish);
  if (named.length < 1 || named.length > MAX_NODES) throw new Error(`a playground has 1 to ${MAX_NODES} nodes`);
  return named.map(([name, labels], i) => ({ name, number: i + 1, labels }));
}

function apiNames(plan: NetworkPlan): string[] {
  const service = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
  ];
  const { fabric, kubernetesService } = plan;
  return [...service, "localhost", "127.0.0.1", fabric.v4, fabric.v6, kubernetesService.v4, kubernetesService.v6];
}

/** Joins fabric and nodes: one bridge, one link per node, routes to every node's pods. */
async function connect(
  plan: NetworkPlan,
  nodes: readonly NodeConfig[],
  holders: ReadonlyMap<string, number>,
): Promise<void> {
  const path = (name: string) => `/proc/${holders.get(name)}/ns/net`;
  const via = (node: NodeConfig) => {
    const { v4, v6 } = plan.node(node.number);
    const pods = plan.nodePods(node.number);
    return [`route add ${pods.v4} via ${v4}`, `route add ${pods.v6} via ${v6}`];
  };
  await ip(
    [
      "link set lo up",
      // Neighbour discovery is multicast; nothing on this bridge gains from holding any of it back.
      "link add fabric type bridge mcast_snooping 0",
      `addr add ${plan.fabric.v4}/${FABRIC_BITS.v4} dev fabric`,
      `addr add ${plan.fabric.v6}/${FABRIC_BITS.v6} dev fabric nodad`,
      "link set fabric up",
      ...nodes.flatMap((node) => [
        `link add name n${node.number} type veth peer name eth0 netns ${holders.get(node.name)}`,
        `link set n${node.number} master fabric up`,
      ]),
      ...nodes.flatMap(via),
    ],
    path("fabric"),
  );
  await Promise.all(
    nodes.map((node) => {
      const { v4, v6 } = plan.node(node.number);
      const gateway = plan.pod(node.number, 1);
      return ip(
        [
          "link set lo up",
          `addr add ${v4}/${FABRIC_BITS.v4} dev eth0`,
          `addr add ${v6}/${FABRIC_BITS.v6} dev eth0 nodad`,
          "link set eth0 up",
          // The gateway of this node's pods answers on every pod's link.
          `addr add ${gateway.v4}/32 dev lo`,
          `addr add ${gateway.v6}/128 dev lo nodad`,
          `route add default via ${plan.fabric.v4} src ${v4}`,
          `route add default via ${plan.fabric.v6} src ${v6}`,
          ...nodes.filter((other) => other !== node).flatMap(via),
        ],
        path(node.name),
      );
    }),
  );
}

function listenLocally(port: number): Promise<{ listener: net.Server; address: HostAddress }> {
  // Not paused: the process that takes it over reads from its connections.
  const listener = net.createServer();
  return new Promise((resolve, reject) => {
    listener.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "it is taken; choose another one" : error.message;
      reject(new Error(`cannot listen on 127.0.0.1:${port}: ${why}`));
    });
    listener.listen({ host: "127.0.0.1", port }, () => {
      const bound = listener.address();
      const found = typeof bound === "object" && bound !== null ? bound.port : port;
      resolve({ listener, address: { host: "127.0.0.1", port: found } });
    });
  });
}

function kubeconfigText(name: string, api: HostAddress, ca: string, admin: KeyPair): string {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const context = `weft-${name}`;
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: context,
        cluster: { server: `https://${api.host}:${api.port}`, "certificate-authority-data": base64(ca) },
      },
    ],
    users: [
      { name: context, user: { "client-certificate-data": base64(admin.cert), "client-key-data": base64(admin.key) } },
    ],
    contexts: [{ name: context, context: { cluster: context, user: context } }],
    "current-context": context,
  });
}
