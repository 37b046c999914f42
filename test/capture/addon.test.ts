import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BpfOptions, loadAddon } from "../../agent/src/native.ts";
import { KERNEL_FEATURES } from "../../cli/src/install/kernel.ts";
import type { BedPod } from "../helpers/pod-bed.ts";
import { CaptureBed } from "./capture-bed.ts";

const addon = loadAddon();

let bed: CaptureBed;
let pod: BedPod;

beforeAll(async () => {
  bed = await CaptureBed.create(76);
  pod = bed.addPod();
});
afterAll(async () => {
  await bed?.dispose();
});

function options(): BpfOptions {
  return {
    pinDir: bed.pinDir,
    podsCgroup: bed.pods.podsCgroup,
    agentCgroup: bed.pods.agentCgroup,
    kubeletCgroup: bed.kubeletCgroup,
  };
}

test("a plane captures, lists, counts, releases and is adopted by the next", async () => {
  const plane = addon.loadBpf(options());
  const cookie = plane.capture({ id: 1, netnsPath: pod.netnsPath, addresses: [pod.ip, pod.ip6], dns: false });
  expect(cookie).toBe(addon.netnsCookie(pod.netnsPath));
  expect(await bed.app(pod, `show(dial("10.99.9.9", 7))`)).toBe("ECONNREFUSED");
  expect(plane.counters()).toMatchObject({ captured_outbound: 1, map_full: 0 });
  plane.close();
  expect(() => plane.captured()).toThrow(/closed/);

  const next = addon.loadBpf(options());
  expect(next.captured()).toEqual([cookie]);
  expect(next.counters()).toMatchObject({ captured_outbound: 1 });
  next.release(cookie);
  expect(next.captured()).toEqual([]);
  next.close();
});

test("the probe of this kernel finds every feature that `weft check` explains", () => {
  const found = addon.probeKernel();
  expect(found).toEqual(Object.fromEntries(KERNEL_FEATURES.map(({ id }) => [id, true])));
});

describe("loading refuses", () => {
  test("a cgroup that is not there, by name", () => {
    const missing = `${bed.pods.podsCgroup}/nope`;
    expect(() => addon.loadBpf({ ...options(), podsCgroup: missing })).toThrow(
      expect.objectContaining({ code: "ENOENT", message: expect.stringContaining(missing) }),
    );
  });

  test("a folder that is no cgroup v2", () => {
    expect(() => addon.loadBpf({ ...options(), podsCgroup: "/tmp" })).toThrow(/\/tmp is not in a cgroup v2 hierarchy/);
  });

  test("an agent's cgroup that contains the pods: every pod would be exempt", () => {
    const parent = bed.pods.podsCgroup.replace(/\/kubepods$/, "");
    expect(() => addon.loadBpf({ ...options(), agentCgroup: parent })).toThrow(/would exempt every pod/);
  });

  test("a kubelet's cgroup that contains the pods: every connection would be a probe", () => {
    const inner = `${bed.kubeletCgroup}/kubepods`;
    mkdirSync(inner);
    expect(() => addon.loadBpf({ ...options(), podsCgroup: inner })).toThrow(
      /would make every pod's connection a probe/,
    );
  });

  test("to work without privileges, in one line that says what is missing", () => {
    const script = `import { loadAddon } from "${new URL("../../agent/src/native.ts", import.meta.url).pathname}";
      try { loadAddon().loadBpf(${JSON.stringify(options())}) } catch (error) { process.stdout.write(error.message) }`;
    const drop = ["--bounding-set=-sys_admin,-bpf", "--inh-caps=-sys_admin,-bpf"];
    const output = execFileSync("setpriv", [...drop, process.execPath, "--input-type=module", "-e", script]).toString();
    expect(output).toBe("loading BPF needs CAP_BPF, CAP_SYS_ADMIN; run as root: Operation not permitted");
  });
});

describe("capturing refuses", () => {
  test("a namespace that is gone, and leaves nothing", () => {
    const plane = addon.loadBpf(options());
    const gone = { id: 2, netnsPath: "/var/run/netns/wcap-none", addresses: [pod.ip], dns: false };
    expect(() => plane.capture(gone)).toThrow(/wcap-none/);
    expect(plane.captured()).toEqual([]);
    plane.close();
  });

  test("the agent's own namespace, which is the node's", () => {
    const plane = addon.loadBpf(options());
    const node = { id: 2, netnsPath: "/proc/self/ns/net", addresses: [pod.ip], dns: false };
    expect(() => plane.capture(node)).toThrow(/is the agent's own network namespace/);
    expect(plane.captured()).toEqual([]);
    plane.close();
  });

  test("a pod without addresses, and one with a name for an address", () => {
    const plane = addon.loadBpf(options());
    const described = { id: 3, netnsPath: pod.netnsPath, dns: false };
    expect(() => plane.capture({ ...described, addresses: [] })).toThrow(/has no address/);
    expect(() => plane.capture({ ...described, addresses: ["localhost"] })).toThrow(/pod address localhost/);
    plane.close();
  });
});
