/**
 * Finds a pod's network namespace and proves that it is the pod's: opened once, from a process of the pod's cgroup,
 * and holding the pod's addresses. Process ids are used again and a privileged process can sit in any namespace, so
 * each look is checked after the open.
 */
import { closeSync, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { ipFromBytes, isIpv4 } from "#lib/address.ts";
import { findPodCgroup, ownPath, processesBelow } from "./cgroups.ts";

/** An open handle on a network namespace. */
export class PodNetns implements Disposable {
  readonly #fd: number;
  /** Distinguishes namespaces that exist at the same time. */
  readonly inode: bigint;

  constructor(fd: number, inode: bigint) {
    this.#fd = fd;
    this.inode = inode;
  }

  /** For `setns(2)` in this process. */
  get path(): string {
    return `/proc/self/fd/${this.#fd}`;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

export interface NetnsQuery {
  readonly podsCgroup: string;
  readonly uid: string;
  /** The pod's addresses; the namespace must hold one of them. */
  readonly addresses: readonly string[];
}

/** A text instead of a namespace says why there is none yet. */
export function findPodNetns({ podsCgroup, uid, addresses }: NetnsQuery): PodNetns | string {
  if (addresses.length === 0) return "pod has no address yet";
  const folder = findPodCgroup(podsCgroup, uid);
  if (folder === undefined) return `no cgroup of pod ${uid} below ${podsCgroup}`;
  const own = statSync("/proc/self/ns/net", { bigint: true }).ino;
  const seen = new Set<bigint>([own]);
  for (const pid of processesBelow(folder)) {
    const netns = openOnce(pid, seen);
    if (netns === undefined) continue;
    if (belongs(pid, basename(folder), netns, addresses)) return netns;
    netns[Symbol.dispose]();
  }
  return seen.size > 1 ? "no process of the pod is in a network namespace with its address" : "pod has no process yet";
}

/** Undefined for a process that is gone, on the host's network, or in a namespace already looked at. */
function openOnce(pid: number, seen: Set<bigint>): PodNetns | undefined {
  try {
    const fd = openSync(`/proc/${pid}/ns/net`, "r");
    const inode = fstatSync(fd, { bigint: true }).ino;
    if (seen.has(inode)) {
      closeSync(fd);
      return undefined;
    }
    seen.add(inode);
    return new PodNetns(fd, inode);
  } catch {
    return undefined;
  }
}

function belongs(pid: number, podFolder: string, netns: PodNetns, addresses: readonly string[]): boolean {
  try {
    const local = localAddresses(pid);
    const stillThere = statSync(`/proc/${pid}/ns/net`, { bigint: true }).ino === netns.inode;
    const inPod = ownPath(readFileSync(`/proc/${pid}/cgroup`, "utf8"))
      .split("/")
      .includes(podFolder);
    return stillThere && inPod && addresses.some((ip) => local.has(ip));
  } catch {
    return false;
  }
}

/** Addresses of the interfaces in a process's network namespace. */
function localAddresses(pid: number): Set<string> {
  const found = new Set<string>();
  let last = "";
  for (const line of readFileSync(`/proc/${pid}/net/fib_trie`, "utf8").split("\n")) {
    const address = /\|-- (\S+)$/.exec(line)?.[1];
    if (address !== undefined) last = address;
    else if (line.includes("host LOCAL") && isIpv4(last)) found.add(last);
  }
  for (const line of ipv6Lines(pid)) {
    const hex = line.split(/\s+/)[0] ?? "";
    if (hex.length === 32) found.add(ipFromBytes(Buffer.from(hex, "hex")));
  }
  return found;
}

function ipv6Lines(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/net/if_inet6`, "utf8").split("\n");
  } catch {
    // A kernel without IPv6.
    return [];
  }
}
