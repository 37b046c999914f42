/** The shell script that turns a fresh process into a container: cgroup, namespaces, a root of its own, the program. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { shellQuote } from "../system/command.ts";
import { resolveInside } from "./volumes.ts";

export interface Mount {
  /** A file or folder of the machine. */
  readonly source: string;
  /** Where the container sees it. */
  readonly target: string;
  readonly readOnly: boolean;
}

export interface ContainerSetup {
  readonly cgroup: string;
  /** Path of the network namespace. */
  readonly netns: string;
  readonly hostname: string;
  /** An empty folder; what is mounted there is seen by the container only. */
  readonly rootDir: string;
  /** hosts, resolv.conf, hostname: files that replace those in /etc. */
  readonly etcFiles: readonly string[];
  readonly mounts: readonly Mount[];
  /** Sees the real cgroups and the node's bpffs, writable. */
  readonly seesKernel: { readonly bpf: string } | undefined;
  readonly repository: string;
  readonly workingDir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly setpriv: readonly string[];
  readonly argv: readonly string[];
}

/** Where programs of the machine are, whatever the pod's PATH is. */
const ENV = "/usr/bin/env";
const SETPRIV = "/usr/bin/setpriv";
/** Where a machine's programs are; each may be a disk of its own, which an overlay of the root does not show. */
const PROGRAM_FOLDERS = /^\/(usr|opt|bin|sbin|lib|lib64)(\/|$)/;

export function hasOverlay(filesystems: string = readFileSync("/proc/filesystems", "utf8")): boolean {
  return /\boverlay$/m.test(filesystems);
}

/** Written to descriptor 3 just before the container's program begins. */
export const STARTED = "started";

/** Joins the cgroup and the network namespace, then hands over to `script` in mount and host name spaces of its own. */
export function enterCommand(setup: { cgroup: string; netns: string }, script: string): string[] {
  const join = `echo $$ >"$0/cgroup.procs" && exec nsenter --net="$1" unshare --mount --uts --propagation private /bin/sh "$2"`;
  return ["/bin/sh", "-c", join, setup.cgroup, setup.netns, script];
}

export function containerScript(setup: ContainerSetup): string {
  const root = shellQuote(setup.rootDir);
  const overlay = hasOverlay();
  const lines = [
    "set -e",
    `mount -t tmpfs -o mode=755 weft-container ${root}`,
    `cd ${root}`,
    "mkdir upper work root",
    overlay
      ? 'mount -t overlay -o lowerdir=/,upperdir="$PWD/upper",workdir="$PWD/work" weft-container root'
      : "mount --rbind / root",
    "cd root",
    ...(overlay ? programMounts().flatMap((path) => bind(path, path)) : []),
    "mount --rbind /proc proc",
    "mount --rbind /dev dev",
    `mount -t sysfs ${setup.seesKernel === undefined ? "-o ro " : ""}sysfs sys`,
    "mount -t tmpfs -o mode=755 tmpfs run",
    "mount -t tmpfs -o mode=1777 tmpfs tmp",
    ...readOnlyBind(setup.repository, setup.repository),
    // A clone in somebody's home must be reachable by a container's user too. Only the container sees the change.
    ...(overlay ? parents(setup.repository).map((path) => `chmod o+x ${shellQuote(join(".", path))}`) : []),
  ];
  if (setup.seesKernel !== undefined) {
    lines.push(
      "mount --rbind /sys/fs/cgroup sys/fs/cgroup",
      `mount --bind ${shellQuote(setup.seesKernel.bpf)} sys/fs/bpf`,
    );
  }
  const files = setup.etcFiles.map(shellQuote);
  if (overlay) lines.push(`cp --remove-destination ${files.join(" ")} etc/`);
  else for (const file of setup.etcFiles) lines.push(...bind(file, `/etc/${file.split("/").at(-1)}`));
  for (const mount of setup.mounts) {
    const target = resolveInside(mount.target);
    lines.push(...(mount.readOnly ? readOnlyBind(mount.source, target) : bind(mount.source, target)));
  }
  lines.push(
    "mkdir run/.old",
    "pivot_root . run/.old",
    "umount -l /run/.old",
    "rmdir /run/.old",
    `hostname ${shellQuote(setup.hostname)}`,
    `cd ${shellQuote(setup.workingDir)}`,
    // Whoever reads this descriptor learns that all of the above has worked, and the program begins.
    `echo ${STARTED} >&3`,
    `exec ${programCommand(setup)} 3>&-`,
  );
  return `${lines.join("\n")}\n`;
}

/** The container's program, or another one with its environment and rights, as words for a shell. */
export function programCommand(setup: Pick<ContainerSetup, "env" | "setpriv" | "argv">): string {
  const variables = Object.entries(setup.env).map(([name, value]) => `${name}=${value}`);
  const rights = setup.setpriv.length === 0 ? [] : [SETPRIV, ...setup.setpriv];
  return [ENV, "-i", ...variables, ...rights, ...setup.argv].map(shellQuote).join(" ");
}

function bind(source: string, target: string): string[] {
  const at = shellQuote(join(".", target));
  const isFolder = statSync(source).isDirectory();
  const prepare = isFolder ? [`mkdir -p ${at}`] : [`mkdir -p "$(dirname ${at})"`, `touch ${at}`];
  return [...prepare, `mount --rbind ${shellQuote(source)} ${at}`];
}

function readOnlyBind(source: string, target: string): string[] {
  return [...bind(source, target), `mount -o remount,bind,ro ${shellQuote(join(".", target))}`];
}

function parents(path: string): string[] {
  const parts = path.split("/").filter((part) => part !== "");
  return parts.slice(0, -1).map((_, i) => `/${parts.slice(0, i + 1).join("/")}`);
}

/** Mounts in the folders of programs. */
function programMounts(mounts: string = readFileSync("/proc/self/mounts", "utf8")): string[] {
  return mounts
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((target) => PROGRAM_FOLDERS.test(target));
}
