/** Pods whose first act is to connect: nothing of a pod of the mesh goes past the mesh, and nobody else's connection is touched. */
import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { Action, Scope } from "#proto/authorization_pb.ts";
import { SERVE } from "../helpers/agent-apps.ts";
import { AgentBed, type NodePod } from "../helpers/agent-bed.ts";
import { authorization } from "../helpers/mesh-fixtures.ts";
import { finished, type RunResult } from "../helpers/pod-bed.ts";

/** Only who has proved that it is one of the newborn gets in. */
const NEWBORN_ONLY = authorization({
  name: "newborn-only",
  namespace: "default",
  scope: Scope.NAMESPACE,
  action: Action.ALLOW,
  rules: [
    {
      clauses: [
        {
          matches: [{ principals: [{ matchType: { case: "prefix", value: "cluster.local/ns/default/sa/born-" } }] }],
        },
      ],
    },
  ],
});
const MODE = "istio.io/dataplane-mode";
const BIRTHS = 20;

let node: AgentBed;
let server: NodePod;
let open: NodePod;

beforeAll(async () => {
  node = await AgentBed.create("wborn", 67);
  node.control.setAuthorization(NEWBORN_ONLY);
  server = node.addPod("server");
  node.publish(server);
  node.bed.spawn(server, process.execPath, ["-e", SERVE]);
  // Outside the mesh, and so open to everybody.
  open = node.addPod("open", { [MODE]: "none" });
  node.bed.spawn(open, process.execPath, ["-e", SERVE]);
  await node.bed.listening(server, 8080);
  await node.bed.listening(open, 8080);
  await node.enrolled("server");
});

afterAll(async () => {
  await node.dispose();
});

/** The pod's very first process is one that connects, a few milliseconds after it was started. */
function firstAct(pod: NodePod, ip: string): Promise<RunResult> {
  return finished(node.bed.spawn(pod, "bash", ["-c", `exec 3<>/dev/tcp/${ip}/8080 && cat <&3`], { timeout: 30_000 }));
}

/** A kubelet takes longer from a pod's cgroup to its first process than an agent needs to hear of the cgroup; this bed does not. */
async function bear(name: string, labels: Readonly<Record<string, string>> = {}): Promise<NodePod> {
  const pod = node.bearPod(name, labels);
  await eventually(
    "the agent has heard of it",
    () => members().includes(`"key": ${statSync(pod.cgroup).ino},`),
    15_000,
  );
  return pod;
}

/** Folders of which the kernel has been told something. */
function members(): string {
  return execFileSync("bpftool", ["map", "dump", "pinned", `${node.pinDir}/v2/maps/weft_members`], {
    encoding: "utf8",
  });
}

/** It goes on, as a pod does. */
function settle(pod: NodePod): void {
  node.bed.spawn(pod, "sleep", ["600"]);
}

test.each(["IPv4", "IPv6"])("the first connection of each of them is in the mesh, over %s", async (family) => {
  const ipOf = (pod: NodePod) => (family === "IPv4" ? pod.ip : pod.ip6);
  const { length } = node.agent.access();
  const answers: string[] = [];
  const born: NodePod[] = [];
  for (let i = 0; i < BIRTHS; i++) {
    const pod = await bear(`born-${family.toLowerCase()}-${i}`);
    born.push(pod);
    const { stdout, stderr } = await firstAct(pod, ipOf(server));
    answers.push(stdout || stderr);
  }
  expect(answers).toEqual(born.map((pod) => `from ${family === "IPv4" ? "::ffff:" : ""}${ipOf(pod)}\n`));
  await eventually("their lines", () => {
    const callers = node.agent
      .access()
      .slice(length)
      .map((line) => line["src.identity"]);
    return born.every(({ name }) => callers.includes(`spiffe://cluster.local/ns/default/sa/${name}`));
  });
});

test("the application sees the addresses that it would see without a mesh", async () => {
  const pod = await bear("born-seeing");
  node.publish(pod);
  const look = `import socket
s = socket.create_connection(("${server.ip}", 8080), 30)
print(s.getsockname()[0], s.getpeername()[0])`;
  const { stdout, stderr } = await finished(node.bed.spawn(pod, "python3", ["-c", look], { timeout: 60_000 }));
  expect(stdout || stderr).toBe(`${pod.ip} ${server.ip}\n`);
});

test("a pod outside the mesh is not touched, one on the way in is not reached by plaintext before it has arrived", async () => {
  const outside = await bear("outside", { [MODE]: "none" });
  const inside = await bear("born-late");
  expect((await firstAct(outside, open.ip)).stdout).toBe(`from ::ffff:${outside.ip}\n`);
  // Its application listens from its first moment on.
  node.bed.spawn(inside, process.execPath, ["-e", SERVE]);
  const refused = await node.bed.run(open, "bash", ["-c", `exec 3<>/dev/tcp/${inside.ip}/8080 && cat <&3`]);
  expect(refused.stdout).toBe("");
});

test("while the agent hangs, a pod that it has not heard of is refused for ten seconds at most; what is known goes on", async () => {
  const known = await bear("outside-known", { [MODE]: "none" });
  expect((await firstAct(known, open.ip)).stdout).not.toBe("");
  node.agent.signal("SIGSTOP");
  try {
    const unheardOf = node.bearPod("born-unheard-of");
    const { stdout, stderr } = await firstAct(unheardOf, server.ip);
    expect([stdout, stderr]).toEqual(["", expect.stringContaining("Network is unreachable")]);
    expect((await firstAct(known, open.ip)).stdout).toBe(`from ::ffff:${known.ip}\n`);
    await eventually(
      "nobody waits for a dead agent",
      async () => (await firstAct(unheardOf, open.ip)).stdout !== "",
      30_000,
    );
    node.publish(unheardOf);
    settle(unheardOf);
    node.agent.signal("SIGCONT");
    await node.enrolled("born-unheard-of");
    await eventually("it is in", async () => (await firstAct(unheardOf, server.ip)).stdout !== "");
  } finally {
    node.agent.signal("SIGCONT");
  }
});

test("a pod of the mesh whose agent is gone before it could enrol it waits for the next, and is not let out", async () => {
  // Nothing to be captured in yet: no process.
  const orphan = await bear("born-orphan");
  await node.agent.stop("SIGKILL");
  const looking = firstAct(orphan, open.ip);
  const waiting = ["netns", "exec", orphan.netns, "ss", "-Htn", "state", "syn-sent"];
  await eventually("it waits", () => execFileSync("ip", waiting).length > 0, 20_000);
  await node.restart();
  // TCP gives up after a while; an application that tries again is no worse off.
  await eventually(
    "it is in",
    async () => (await firstAct(orphan, server.ip)).stdout === `from ::ffff:${orphan.ip}\n`,
    60_000,
  );
  const { stdout, stderr } = await looking;
  expect(stdout || stderr).toMatch(/^from ::ffff:|timed out/i);
});
