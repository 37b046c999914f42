/** A container runtime that tells of new pods, by containerd's own library: no container is made before the pod is in the mesh. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { AgentBed } from "../helpers/agent-bed.ts";

const BUILD = fileURLToPath(new URL("../nri", import.meta.url));
const RUNTIME = fileURLToPath(new URL("../../build/test/nri-runtime", import.meta.url));
const MODE = "istio.io/dataplane-mode";

let node: AgentBed;
let folder: string;
let runtime: ChildProcess;
let said = "";

beforeAll(async () => {
  execFileSync("make", ["-s", "-C", BUILD], { stdio: "inherit" });
  folder = mkdtempSync(join(tmpdir(), "weft-nri-"));
  const socket = join(folder, "nri.sock");
  runtime = spawn(RUNTIME, [socket], { stdio: ["pipe", "pipe", "ignore"] });
  runtime.stdout?.on("data", (text: Buffer) => {
    said += text.toString();
  });
  await eventually("the runtime", () => said.includes("listening"), 20_000);
  node = await AgentBed.create("wnri", 68);
  await node.restart({ WEFT_NRI_SOCKET: socket });
  await eventually(
    "the agent is told",
    () => node.agent.lines.some(({ message }) => message?.includes("tells of new pods")),
    20_000,
  );
}, 300_000);

afterAll(async () => {
  await node?.dispose();
  runtime?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** As the runtime does when a pod's sandbox runs. Resolves with what it says when it goes on. */
async function runSandbox(uid: string): Promise<string> {
  runtime.stdin?.write(`${uid}\n`);
  return eventually("the runtime goes on", () => new RegExp(`ran ${uid} \\d+ (.*)`).exec(said)?.[1], 20_000);
}

async function state(uid: string): Promise<string | undefined> {
  return JSON.parse((await node.agent.get("admin", "/config_dump")).text).workloadState[uid]?.state;
}

test("a pod of the mesh is taken in when the runtime goes on with its containers", async () => {
  const pod = node.bearPod("told");
  node.bed.spawn(pod, "sleep", ["600"]);
  expect(await runSandbox(pod.uid)).toBe("<nil>");
  expect(await state(pod.uid)).toBe("Up");
});

test("one outside the mesh, one that cannot be taken in and one that nobody knows go on all the same", async () => {
  const outside = node.bearPod("outside", { [MODE]: "none" });
  const empty = node.bearPod("empty");
  expect(await runSandbox(outside.uid)).toBe("<nil>");
  expect(await runSandbox(empty.uid)).toBe("<nil>");
  expect(await state(empty.uid)).toBe("Pending");
  expect(await runSandbox("99999999-0000-4000-8000-000000000000")).toBe("<nil>");
});

test("a runtime goes on without an agent, and the next agent is told again", async () => {
  await node.agent.stop("SIGKILL");
  expect(await runSandbox("99999999-0000-4000-8000-000000000001")).toBe("<nil>");
  await node.restart({ WEFT_NRI_SOCKET: join(folder, "nri.sock") });
  const pod = node.bearPod("told-again");
  node.bed.spawn(pod, "sleep", ["600"]);
  await eventually(
    "the agent is told",
    () => node.agent.lines.some(({ message }) => message?.includes("tells of new pods")),
    20_000,
  );
  expect(await runSandbox(pod.uid)).toBe("<nil>");
  expect(await state(pod.uid)).toBe("Up");
});
