/**
 * What attackers send to port 15008, one test each: it is refused and counted, a good client of the same pod works
 * during and after it, and the agent's memory and CPU stay within the bounds that the threat states.
 */
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { RawH2 } from "../helpers/h2-raw.ts";
import { identityOf, MeshBed } from "../helpers/mesh-bed.ts";
import { GoodClient } from "./good-client.ts";
import { certificateThreats } from "./threats/certificates.ts";
import { floodThreats } from "./threats/floods.ts";
import { requestThreats } from "./threats/requests.ts";
import { quickThreats, slowThreats } from "./threats/slow.ts";
import {
  type Arena,
  DEFAULT_CPU_SECONDS,
  DEFAULT_MEMORY_BYTES,
  ECHO_PORT,
  FAUCET_PORT,
  RECORDER_PORT,
  type Threat,
} from "./threats/threat.ts";

const threats: readonly Threat[] = [...certificateThreats, ...requestThreats, ...floodThreats, ...quickThreats];

let mesh: MeshBed;
let arena: Arena;
let good: GoodClient;
let recorder: ChildProcess;
let recorded = "";

beforeAll(async () => {
  mesh = await MeshBed.create("wbad", 21);
  const victim = await mesh.addPod("victim");
  const bystander = await mesh.addPod("bystander");
  await mesh.startApp(victim, "echo", ECHO_PORT);
  await mesh.startApp(victim, "faucet", FAUCET_PORT);
  await mesh.startApp(bystander, "echo", ECHO_PORT);
  recorder = await mesh.startApp(victim, "recorder", RECORDER_PORT);
  recorder.stdout?.on("data", (chunk: Buffer) => {
    recorded += chunk.toString();
  });
  const member = await mesh.ca.issue(identityOf("member"));
  arena = {
    mesh,
    victim,
    bystander,
    member,
    dial: () => RawH2.connect({ host: victim.ip, svid: member }),
    recorded: () => recorded,
  };
  good = new GoodClient(mesh.bed, bystander, victim.ip, ECHO_PORT);
  await good.answersMore();
});

afterAll(async () => {
  good?.stop();
  await mesh?.dispose();
});

async function count(reasons: readonly string[]): Promise<number> {
  const counters = (await mesh.engine.stats()).reasons;
  return reasons.reduce((sum, reason) => sum + (counters[reason] ?? 0), 0);
}

/** Runs attacks side by side and holds the agent to the sum of what they may cost. */
async function withstand(attacks: readonly Threat[]): Promise<void> {
  const reasons = [...new Set(attacks.flatMap((threat) => threat.counted))];
  const sum = (of: (threat: Threat) => number): number => attacks.reduce((total, threat) => total + of(threat), 0);
  const counted = await count(reasons);
  mesh.engine.resetPeak();
  const before = mesh.engine.usage();
  const failures = good.failures.length;

  await Promise.all(attacks.map((threat) => threat.attack(arena)));

  const wanted = counted + sum((threat) => threat.times ?? 1);
  await eventually(`${reasons.join(" or ")} counted`, async () => (await count(reasons)) >= wanted);
  const after = mesh.engine.usage();
  expect(after.peakBytes - before.residentBytes).toBeLessThan(sum((t) => t.memoryBytes ?? DEFAULT_MEMORY_BYTES));
  expect(after.cpuSeconds - before.cpuSeconds).toBeLessThan(sum((t) => t.cpuSeconds ?? DEFAULT_CPU_SECONDS));
  await good.answersMore();
  expect(good.failures.slice(failures)).toEqual([]);
}

test.each(threats)("$class: $name", (threat) => withstand([threat]));

// Each of them waits for a deadline of the engine; together they take as long as the longest.
test(`slow peers, side by side: ${slowThreats.map(({ name }) => name).join("; ")}`, () => withstand(slowThreats));

test("docs/security.md tells of every class of attack", () => {
  const page = readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8");
  const told = new Set(page.split("\n").map((line) => line.split("|")[1]?.trim()));
  expect([...threats, ...slowThreats].map((threat) => threat.class).filter((name) => !told.has(name))).toEqual([]);
});

test("nothing of all that is left: no tunnel, no connection, no memory", async () => {
  good.stop();
  await eventually("the agent to be idle", async () => (await mesh.engine.stats()).openConnections === 0, 15_000);
});
