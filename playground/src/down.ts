/** Undoes a playground: processes, cgroups, mounts, files. Works from what is there, whoever started it. */
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { announceEnd, releaseIndex, STATE_ROOT, stateDir } from "./state.ts";
import { cgroupMount, removeCgroup } from "./system/cgroup.ts";
import { run } from "./system/command.ts";

export function playgroundCgroup(name: string): string {
  return join(cgroupMount(), `weft-${name}`);
}

/** Network namespaces, links and nft rules end with the processes that hold them. */
export async function tearDown(name: string): Promise<void> {
  announceEnd(name);
  await removeCgroup(playgroundCgroup(name));
  for (const mount of mountsBelow(stateDir(name))) await unmount(mount);
  rmSync(stateDir(name), { recursive: true, force: true });
  releaseIndex(name);
  removeIfEmpty(join(STATE_ROOT, ".numbers"));
  removeIfEmpty(STATE_ROOT);
}

/** `up` and `down` may tear down at the same time: what the other one has done is done. */
async function unmount(target: string): Promise<void> {
  try {
    await run("umount", ["-l", target]);
  } catch (error) {
    if (mountsBelow(dirname(target)).includes(target)) throw error;
  }
}

/** Deepest first. */
function mountsBelow(folder: string): string[] {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((target) => target.startsWith(`${folder}/`))
    .sort()
    .reverse();
}

function removeIfEmpty(folder: string): void {
  if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
}
