/** What the node is like that this runs on, tried and not read off a version. Needs root, as the agent's pod has it. */
import { readFileSync, statfsSync } from "node:fs";
import { release } from "node:os";
import { cgroup2Mount } from "#lib/cgroup2.ts";
import { loadAddon } from "../../../agent/src/native.ts";
import { type Check, error, ok } from "./check.ts";
import { lacking } from "./checks.ts";
import { absentFeatures } from "./kernel.ts";

const BPFFS = "/sys/fs/bpf";
/** linux/magic.h: BPF_FS_MAGIC */
const BPFFS_TYPE = 0xca_fe_4a_11;

export interface NodeFacts {
  readonly kernel: string;
  /** A text: why nothing could be tried. */
  readonly features: Readonly<Record<string, boolean>> | string;
  readonly hasCgroup2: boolean;
  readonly hasBpffs: boolean;
}

export function nodeFacts(): NodeFacts {
  return {
    kernel: release(),
    features: probe(),
    hasCgroup2: cgroup2Mount(readFileSync("/proc/self/mounts", "utf8")) !== undefined,
    hasBpffs: statfsSync(BPFFS).type === BPFFS_TYPE,
  };
}

export function checkFacts(node: string, { kernel, features, hasCgroup2, hasBpffs }: NodeFacts): readonly Check[] {
  const checks: Check[] = [];
  if (typeof features === "string") {
    checks.push({ severity: "error", what: `node ${node}: ${features}` });
  } else {
    checks.push(...absentFeatures(features).map((feature) => lacking(node, kernel, feature)));
  }
  if (!hasCgroup2) {
    const todo =
      "boot with systemd.unified_cgroup_hierarchy=1, or mount one beside version 1: mount -t cgroup2 none /sys/fs/cgroup/unified";
    checks.push(error(`node ${node} has no cgroup v2 hierarchy mounted`, todo));
  }
  if (!hasBpffs) checks.push(error(`node ${node} has no bpffs at ${BPFFS}`, `on the node: mount -t bpf bpf ${BPFFS}`));
  return checks.length > 0 ? checks : [ok(`node ${node} has everything that Weft uses (kernel ${kernel}, tried)`)];
}

function probe(): NodeFacts["features"] {
  try {
    return loadAddon().probeKernel();
  } catch (failure) {
    return failure instanceof Error ? failure.message : String(failure);
  }
}
