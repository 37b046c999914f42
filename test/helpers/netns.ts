/** Clears away what a test run that died has left: network namespaces, interfaces, cgroups and pins named by its pid. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { eventually } from "./eventually.ts";
import { cgroup2Mount } from "./pod-bed.ts";

const BPFFS = "/sys/fs/bpf";

/** Removes everything of beds called `<tag>-<pid>` whose process is gone. */
export async function sweepBeds(tag: string): Promise<void> {
  for (const netns of namesIn("/var/run/netns").filter((name) => isStale(name, tag))) {
    execFileSync("ip", ["netns", "del", netns]);
  }
  for (const device of namesIn("/sys/class/net").filter((name) => isStale(name, tag))) {
    execFileSync("ip", ["link", "del", device]);
  }
  for (const pins of namesIn(BPFFS).filter((name) => isStale(name, tag))) {
    execFileSync("/bin/sh", [
      "-eu",
      "-c",
      'find "$0" -depth -not -type d -delete; find "$0" -depth -delete',
      `${BPFFS}/${pins}`,
    ]);
  }
  for (const name of namesIn(cgroup2Mount()).filter((entry) => isStale(entry, tag))) {
    await removeCgroup(`${cgroup2Mount()}/${name}`);
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

function namesIn(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : [];
}
