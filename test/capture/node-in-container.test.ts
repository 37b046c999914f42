/** A node that is itself a container (kind, minikube on docker): its root of the cgroups is not the machine's. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { BedPod } from "../helpers/pod-bed.ts";
import { CaptureBed } from "./capture-bed.ts";
import { FAKE_AGENT, type FakeAgent } from "./fake-agent.ts";

let bed: CaptureBed;
let agent: FakeAgent;
let pod: BedPod;
let stranger: BedPod;

beforeAll(async () => {
  bed = await CaptureBed.create(77);
  pod = bed.pods.addPod("a");
  stranger = bed.pods.addPod("b");
  agent = await bed.startAgent({ ownRoot: true });
  await agent.capture(pod);
  await bed.serve(pod, `in_background(tell_client, listener("::", 80))\nstay()`);
  await bed.serve(stranger, `in_background(tell_client, listener("::", 80))\nstay()`);
});
afterAll(async () => {
  await bed?.dispose();
});

test("its agent sees no other cgroups than the node's", () => {
  expect(readFileSync(`/proc/${agent.pid}/cgroup`, "utf8")).toContain(`/${bed.pods.name}/agent\n`);
  expect(readFileSync(`/proc/${agent.pid}/mounts`, "utf8")).toMatch(/ cgroup2 [^\n]*\n$/);
});

test("a pod's connections are steered", async () => {
  const seen = await bed.app(pod, `s = stream(V4); s.connect(("10.99.9.9", 7)); show(views(s, line(s)))`);
  expect(seen).toMatchObject({ orig: "10.99.9.9:7", peer: "10.99.9.9:7" });
});

test("the agent's own, from inside the pod, are not", async () => {
  const seen = (await bed.app(pod, `show(json.loads(dial("${stranger.ip}", 80)))`)) as { accept: string };
  expect(seen.accept).toMatch(`[::ffff:${pod.ip}]:`);
});

test("without a bpffs, whatever the agent could pin would end with its own container: it says what to do", () => {
  const words = [bed.pinDir, bed.pods.podsCgroup, bed.pods.agentCgroup, bed.kubeletCgroup, "1000"];
  const script = 'umount --all-targets --recursive --lazy /sys/fs/bpf && exec "$@"';
  const { stdout } = spawnSync("unshare", ["--mount", "sh", "-c", script, "sh", FAKE_AGENT, ...words]);
  expect(stdout.toString()).toContain("on the node: mount -t bpf bpf /sys/fs/bpf");
});
