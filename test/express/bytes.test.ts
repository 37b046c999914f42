import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { ExpressBed, type PeerOptions } from "./express-bed.ts";

/** Per direction and case. */
const BYTES = 12_000_000;
/** WEFT_EXPRESS_GB: how much goes through one after the other in all, see CONTRIBUTING.md. */
const SOAK_GB = Number(process.env.WEFT_EXPRESS_GB ?? 10);
const SOAK_CONNECTIONS = 4;

let bed: ExpressBed;
beforeAll(async () => {
  bed = await ExpressBed.create(61);
});
afterAll(() => bed.dispose());

/** Both ends send and check at once. */
async function exchange(name: string, server: PeerOptions, client: PeerOptions): Promise<void> {
  const seed = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 1_000_003, 7);
  const both = { bytes: BYTES, expect: BYTES, pauses: 3 };
  const done = await bed.exchange(
    { ...both, out: 1, in: 2, seed, ...server },
    { ...both, out: 2, in: 1, seed: seed + 1, ...client },
  );
  expect({ seed, server: done.server.stdout, client: done.client.stdout }).toEqual({
    seed,
    server: expect.stringMatching(/^ok /),
    client: expect.stringMatching(/^ok /),
  });
}

const WAITS = ["level", "edge", "short"];
const SENDS = ["write", "writev", "sendmsg", "sendfile", "uring"];
const RECEIVES = ["read", "readv", "recvmsg", "peek", "uring"];

describe("bytes of express connections", () => {
  it.each(WAITS.flatMap((server) => WAITS.map((client) => [server, client] as const)))(
    "arrive both ways at once with a server that waits by %s and a client by %s",
    async (server, client) => {
      const before = await bed.total();
      await exchange(`${server} ${client}`, { wait: server }, { wait: client });
      // A connection is counted when its socket has closed, which the end of the program is not.
      await eventually("bytes that went directly", async () => (await bed.total()).bytes > before.bytes);
    },
  );

  it.each(WAITS)("arrive between a blocking end and one that waits by %s", async (wait) => {
    await exchange(`block ${wait}`, { wait: "block" }, { wait });
    await exchange(`${wait} block`, { wait }, { wait: "block" });
  });

  it("arrive between blocking ends", async () => {
    await exchange("block", { wait: "block", bytes: 0 }, { wait: "block", expect: 0 });
    await exchange("block back", { wait: "block", expect: 0 }, { wait: "block", bytes: 0 });
  });

  it.each(SENDS)("arrive when they are sent by %s", async (send) => {
    await exchange(send, { send }, { send, wait: "edge" });
  });

  it.each(RECEIVES)("arrive when they are received by %s", async (recv) => {
    await exchange(recv, { recv }, { recv });
  });

  it("arrive through io_uring on blocking sockets", async () => {
    await exchange("uring block", { recv: "uring", send: "uring", wait: "block" }, { wait: "short" });
  });

  it("arrive at a slow reader whole", async () => {
    await exchange("slow", { pauses: 100, slice: 65_536 }, {});
    await exchange("slow edge", { pauses: 100, slice: 65_536, wait: "short" }, { wait: "edge" });
  });

  it("arrive one by one", async () => {
    const few = { bytes: 200_000, expect: 200_000 };
    await exchange("tiny", { ...few, slice: 3 }, { ...few, slice: 2, wait: "edge" });
  });

  it("arrive after one side has shut down", async () => {
    await exchange("half", { bytes: 0 }, { expect: 0 });
    await exchange("other half", { expect: 0, wait: "edge" }, { bytes: 0, wait: "short" });
  });

  it("are the right ones up to a reset", async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const resets = { bytes: 20_000 * seed, expect: "any", reset: 1, seed };
      const reads = { bytes: 10_000 * seed, expect: "any", seed };
      const done = await bed.exchange({ ...resets, out: 1, in: 2 }, { ...reads, out: 2, in: 1, wait: "edge" });
      expect(done.client.stdout + done.server.stdout).not.toContain("failed");
    }
  });

  it(`arrive, ${SOAK_GB} GB of them`, async () => {
    const before = await bed.total();
    const bytes = Math.round((SOAK_GB * 1e9) / SOAK_CONNECTIONS / 2);
    for (let seed = 1; seed <= SOAK_CONNECTIONS; seed++) {
      const both = { bytes, expect: bytes, slice: 262_144, seed, pauses: 0 };
      await exchange(`soak ${seed}`, both, both);
    }
    const direct = (await bed.total()).bytes - before.bytes;
    // Most of it; how much depends on how often a reader lags behind.
    expect(direct).toBeGreaterThan((SOAK_GB * 1e9) / 10);
  }, 1_200_000);
});
