/**
 * A node as a network namespace of its own, with pods joined to it as a CNI does, an agent's BPF plane in it, and
 * counters of what passes the node.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { cgroupMount } from "../../playground/src/system/cgroup.ts";
import { removeCgroup, sweepBeds } from "../helpers/netns.ts";
import { finished } from "../helpers/pod-bed.ts";
import { Conversation } from "./capture-bed.ts";
import { LAYOUTS, type LayoutName, type LayoutPod } from "./redirect-layouts.ts";
import { PlaneProcess } from "./redirect-plane.ts";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const TAG = "wred";
const MTU = 1500;
export const PORT = 7000;

export interface RedirectPod extends LayoutPod {
  readonly netnsPath: string;
  readonly cgroup: string;
}

export class RedirectBed {
  readonly name: string;
  readonly node: string;
  readonly pinDir: string;
  readonly #layout: LayoutName;
  readonly #pods: RedirectPod[] = [];
  readonly #planes: PlaneProcess[] = [];
  readonly #children = new Set<ChildProcess>();

  static async create(layout: LayoutName): Promise<RedirectBed> {
    await sweepBeds(TAG);
    return new RedirectBed(layout);
  }

  private constructor(layout: LayoutName) {
    this.name = `${TAG}-${process.pid}`;
    this.node = `${this.name}-node`;
    this.pinDir = `/sys/fs/bpf/${this.name}`;
    this.#layout = layout;
    sh(`${namespace(this.node)}
      ip -n ${this.node} link set lo up
      ip netns exec ${this.node} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
      ${LAYOUTS[layout].prepare(this.node)}`);
    mkdirSync(`${this.#cgroup}/kubepods`, { recursive: true });
    mkdirSync(`${this.#cgroup}/agent`, { recursive: true });
  }

  get #cgroup(): string {
    return `${cgroupMount()}/${this.name}`;
  }

  addPod(options: { mtu?: number } = {}): RedirectPod {
    const number = this.#pods.length + 2;
    const netns = `${this.name}-p${number}`;
    const pod: RedirectPod = {
      netns,
      netnsPath: `/var/run/netns/${netns}`,
      device: `veth${number}`,
      ip: `10.77.0.${number}`,
      ip6: `fd77::${number}`,
      mtu: options.mtu ?? MTU,
      cgroup: `${this.#cgroup}/kubepods/pod${number}`,
    };
    sh(namespace(netns));
    this.join(pod);
    mkdirSync(pod.cgroup, { recursive: true });
    this.#pods.push(pod);
    return pod;
  }

  /** Makes the pod's device, also anew. */
  join(pod: RedirectPod): void {
    sh(LAYOUTS[this.#layout].join(this.node, pod));
  }

  async startPlane(): Promise<PlaneProcess> {
    const plane = await PlaneProcess.start(this.node, {
      pinDir: this.pinDir,
      podsCgroup: `${this.#cgroup}/kubepods`,
      agentCgroup: `${this.#cgroup}/agent`,
    });
    this.#planes.push(plane);
    return plane;
  }

  /** Runs a command in the node's namespace and returns what it prints. */
  onNode(command: string): string {
    return sh(`ip netns exec ${this.node} sh -euc '${command}'`);
  }
  inPod(pod: RedirectPod, command: string): string {
    return sh(`ip netns exec ${pod.netns} sh -euc '${command}'`);
  }

  /** Begins to count the TCP packets that the node sees on their way from pod to pod. */
  watch(): void {
    this.onNode(`nft -f - <<EOF
table ${LAYOUTS[this.#layout].family} watch {
  counter handshakes {}
  counter others {}
  chain forward {
    type filter hook forward priority 0;
    tcp flags & syn == syn counter name handshakes accept
    meta l4proto tcp counter name others
  }
}
EOF`);
  }

  /** TCP packets that have passed the node since the last call, or since `watch`: with SYN, and others. */
  seen(): { readonly handshakes: number; readonly others: number } {
    const reset = this.onNode(`nft -j reset counters table ${LAYOUTS[this.#layout].family} watch`);
    const { nftables } = JSON.parse(reset) as { nftables: { counter?: { name: string; packets: number } }[] };
    const count = (name: string): number => nftables.find((one) => one.counter?.name === name)?.counter?.packets ?? 0;
    return { handshakes: count("handshakes"), others: count("others") };
  }

  /** Runs Python in the pod (helpers of app.py and redirect_app.py are there) and returns the JSON that it prints. */
  async app(pod: RedirectPod, code: string): Promise<unknown> {
    const { code: status, stdout, stderr } = await finished(this.#spawn(pod, code, "ignore"));
    if (status !== 0) throw new Error(`the program ended with ${status}: ${stderr}`);
    return JSON.parse(stdout);
  }

  /** Starts Python in the pod that stays, and waits until it says "ready". */
  async serve(pod: RedirectPod, code: string): Promise<Conversation> {
    const conversation = new Conversation(this.#spawn(pod, code, "pipe"));
    const first = await conversation.next();
    if (first !== "ready") throw new Error(`the program in ${pod.netns} did not start: ${first}`);
    return conversation;
  }

  /** Something that sends back what it gets. */
  async echo(pod: RedirectPod): Promise<void> {
    await this.serve(pod, `in_background(echo, listener("::", ${PORT})); stay()`);
  }

  /** A connection that stays; ask it for a number, and it sends that many bytes and reads them back. */
  talk(pod: RedirectPod, ip: string): Promise<Conversation> {
    return this.serve(pod, `talk("${ip}", ${PORT})`);
  }

  /** Puts a program on a device in a network namespace, as somebody else would. */
  async neighbour(netns: string, kind: string, device: string, verdict: number): Promise<{ end(): Promise<void> }> {
    const args = [`--net=/var/run/netns/${netns}`, "python3", `${HERE}/neighbour.py`, kind, device, String(verdict)];
    const child = spawn("/usr/bin/nsenter", args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.add(child);
    await new Conversation(child).next();
    const end = async (): Promise<void> => {
      const gone = finished(child);
      child.kill("SIGKILL");
      await gone;
    };
    return { end };
  }

  /** Names of the tcx programs at the ingress of a device of the node, in their order. */
  tcxPrograms(device: string): string[] {
    const query = `${HERE}/tcx_query.py`;
    const ids = sh(`nsenter --net=/var/run/netns/${this.node} python3 ${query} ${device}`).split(/\s+/).filter(Boolean);
    return ids.map((id) => (JSON.parse(bpftool("prog", "show", "id", id)) as { name: string }).name);
  }

  entries(map: string): number {
    return (JSON.parse(bpftool("map", "dump", "pinned", `${this.pinDir}/v2/maps/${map}`)) as unknown[]).length;
  }

  async dispose(): Promise<void> {
    for (const plane of this.#planes) await plane.kill();
    for (const child of this.#children) child.kill("SIGKILL");
    sh(`rm -rf ${this.pinDir}`);
    await removeCgroup(this.#cgroup);
    for (const pod of this.#pods) sh(`ip netns del ${pod.netns}`);
    sh(`ip netns del ${this.node}`);
  }

  #spawn(pod: RedirectPod, code: string, stdin: "ignore" | "pipe"): ChildProcess {
    const enter = `echo $$ >"$0/cgroup.procs" && exec nsenter --net="$1" python3 -B -c "$2"`;
    const program = `import sys; sys.path.insert(0, "${HERE}")\nfrom redirect_app import *\n${code}`;
    const child = spawn("/bin/sh", ["-c", enter, pod.cgroup, pod.netnsPath, program], {
      stdio: [stdin, "pipe", stdin === "ignore" ? "pipe" : "inherit"],
    });
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }
}

export function bpftool(...args: readonly string[]): string {
  return execFileSync("/usr/sbin/bpftool", ["-j", ...args]).toString();
}

function namespace(name: string): string {
  return `ip netns add ${name}
    ip netns exec ${name} sysctl -qw net.ipv6.conf.default.accept_dad=0`;
}

export function sh(script: string): string {
  return execFileSync("/bin/sh", ["-eu", "-c", script], { stdio: ["ignore", "pipe", "pipe"] }).toString();
}
