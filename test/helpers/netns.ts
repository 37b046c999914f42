/** Clears away what a test run that died has left: network namespaces, interfaces, cgroups and pins named by its pid. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { eventually } from "#lib/eventually.ts";
import { cgroupMount } from "../../playground/src/system/cgroup.ts";

/** Removes everything of beds called `<tag>-<pid>` whose process is gone. */
export async function sweepBeds(tag: string): Promise<void> {
  for (const netns of staleIn("/var/run/netns", tag)) remove(netns, "ip", ["netns", "del", basename(netns)]);
  // The kernel takes a dead namespace's interfaces away by itself, a moment later.
  for (const device of staleIn("/sys/class/net", tag)) remove(device, "ip", ["link", "del", basename(device)]);
  for (const pins of staleIn("/sys/fs/bpf", tag)) remove(pins, "/bin/sh", ["-eu", "-c", REMOVE_TREE, pins]);
  for (const cgroup of staleIn(cgroupMount(), tag)) await removeCgroup(cgroup);
}

const REMOVE_TREE = 'find "$0" -depth -not -type d -delete; find "$0" -depth -delete';

/** Runs a command that removes `path`; that somebody was faster is no failure. */
function remove(path: string, command: string, args: readonly string[]): void {
  try {
    execFileSync(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    if (existsSync(path)) throw error;
  }
}

/** Ends what runs in the cgroup and below, and removes it. */
export async function removeCgroup(path: string): Promise<void> {
  writeFileSync(`${path}/cgroup.kill`, "1");
  await eventually(`cgroup ${path} is empty`, () => {
    removeTree(path);
    return true;
  });
}

function removeTree(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(`${path}/${entry.name}`);
  }
  rmdirSync(path);
}

function isStale(name: string, tag: string): boolean {
  const pid = new RegExp(`^${tag}-(\\d+)`).exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}

function staleIn(path: string, tag: string): string[] {
  if (!existsSync(path)) return [];
  const stale = readdirSync(path).filter((name) => isStale(name, tag));
  return stale.map((name) => `${path}/${name}`);
}
