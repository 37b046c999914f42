/** Where the cgroups of this node are: unified or hybrid hierarchy, any runtime's layout. */

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { cgroup2Mount } from "#lib/cgroup2.ts";

export interface NodeCgroups {
  /** Holds all pods. */
  readonly pods: string;
  /** This process. */
  readonly agent: string;
  readonly kubelet?: string;
}

export interface CgroupOverrides {
  readonly podsCgroup?: string;
  readonly kubeletCgroup?: string;
}

/** Places of a kubelet next to the pods' folder, then below the root of the hierarchy. */
const KUBELET_SIBLING = "kubelet";
const KUBELET_SERVICES = [
  "system.slice/kubelet.service",
  "kubelet.slice/kubelet.service",
  "system.slice/k3s.service",
  "system.slice/k3s-agent.service",
  "system.slice/rke2-server.service",
  "system.slice/rke2-agent.service",
  "system.slice/snap.microk8s.daemon-kubelite.service",
];
const PODS_ROOTS = ["kubepods.slice", "kubepods", "kubelet/kubepods", "kubelet.slice/kubelet-kubepods.slice"];

/** Throws an Error that says which variable to set when the pods' folder is not found. */
export function findCgroups(overrides: CgroupOverrides, procDir = "/proc"): NodeCgroups {
  const mount = cgroup2Mount(readFileSync(join(procDir, "self/mounts"), "utf8"));
  if (mount === undefined) throw new Error("no cgroup2 hierarchy is mounted; mount one at /sys/fs/cgroup");
  const agent = ownFolder(mount, procDir);
  const pods =
    overrides.podsCgroup ??
    ancestorOfPods(mount, agent) ??
    PODS_ROOTS.map((path) => join(mount, path)).find((path) => existsSync(path));
  if (pods === undefined) {
    throw new Error(`no folder of the pods' cgroups below ${mount}; set WEFT_PODS_CGROUP`);
  }
  const kubelet =
    overrides.kubeletCgroup ??
    [join(dirname(pods), KUBELET_SIBLING), ...KUBELET_SERVICES.map((path) => join(mount, path))].find(
      (path) => path !== pods && !pods.startsWith(`${path}/`) && isFolder(path),
    );
  return { pods, agent, ...(kubelet === undefined ? {} : { kubelet }) };
}

/**
 * Where this process is. In a cgroup namespace of its own, as container runtimes make them on unified hosts, it sees itself at the root
 * while the node's hierarchy is mounted whole: then the folder is the one that lists its id, for ids are the node's.
 */
function ownFolder(mount: string, procDir: string): string {
  const path = ownPath(readFileSync(join(procDir, "self/cgroup"), "utf8"));
  if (path !== "/") return join(mount, path);
  const pid = /^\d+/.exec(readText(join(procDir, "self/stat")))?.[0];
  return (
    PODS_ROOTS.map((root) => folderOf(Number(pid), join(mount, root))).find((found) => found !== undefined) ?? mount
  );
}

function folderOf(pid: number, folder: string): string | undefined {
  if (readText(join(folder, "cgroup.procs")).split("\n").includes(String(pid))) return folder;
  for (const name of folders(folder)) {
    const found = folderOf(pid, join(folder, name));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The path in the unified hierarchy from the text of a `cgroup` file. */
export function ownPath(cgroup: string): string {
  const line = cgroup.split("\n").find((candidate) => candidate.startsWith("0::"));
  return line?.slice(3) ?? "/";
}

/** In every runtime's layout; systemd wants underscores. */
const POD_FOLDER = /(?:^|-)pod([0-9a-f]{8}[-_0-9a-f]*)(?:\.slice)?$/;

/** Of the pod whose folder has this name. */
export function podUidOf(name: string): string | undefined {
  return POD_FOLDER.exec(name)?.[1]?.replaceAll("_", "-");
}

/** Between the folder of all pods and theirs, for quality of service. */
export function isClassFolder(name: string): boolean {
  return /^(?:kube(?:let-kube)?pods-)?(?:besteffort|burstable)(?:\.slice)?$/.test(name);
}

/**
 * The folder of a pod: named `pod<uid>`, or `...-pod<uid>.slice` with underscores, up to two levels (the quality of
 * service classes) below the pods' folder.
 */
export function findPodCgroup(podsCgroup: string, uid: string): string | undefined {
  const pattern = new RegExp(`(^|-)pod(${RegExp.escape(uid)}|${RegExp.escape(uid.replaceAll("-", "_"))})(\\.slice)?$`);
  return search(podsCgroup, pattern, 2);
}

function search(folder: string, pattern: RegExp, depth: number): string | undefined {
  const names = folders(folder);
  const found = names.find((name) => pattern.test(name));
  if (found !== undefined) return join(folder, found);
  if (depth === 0) return undefined;
  for (const name of names) {
    // Another pod's folder; its name says so in every layout.
    if (podUidOf(name) !== undefined) continue;
    const below = search(join(folder, name), pattern, depth - 1);
    if (below !== undefined) return below;
  }
  return undefined;
}

/** Process ids in a cgroup and everything below it, ascending. */
export function processesBelow(folder: string): number[] {
  const found: number[] = [];
  const visit = (path: string): void => {
    for (const line of readText(join(path, "cgroup.procs")).split("\n")) {
      const pid = Number(line);
      // 0 stands for a process of another pid namespace: the agent needs the host's.
      if (pid > 0) found.push(pid);
    }
    for (const name of folders(path)) visit(join(path, name));
  };
  visit(folder);
  return found.sort((a, b) => a - b);
}

function ancestorOfPods(mount: string, path: string): string | undefined {
  for (let folder = path; folder.startsWith(mount) && folder !== mount; folder = dirname(folder)) {
    const name = folder.slice(folder.lastIndexOf("/") + 1);
    const parent = dirname(folder);
    const parentName = parent.slice(parent.lastIndexOf("/") + 1);
    // kubepods.slice/kubepods-burstable.slice/...: the outermost one holds all pods.
    if (/^kube(let-kube)?pods/.test(name) && !/^kube(let-kube)?pods/.test(parentName)) return folder;
  }
  return undefined;
}

/** Names of the folders in a folder; none when it is gone. */
export function folders(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    // Gone between two looks.
    return [];
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
