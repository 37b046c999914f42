/** Control groups (version 2) as folders: made, emptied and removed. */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cgroup2Mount } from "#lib/cgroup2.ts";

/** Where version 2 is mounted: /sys/fs/cgroup, or beside version 1 on hybrid hosts. Throws when nowhere. */
export function cgroupMount(): string {
  const mount = cgroup2Mount(readFileSync("/proc/self/mounts", "utf8"));
  if (mount === undefined) {
    throw new Error("no cgroup2 file system is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup");
  }
  return mount;
}

export function makeCgroup(path: string): void {
  mkdirSync(path, { recursive: true });
}

/** Kills every process below `path`. Needs Linux 5.14. */
export function killCgroup(path: string): void {
  const file = join(path, "cgroup.kill");
  if (existsSync(file)) writeFileSync(file, "1");
}

export function isPopulated(path: string): boolean {
  const file = join(path, "cgroup.events");
  return existsSync(file) && readFileSync(file, "utf8").includes("populated 1");
}

/** Kills what runs below `path`, waits for it and removes the groups. */
export async function removeCgroup(path: string, withinMs = 10_000): Promise<void> {
  if (!existsSync(path)) return;
  killCgroup(path);
  const deadline = performance.now() + withinMs;
  for (;;) {
    try {
      removeTree(path);
      return;
    } catch (error) {
      // EBUSY until the kernel has reaped the last process.
      if (performance.now() > deadline) throw error;
      killCgroup(path);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

function removeTree(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(path, entry.name));
  }
  rmdirSync(path);
}
