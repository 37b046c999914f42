/** A pod's network namespace, held open by a sleeping process, and its connection to the node. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { AddressPair, NetworkPlan } from "../network/plan.ts";
import { MAX_PODS_PER_NODE } from "../network/plan.ts";
import { makeCgroup, removeCgroup } from "../system/cgroup.ts";
import { ip, run } from "../system/command.ts";

/** The node's own address on every pod's link; both ends know it beforehand. */
const GATEWAY_V6 = "fe80::1";

/** Gives out the addresses of one node, the longest unused first. */
export class PodAddresses {
  readonly #free: number[];

  constructor() {
    this.#free = Array.from({ length: MAX_PODS_PER_NODE - 1 }, (_, i) => i + 2);
  }

  take(): number {
    const number = this.#free.shift();
    if (number === undefined) throw new Error(`no pod address is left on this node (${MAX_PODS_PER_NODE - 1} pods)`);
    return number;
  }

  give(number: number): void {
    this.#free.push(number);
  }
}

export class Sandbox {
  readonly addresses: readonly string[];
  /** The process that holds the namespace. */
  readonly pid: number;
  readonly #holder: ChildProcess;
  readonly #cgroup: string;
  readonly #link: string | undefined;
  readonly #release: () => void;

  private constructor(
    holder: ChildProcess,
    pid: number,
    cgroup: string,
    addresses: readonly string[],
    link: string | undefined,
    release: () => void,
  ) {
    this.#holder = holder;
    this.pid = pid;
    this.#cgroup = cgroup;
    this.addresses = addresses;
    this.#link = link;
    this.#release = release;
  }

  get netns(): string {
    return `/proc/${this.pid}/ns/net`;
  }

  /** A pod in the node's own network. */
  static async onHost(cgroup: string, node: AddressPair): Promise<Sandbox> {
    const { child, pid } = await hold(join(cgroup, "pause"), false);
    return new Sandbox(child, pid, cgroup, [node.v4, node.v6], undefined, () => {});
  }

  static async create(
    cgroup: string,
    uid: string,
    where: { plan: NetworkPlan; node: number; addresses: PodAddresses },
  ): Promise<Sandbox> {
    const { plan, node, addresses } = where;
    const number = addresses.take();
    const link = linkName(uid);
    try {
      const { child, pid } = await hold(join(cgroup, "pause"), true);
      const pair = plan.pod(node, number);
      const gateway = plan.pod(node, 1).v4;
      const own = plan.node(node);
      await ip([
        `link add name ${link} type veth peer name eth0 netns ${pid}`,
        `addr add ${GATEWAY_V6}/64 dev ${link} nodad`,
        `link set ${link} up`,
        `route add ${pair.v4}/32 dev ${link} src ${own.v4}`,
        `route add ${pair.v6}/128 dev ${link} src ${own.v6}`,
      ]);
      await ip(
        [
          "link set lo up",
          `addr add ${pair.v4}/32 dev eth0`,
          `addr add ${pair.v6}/128 dev eth0 nodad`,
          "link set eth0 up",
          `route add ${gateway}/32 dev eth0 scope link`,
          `route add default via ${gateway} dev eth0`,
          `route add default via ${GATEWAY_V6} dev eth0`,
        ],
        `/proc/${pid}/ns/net`,
      );
      return new Sandbox(child, pid, cgroup, [pair.v4, pair.v6], link, () => addresses.give(number));
    } catch (error) {
      addresses.give(number);
      await removeCgroup(cgroup);
      throw error;
    }
  }

  /** Ends everything of the pod that still runs, and its network. */
  async remove(): Promise<void> {
    // The link first: the address may be used again as soon as it is given back.
    if (this.#link !== undefined) await run("ip", ["link", "del", this.#link]).catch(() => {});
    this.#holder.kill("SIGKILL");
    await removeCgroup(this.#cgroup);
    this.#release();
  }
}

/** At most 15 characters, the same for the same pod. */
function linkName(uid: string): string {
  return `veth${createHash("sha256").update(uid).digest("hex").slice(0, 8)}`;
}

/** Starts the sleeping process in its cgroup; resolves when its namespace is set up. */
function hold(cgroup: string, ownNetwork: boolean): Promise<{ child: ChildProcess; pid: number }> {
  makeCgroup(cgroup);
  const settings = [
    // Addresses are ours alone, so nobody needs to be asked before they are used.
    "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad",
    "echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start",
  ].join("; ");
  const inside = `${ownNetwork ? `${settings}; ` : ""}echo ready; exec sleep infinity`;
  const enter = ownNetwork ? "exec unshare --net " : "exec ";
  const script = `echo $$ >"$0/cgroup.procs"; ${enter}/bin/sh -c '${inside}'`;
  const child = spawn("/bin/sh", ["-c", script, cgroup], { stdio: ["ignore", "pipe", "ignore"] });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`the process that holds the pod's network ended (${code})`)));
    child.stdout.once("data", () => {
      if (child.pid === undefined) reject(new Error("no process"));
      else resolve({ child, pid: child.pid });
    });
  });
}
