import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { cgroup2Mount } from "#lib/cgroup2.ts";
import { findCgroups, findPodCgroup, ownPath, processesBelow } from "./cgroups.ts";

const UID = "0f3c1d2e-1111-4222-8333-444455556666";
const OTHER = "99999999-1111-4222-8333-444455556666";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "weft-cgroups-"));
});

afterEach(() => {
  rmSync(root, { recursive: true });
});

function folder(path: string): string {
  const full = join(root, path);
  mkdirSync(full, { recursive: true });
  return full;
}

function proc(mounts: string, cgroup: string): string {
  folder("proc/self");
  writeFileSync(join(root, "proc/self/mounts"), mounts);
  writeFileSync(join(root, "proc/self/cgroup"), cgroup);
  return join(root, "proc");
}

describe("a pod's folder is found", () => {
  test.each([
    ["cgroupfs", `kubepods/burstable/pod${UID}`],
    ["cgroupfs, guaranteed", `kubepods/pod${UID}`],
    ["systemd", `kubepods/kubepods-besteffort.slice/kubepods-besteffort-pod${UID.replaceAll("-", "_")}.slice`],
    ["systemd, guaranteed", `kubepods/kubepods-pod${UID.replaceAll("-", "_")}.slice`],
  ])("%s", (_what, path) => {
    folder(`kubepods/pod${OTHER}/container`);
    const expected = folder(path);
    expect(findPodCgroup(join(root, "kubepods"), UID)).toBe(expected);
  });

  test("not when only a name that contains it is there", () => {
    folder(`kubepods/pod${UID}x`);
    folder(`kubepods/xpod${UID}`);
    expect(findPodCgroup(join(root, "kubepods"), UID)).toBeUndefined();
    expect(findPodCgroup(join(root, "nothing"), UID)).toBeUndefined();
  });
});

test("processes of all containers are found, lowest first; those of another pid namespace are not", () => {
  const pod = folder("pod");
  writeFileSync(join(folder("pod/b"), "cgroup.procs"), "30\n20\n");
  writeFileSync(join(folder("pod/a"), "cgroup.procs"), "100\n0\n");
  expect(processesBelow(pod)).toEqual([20, 30, 100]);
});

test("the hierarchy is found on unified and hybrid hosts", () => {
  expect(cgroup2Mount("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")).toBe("/sys/fs/cgroup");
  expect(cgroup2Mount("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n")).toBe(
    "/sys/fs/cgroup/unified",
  );
  expect(cgroup2Mount("proc /proc proc rw 0 0\n")).toBeUndefined();
  expect(ownPath("12:cpu:/a\n0::/b/c\n")).toBe("/b/c");
});

describe("the node's folders", () => {
  test("the agent is itself a pod: the outermost pods' folder above it, the kubelet beside that", () => {
    const mount = folder("cg");
    const own = "/node/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/c";
    folder(`cg${own}`);
    folder("cg/node/kubelet");
    const found = findCgroups({}, proc(`cgroup2 ${mount} cgroup2 rw 0 0\n`, `0::${own}\n`));
    expect(found).toEqual({
      pods: `${mount}/node/kubepods.slice`,
      agent: `${mount}${own}`,
      kubelet: `${mount}/node/kubelet`,
    });
  });

  test("the agent is a service: the usual places below the root", () => {
    const mount = folder("cg");
    folder("cg/kubepods");
    folder("cg/system.slice/kubelet.service");
    const found = findCgroups({}, proc(`cgroup2 ${mount} cgroup2 rw 0 0\n`, "0::/system.slice/weft.service\n"));
    expect(found.pods).toBe(`${mount}/kubepods`);
    expect(found.kubelet).toBe(`${mount}/system.slice/kubelet.service`);
  });

  test("the agent has a cgroup namespace of its own: the folder that lists it", () => {
    const mount = folder("cg");
    const own = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/c";
    writeFileSync(join(folder(`cg/${own}`), "cgroup.procs"), "41\n42\n");
    writeFileSync(join(folder("cg/kubepods.slice/kubepods-pody.slice/c"), "cgroup.procs"), "4\n");
    const procDir = proc(`cgroup2 ${mount} cgroup2 rw 0 0\n`, "0::/\n");
    writeFileSync(join(procDir, "self/stat"), "42 (node) S 1");
    expect(findCgroups({}, procDir)).toMatchObject({ pods: `${mount}/kubepods.slice`, agent: `${mount}/${own}` });
  });

  test("none: the variable to set is named", () => {
    const mount = folder("cg");
    expect(() => findCgroups({}, proc(`cgroup2 ${mount} cgroup2 rw 0 0\n`, "0::/x\n"))).toThrow("set WEFT_PODS_CGROUP");
    expect(() => findCgroups({}, proc("proc /proc proc rw 0 0\n", "0::/x\n"))).toThrow("no cgroup2 hierarchy");
  });
});
