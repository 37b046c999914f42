/** What the kernel goes on doing while no agent runs, and how the next agent takes over. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { NodePod } from "../helpers/agent-bed.ts";
import { DirectBed, SERVER_PORT } from "./direct-bed.ts";
import type { PodProgram } from "./pod-program.ts";
import type { Held } from "./programs/holder.ts";

const CHUNK = 32_768;
/** Of 100 ms each, on either side of the death. */
const WINDOWS = 40;
/** Direct traffic owes nothing to the agent: what is allowed for here is the machine. */
const SLOWER = 0.5;

let bed: DirectBed;
let server: NodePod;

beforeAll(async () => {
  bed = await DirectBed.create("wdead", 82, 1);
  const [first] = bed.servers;
  if (first === undefined) throw new Error("a server is needed");
  server = first;
  await Promise.all([bed.red, bed.blue].map((client) => bed.direct(client, bed.target())));
  await bed.direct(bed.red, bed.target(server.ip6, SERVER_PORT));
});

afterAll(async () => {
  await bed?.dispose();
});

/** Bytes per ms of the newest windows, of the second best: what else the machine does slows down most of them, not all. */
async function speed(stream: PodProgram<Held>): Promise<number> {
  const from = stream.lines.length;
  await eventually("enough windows", () => stream.lines.length > from + WINDOWS, 60_000);
  const samples = stream.lines.slice(from);
  const rates = samples.slice(1).map((sample, i) => {
    const before = samples[i] ?? sample;
    return (sample.bytes - before.bytes) / (sample.at - before.at);
  });
  return rates.sort((one, other) => other - one)[1] ?? 0;
}

describe("without an agent", () => {
  it("direct connections go on at full speed, new ones open, and nothing else does", async ({ annotate }) => {
    const stream = await bed.hold(bed.red, bed.vip, 80, CHUNK);
    const before = await speed(stream);
    await bed.node.agent.stop("SIGKILL");
    const dead = await speed(stream);
    await annotate(`dead agent: ${(dead / before).toFixed(2)} of the speed of before`);
    expect(dead / before).toBeGreaterThan(SLOWER);
    for (const target of [bed.target(), bed.target(server.ip6, SERVER_PORT)]) {
      const attempts = await bed.times(bed.red, target, 20);
      expect(attempts.filter(({ outcome, direct }) => outcome !== "reached" || !direct)).toEqual([]);
    }
    // Blue has never asked for this address: there is nobody to ask now.
    const unknown = await bed.times(bed.blue, bed.target(server.ip6, SERVER_PORT), 3);
    expect(unknown.filter(({ outcome }) => outcome === "reached")).toEqual([]);
    for (const pod of [bed.red, bed.blue, server]) expect(bed.node.redirection(pod.name)).toBe("enabled");
    expect((await stream.stop()).some(({ state }) => state === "closed")).toBe(false);
    await bed.node.restart();
    await bed.node.agent.ready();
  });

  for (const [signal, what] of [
    ["SIGKILL", "death"],
    ["SIGTERM", "orderly end"],
  ] as const) {
    it(`a client that dials again and again sees neither the ${what} nor the next agent`, async () => {
      await bed.direct(bed.red, bed.target());
      const loop = bed.loop(bed.red, bed.target());
      const held = await bed.hold(bed.red, bed.vip, 80, 100);
      await loop.when("a start", ({ direct }) => direct);
      await bed.node.agent.stop(signal);
      const dead = loop.lines.length;
      await eventually("connections without an agent", () => loop.lines.length > dead + 100, 20_000);
      await bed.node.restart();
      await bed.node.agent.ready();
      const back = loop.lines.length;
      await eventually("connections with the next agent", () => loop.lines.length > back + 200, 20_000);
      const attempts = await loop.stop();
      expect(attempts.filter(({ outcome, direct }) => outcome !== "reached" || !direct)).toEqual([]);
      expect((await held.stop()).some(({ state }) => state === "closed")).toBe(false);
    });
  }

  it("a policy that came meanwhile ends what it forbids once the next agent knows it", async () => {
    const red = await bed.hold(bed.red, bed.vip, 80, 100);
    const blue = await bed.hold(bed.blue, bed.vip, 80, 100);
    await bed.node.agent.stop("SIGKILL");
    bed.deny(bed.red);
    // What was decided holds while nobody is there to know better.
    expect((await bed.times(bed.red, bed.target(), 5)).every(({ direct }) => direct)).toBe(true);
    await bed.node.restart();
    const end = await red.when("the forbidden connection ends", ({ state }) => state === "closed");
    expect(end.error).toMatch(/^ECONN(RESET|ABORTED)$/);
    await bed.node.agent.ready();
    const attempts = await bed.times(bed.red, bed.target(), 5);
    expect(attempts.filter(({ outcome }) => outcome === "reached")).toEqual([]);
    await blue.when("blue goes on", (held) => held.at > end.at + 500);
    expect((await blue.stop()).some(({ state }) => state === "closed")).toBe(false);
    await red.stop();
    bed.permit(bed.red);
    await bed.direct(bed.red, bed.target());
  });

  it("a connection that ended meanwhile is told of by the next agent, once", async () => {
    await bed.direct(bed.blue, bed.target());
    await bed.node.agent.stop("SIGKILL");
    const [attempt] = await bed.times(bed.blue, { ...bed.target(), bytes: 4_321 }, 1);
    expect(attempt).toMatchObject({ outcome: "reached", direct: true });
    await bed.node.restart();
    await bed.node.agent.ready();
    const told = (): number => bed.node.agent.access().filter((line) => line.bytes_sent === 4_321).length;
    await eventually("its line", () => told() === 1, 20_000);
    expect(told()).toBe(1);
  });
});
