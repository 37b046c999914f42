import { readFileSync } from "node:fs";

/** Where cgroup v2 is mounted: at /sys/fs/cgroup, or beside v1 on hybrid hosts. */
export function cgroup2Mount(mounts: string = readFileSync("/proc/self/mounts", "utf8")): string {
  const line = mounts.split("\n").find((candidate) => candidate.split(" ")[2] === "cgroup2");
  const path = line?.split(" ")[1];
  if (path === undefined) throw new Error("no cgroup v2 hierarchy is mounted");
  return path;
}
