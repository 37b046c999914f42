import { describe, expect, test } from "vitest";
import { KERNEL_FEATURES, remedy } from "./kernel.ts";
import { checkFacts, type NodeFacts } from "./node-probe.ts";

const ALL = Object.fromEntries(KERNEL_FEATURES.map(({ id }) => [id, true]));
const GOOD: NodeFacts = { kernel: "6.8.0-generic", features: ALL, hasCgroup2: true, hasBpffs: true };

function lines(facts: Partial<NodeFacts>): string[] {
  return checkFacts("n1", { ...GOOD, ...facts }).map(({ severity, what, todo }) => [severity, what, todo].join("; "));
}

describe("a node that was tried", () => {
  test("has everything", () => {
    expect(lines({})).toEqual(["ok; node n1 has everything that Weft uses (kernel 6.8.0-generic, tried); "]);
  });

  test("lacks what its kernel is new enough for: the option is named", () => {
    expect(lines({ features: { ...ALL, btf: false, "socket-destroy": false } })).toEqual([
      "error; node n1 runs kernel 6.8.0-generic, which lacks its own type information (BTF): pods cannot be captured; use a kernel with CONFIG_DEBUG_INFO_BTF",
      "warning; node n1 runs kernel 6.8.0-generic, which lacks the ending of other processes' connections: pods of one node talk through the agent, not directly; use a kernel with CONFIG_INET_DIAG_DESTROY",
    ]);
  });

  test("lacks what came later: the release is named", () => {
    expect(lines({ kernel: "5.15.0", features: { ...ALL, tcx: false } })).toEqual([
      "warning; node n1 runs kernel 5.15.0, which lacks tcx links: packets of direct connections pass the node's network; use kernel 6.6 or later",
    ]);
  });

  test("has no cgroup v2 and no bpffs: what to mount is named", () => {
    const found = lines({ hasCgroup2: false, hasBpffs: false });
    expect(found[0]).toMatch(/^error; node n1 has no cgroup v2 hierarchy mounted; boot with /);
    expect(found[1]).toBe("error; node n1 has no bpffs at /sys/fs/bpf; on the node: mount -t bpf bpf /sys/fs/bpf");
  });

  test("could not be tried: why", () => {
    expect(lines({ features: "loading BPF needs CAP_BPF; run as root" })).toEqual([
      "error; node n1: loading BPF needs CAP_BPF; run as root; ",
    ]);
  });
});

test("every feature says what to do, for an old kernel by its release", () => {
  for (const feature of KERNEL_FEATURES) expect(remedy(feature, "4.4.0")).toMatch(/^use kernel \d+\.\d+ or later$/);
});
