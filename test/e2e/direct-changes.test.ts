/** How soon what the agent hears of is what the kernel does, and what it leaves alone. */
import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { parseMetrics, sumOf } from "../../demo/src/metrics-text.ts";
import type { NodePod } from "../helpers/agent-bed.ts";
import { countBy, disagreement } from "./chi-square.ts";
import { DirectBed, SERVER_PORT } from "./direct-bed.ts";
import { monotonicMs } from "./pod-program.ts";
import type { DialTarget } from "./programs/dial.ts";
import type { Attempt } from "./programs/looper.ts";

/** From the control plane's word to the last connection that did not know of it. */
const REACTION_MS = 100;
/** Other work on the machine may delay one change; it does not delay most of them. */
const CHANGES = 5;
/** So many connections in a row that know the news are the end of the old ones. */
const QUIET = 40;
const BALANCED = 600;

let bed: DirectBed;
let one: NodePod;
let two: NodePod;

beforeAll(async () => {
  bed = await DirectBed.create("wchg", 81, 2);
  const [first, second] = bed.servers;
  if (first === undefined || second === undefined) throw new Error("two servers are needed");
  [one, two] = [first, second];
});

afterAll(async () => {
  await bed?.dispose();
});

afterEach(async () => {
  bed.putService({});
  for (const server of bed.servers) bed.publish(server);
  bed.permit(bed.red);
  await bed.direct(bed.red, bed.target());
});

/**
 * Dials in a loop while `change` happens; `isOld` tells the connections that did not know of it. The time between the
 * change and the last one of them.
 */
async function reactionMs(
  target: DialTarget,
  isOld: (attempt: Attempt) => boolean,
  change: () => void,
): Promise<number> {
  const loop = bed.loop(bed.red, target);
  try {
    await loop.when("a connection of before", isOld);
    const at = monotonicMs();
    change();
    const isQuiet = (): boolean => {
      const since = loop.lines.filter((attempt) => attempt.at > at);
      return since.length >= QUIET && !since.slice(-QUIET).some(isOld);
    };
    await eventually("no connection of before", isQuiet, 20_000);
    return Math.max(0, ...loop.lines.filter(isOld).map((attempt) => attempt.at - at));
  } finally {
    await loop.stop();
  }
}

/** The median of several changes; `restore` brings things back in between. */
async function typicalMs(measure: () => Promise<number>, restore: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < CHANGES; i++) {
    times.push(await measure());
    await restore();
  }
  return times.sort((a, b) => a - b)[CHANGES >> 1] ?? Number.NaN;
}

/** Both endpoints are chosen again, directly. */
async function bothServe(): Promise<void> {
  await eventually(
    "both endpoints are reached directly",
    async () => {
      const attempts = await bed.times(bed.red, bed.target(), 12);
      return attempts.every(({ direct }) => direct) && countBy(attempts, ({ server }) => server ?? "").size === 2;
    },
    20_000,
  );
}

describe("what the agent hears of reaches the kernel", () => {
  it("an endpoint that is not ready is not chosen any more", async ({ annotate }) => {
    await bothServe();
    const ms = await typicalMs(
      () =>
        reactionMs(
          bed.target(),
          ({ server }) => server === two.name,
          () => bed.publish(two, { ready: false }),
        ),
      async () => {
        bed.publish(two);
        await bothServe();
      },
    );
    await annotate(`readiness: ${ms.toFixed(1)} ms`);
    expect(ms).toBeLessThan(REACTION_MS);
  });

  it("an endpoint that is gone is not chosen any more", async ({ annotate }) => {
    await bothServe();
    const ms = await typicalMs(
      () =>
        reactionMs(
          bed.target(),
          ({ server }) => server === two.name,
          () => bed.node.unpublish(two),
        ),
      async () => {
        bed.publish(two);
        await bothServe();
      },
    );
    await annotate(`removal: ${ms.toFixed(1)} ms`);
    expect(ms).toBeLessThan(REACTION_MS);
  });

  it("a pod without its label is not reached directly any more", async ({ annotate }) => {
    const target = bed.target(two.ip, SERVER_PORT);
    await bed.direct(bed.red, target);
    const ms = await typicalMs(
      () =>
        reactionMs(
          target,
          ({ direct }) => direct,
          () => bed.node.setLabels(two.name, { "istio.io/dataplane-mode": "none" }),
        ),
      async () => {
        bed.node.setLabels(two.name, {});
        await bed.node.enrolled(two.name);
        await bed.direct(bed.red, target);
      },
    );
    await annotate(`label: ${ms.toFixed(1)} ms`);
    expect(ms).toBeLessThan(REACTION_MS);
  });

  it("a policy refuses new connections, and connect() says so at once", async ({ annotate }) => {
    await bed.direct(bed.red, bed.target());
    const ms = await typicalMs(
      () =>
        reactionMs(
          bed.target(),
          ({ outcome }) => outcome === "reached",
          () => bed.deny(bed.red),
        ),
      async () => {
        const refused = await bed.times(bed.red, bed.target(), 20);
        const slowest = Math.max(...refused.map(({ connectMs }) => connectMs));
        expect(slowest, "ms of the slowest connect()").toBeLessThan(REACTION_MS);
        expect(countBy(refused, ({ outcome, error }) => `${outcome} ${error}`)).toEqual(
          new Map([["refused ECONNREFUSED", 20]]),
        );
        bed.permit(bed.red);
        await bed.direct(bed.red, bed.target());
      },
    );
    await annotate(`policy: ${ms.toFixed(1)} ms`);
    expect(ms).toBeLessThan(REACTION_MS);
    const line = await eventually("a line that names the policy", () =>
      bed.node.agent
        .access()
        .find(
          ({ direction, error }) =>
            direction === "direct" && String(error).includes("rejection: explicitly denied by: default/no-red"),
        ),
    );
    expect(line).toMatchObject({
      "src.identity": "spiffe://cluster.local/ns/default/sa/red",
      "src.workload": "red",
      "dst.workload": expect.stringMatching(/^server/),
      error: "connection closed due to policy rejection: explicitly denied by: default/no-red",
    });
  });
});

describe("a new policy", () => {
  it("ends the direct connection that it forbids, within the same time, and no other", async ({ annotate }) => {
    await Promise.all([bed.red, bed.blue].map((client) => bed.direct(client, bed.target(one.ip, SERVER_PORT))));
    const red = await bed.hold(bed.red, one.ip, SERVER_PORT, 100);
    const blue = await bed.hold(bed.blue, one.ip, SERVER_PORT, 100);
    bed.node.agent.forgetLines();
    const at = monotonicMs();
    bed.deny(bed.red);
    const end = await red.when("the forbidden connection ends", ({ state }) => state === "closed");
    expect(end.error).toMatch(/^ECONN(RESET|ABORTED)$/);
    await annotate(`ended after ${(end.at - at).toFixed(1)} ms`);
    const line = await eventually("its line", () => bed.node.agent.access().find(({ error }) => error !== undefined));
    expect(line).toMatchObject({
      direction: "direct",
      "src.workload": "red",
      error: "connection closed due to policy change: explicitly denied by: default/no-red",
    });
    const { bytes } = await blue.when("blue goes on", (held) => held.at > end.at + 200);
    await blue.when("and on", (held) => held.bytes > bytes);
    expect((await blue.stop()).some(({ state }) => state === "closed")).toBe(false);
    await red.stop();
  });
});

describe("plaintext from outside into a pod without policies", () => {
  afterEach(() => bed.setStrict(false));

  it("needs no agent, and ends with the first policy that forbids it", async ({ annotate }) => {
    const before = await passedByKernel();
    expect(JSON.parse(await greet())).toMatchObject({ server: one.name });
    await eventually("it is counted as the kernel's", async () => (await passedByKernel()) > before);
    const socket = connect(SERVER_PORT, one.ip);
    socket.on("error", () => {});
    socket.write("hold\n");
    await once(socket, "data");
    const closed = new Promise((resolve) => socket.once("close", resolve));
    const at = monotonicMs();
    bed.setStrict(true);
    await closed;
    await annotate(`ended after ${(monotonicMs() - at).toFixed(1)} ms`);
    expect(await greet(), "once more, in the clear").toBe("");
    const attempts = await bed.times(bed.red, bed.target(one.ip, SERVER_PORT), 3);
    expect(attempts.filter(({ outcome }) => outcome !== "reached")).toEqual([]);
  });
});

/** Asks the server from outside the mesh; empty when nobody answers. */
async function greet(): Promise<string> {
  const socket = connect(SERVER_PORT, one.ip);
  socket.on("error", () => {});
  socket.end("greet\n");
  return text(socket).catch(() => "");
}

/** Connections from outside that BPF has let in by itself. */
async function passedByKernel(): Promise<number> {
  const samples = parseMetrics((await bed.node.agent.get("metrics", "/metrics")).text);
  return sumOf(samples, "weft_reasons_total", { plane: "bpf", reason: "plain_in" });
}

describe("the choice of an endpoint", () => {
  it("follows the weights", async () => {
    bed.publish(one, { weight: 1 });
    bed.publish(two, { weight: 3 });
    const weights = { [one.name]: 1, [two.name]: 3 };
    const fits = async (): Promise<boolean> => {
      const attempts = await bed.times(bed.red, bed.target(), BALANCED);
      expect(attempts.filter(({ outcome, direct }) => outcome !== "reached" || !direct)).toEqual([]);
      const problem = disagreement(
        countBy(attempts, ({ server }) => server ?? ""),
        weights,
      );
      if (problem !== undefined) throw new Error(problem);
      return true;
    };
    // The first connections may still see the weights of before.
    await eventually("the weights are seen", fits, 30_000);
  });

  it("is the agent's for a service that is bound to a waypoint, every time", async () => {
    bed.putService({
      waypoint: {
        destination: { case: "hostname", value: { namespace: "default", hostname: "waypoint.default.svc" } },
        hboneMtlsPort: 15008,
      },
    });
    // Nobody is that waypoint: what is not reached through it is not reached at all.
    await eventually("the service is closed", async () => {
      const attempts = await bed.times(bed.red, bed.target(), 10);
      return attempts.every(({ outcome }) => outcome === "closed");
    });
    const pod = await bed.times(bed.red, bed.target(one.ip, SERVER_PORT), 3);
    expect(pod.filter(({ outcome }) => outcome !== "reached")).toEqual([]);
  });
});
