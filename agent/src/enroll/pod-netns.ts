/**
 * Finds a pod's network namespace and proves that it is the pod's: opened once, from a process of the pod's cgroup,
 * and holding the pod's addresses. Process ids are used again and a privileged process can sit in any namespace, so
 * each look is checked after the open.
 *
 * The API tells of a pod's addresses when its first process has long been running. Until then they are those that
 * the namespace has, when there is no doubt: one namespace, set up to the end, with one address of a family.
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
  /** The pod's, of which the namespace has one at least. */
  readonly addresses: readonly string[];

  constructor(fd: number, inode: bigint, addresses: readonly string[]) {
    this.#fd = fd;
    this.inode = inode;
    this.addresses = addresses;
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
  /** The pod's addresses; the namespace must hold one of them. None: the API knows of none yet. */
  readonly addresses: readonly string[];
}

/** A text instead of a namespace says why there is none yet. */
export function findPodNetns({ podsCgroup, uid, addresses }: NetnsQuery): PodNetns | string {
  const folder = findPodCgroup(podsCgroup, uid);
  if (folder === undefined) return `no cgroup of pod ${uid} below ${podsCgroup}`;
  using candidates = new Candidates(folder);
  if (candidates.all.length === 0) return "pod has no process yet";
  if (addresses.length === 0) return settled(candidates);
  for (const candidate of candidates.all) {
    const local = candidate.addresses();
    if (addresses.some((ip) => local.has(ip)) && candidate.isStillThere()) return candidates.take(candidate, addresses);
  }
  return "no process of the pod is in a network namespace with its address";
}

function settled(candidates: Candidates): PodNetns | string {
  const [candidate, another] = candidates.all;
  if (candidate === undefined || another !== undefined) return "pod has processes in several network namespaces";
  const addresses = settledAddresses(candidate.pid);
  if (addresses === undefined || !candidate.isStillThere()) return "pod has no address yet";
  return candidates.take(candidate, addresses);
}

/** A network namespace that some process of the pod is in. */
class Candidate {
  readonly pid: number;
  readonly fd: number;
  readonly inode: bigint;
  readonly #folder: string;

  constructor(pid: number, fd: number, inode: bigint, folder: string) {
    this.pid = pid;
    this.fd = fd;
    this.inode = inode;
    this.#folder = folder;
  }

  addresses(): ReadonlySet<string> {
    return attempt(() => localAddresses(this.pid)) ?? new Set();
  }

  /** To be asked after everything that was read by process id. */
  isStillThere(): boolean {
    const held = attempt(() => statSync(`/proc/${this.pid}/ns/net`, { bigint: true }).ino);
    const path = attempt(() => ownPath(readFileSync(`/proc/${this.pid}/cgroup`, "utf8")));
    return held === this.inode && path?.split("/").includes(this.#folder) === true;
  }
}

/** Open until it is disposed of, but for the one that is taken. */
class Candidates implements Disposable {
  readonly all: readonly Candidate[];
  #taken: Candidate | undefined;

  constructor(folder: string) {
    const own = statSync("/proc/self/ns/net", { bigint: true }).ino;
    const byInode = new Map<bigint, Candidate>();
    for (const pid of processesBelow(folder)) {
      const found = openNetns(pid);
      if (found === undefined) continue;
      if (found.inode === own || byInode.has(found.inode)) closeSync(found.fd);
      else byInode.set(found.inode, new Candidate(pid, found.fd, found.inode, basename(folder)));
    }
    this.all = [...byInode.values()];
  }

  take(candidate: Candidate, addresses: readonly string[]): PodNetns {
    this.#taken = candidate;
    return new PodNetns(candidate.fd, candidate.inode, addresses);
  }

  [Symbol.dispose](): void {
    for (const candidate of this.all) if (candidate !== this.#taken) closeSync(candidate.fd);
  }
}

/** Undefined for a process that is gone. */
function openNetns(pid: number): { readonly fd: number; readonly inode: bigint } | undefined {
  return attempt(() => {
    const fd = openSync(`/proc/${pid}/ns/net`, "r");
    return { fd, inode: fstatSync(fd, { bigint: true }).ino };
  });
}

/** Addresses of the interfaces in a process's network namespace. */
function localAddresses(pid: number): Set<string> {
  const found = new Set(localAddresses4(read(pid, "fib_trie")));
  for (const { ip } of ipv6Addresses(pid)) found.add(ip);
  return found;
}

/**
 * The addresses of a namespace whose set-up has come to its end, which is the default route: a network plugin adds addresses, then
 * routes. Undefined: not yet, or not without doubt.
 */
function settledAddresses(pid: number): readonly string[] | undefined {
  return attempt(() => {
    const v4 = localAddresses4(read(pid, "fib_trie")).filter((ip) => !ip.startsWith("127."));
    const v6 = ipv6Addresses(pid).filter(({ isGlobal }) => isGlobal);
    if (v4.length > 1 || v6.length > 1 || v6.some(({ isUsable }) => !isUsable)) return undefined;
    if (v4.length > 0 && !hasDefaultRoute4(read(pid, "route"))) return undefined;
    if (v6.length > 0 && !hasDefaultRoute6(read(pid, "ipv6_route"))) return undefined;
    const all = [...v4, ...v6.map(({ ip }) => ip)];
    return all.length === 0 ? undefined : all;
  });
}

function localAddresses4(fibTrie: string): string[] {
  const found = new Set<string>();
  let last = "";
  for (const line of fibTrie.split("\n")) {
    const address = /\|-- (\S+)$/.exec(line)?.[1];
    if (address !== undefined) last = address;
    else if (line.includes("host LOCAL") && isIpv4(last)) found.add(last);
  }
  return [...found];
}

interface Ipv6Address {
  readonly ip: string;
  readonly isGlobal: boolean;
  /** Nobody else is being asked whether it is theirs. */
  readonly isUsable: boolean;
}

/** include/uapi/linux/if_addr.h */
const IFA_F_DADFAILED = 0x08;
const IFA_F_TENTATIVE = 0x40;
const SCOPE_GLOBAL = 0;

function ipv6Addresses(pid: number): Ipv6Address[] {
  // A kernel without IPv6 has no such file.
  const lines = (attempt(() => read(pid, "if_inet6")) ?? "").split("\n");
  return lines.flatMap((line) => {
    const [hex = "", , , scope = "", flags = ""] = line.split(/\s+/);
    if (hex.length !== 32) return [];
    return {
      ip: ipFromBytes(Buffer.from(hex, "hex")),
      isGlobal: Number.parseInt(scope, 16) === SCOPE_GLOBAL,
      isUsable: (Number.parseInt(flags, 16) & (IFA_F_DADFAILED | IFA_F_TENTATIVE)) === 0,
    };
  });
}

function hasDefaultRoute4(route: string): boolean {
  return route.split("\n").some((line) => {
    const [, destination, , , , , , mask] = line.split(/\s+/);
    return destination === "00000000" && mask === "00000000";
  });
}

function hasDefaultRoute6(route: string): boolean {
  return route.split("\n").some((line) => {
    const [destination, length, , , , , , , , device] = line.split(/\s+/);
    // The kernel's own way of saying that there is none goes to lo.
    return destination === "0".repeat(32) && length === "00" && device !== "lo";
  });
}

function read(pid: number, file: string): string {
  return readFileSync(`/proc/${pid}/net/${file}`, "utf8");
}

/** Undefined when what is looked at has gone. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
