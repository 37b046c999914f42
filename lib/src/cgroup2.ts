/** Where the unified cgroup hierarchy is mounted: /sys/fs/cgroup, or beside version 1 on hybrid hosts. */

/** The first cgroup2 mount in the text of a `mounts` file. */
export function cgroup2Mount(mounts: string): string | undefined {
  for (const line of mounts.split("\n")) {
    const [, path = "", type] = line.split(" ");
    if (type === "cgroup2") return path.replace(/\\040/g, " ");
  }
  return undefined;
}
