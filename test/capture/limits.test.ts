import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { CaptureBed } from "./capture-bed.ts";

const CONNECTIONS = 5_000;

let bed: CaptureBed;

beforeAll(async () => {
  bed = await CaptureBed.create(75);
});
afterEach(async () => {
  await bed.reset();
});
afterAll(async () => {
  await bed?.dispose();
});

test(`${CONNECTIONS} simultaneous connections each keep their own original destination`, async () => {
  const pod = bed.addPod();
  const agent = await bed.startAgent({ maxFlows: 2 * CONNECTIONS });
  await agent.capture(pod);
  const program = await bed.serve(
    pod,
    `use_all_files()
print("ready", flush=True); sys.stdin.readline()
# Both families; every destination is another address.
asked = [f"10.99.{i >> 8}.{i & 255}" if i % 2 else f"fd99::{i + 1:x}" for i in range(${CONNECTIONS})]
socks = []
for ip in asked:
    s = stream(family_of(ip)); s.setblocking(False); s.connect_ex((ip, 7)); socks.append(s)
for s in socks: s.settimeout(60)
right = sum(line(s).split()[0] == "orig=" + at((ip, 7)) and s.getpeername()[0] == ip for s, ip in zip(socks, asked))
print(right, flush=True); sys.stdin.readline()
for s in socks: s.close()
print("closed", flush=True)`,
  );
  expect(await program.ask("open")).toBe(String(CONNECTIONS));
  expect(bed.entries("weft_flows")).toBe(CONNECTIONS);
  expect(await program.ask("close")).toBe("closed");
  await eventually("an empty flow map", () => bed.entries("weft_flows") === 0, 20_000);
});

test("a full flow map refuses what does not fit, counts it, and takes new connections when old ones have ended", async () => {
  const pod = bed.addPod();
  const agent = await bed.startAgent({ maxFlows: 4 });
  await agent.capture(pod);
  const program = await bed.serve(
    pod,
    `print("ready", flush=True); sys.stdin.readline()
socks = []
for i in range(4):
    s = stream(V4); s.connect(("10.99.0.1", 7)); line(s); socks.append(s)
print(dial("10.99.0.1", 7), flush=True); sys.stdin.readline()
for s in socks: s.close()
while dial("10.99.0.1", 7) == "ECONNRESET": pass
print(dial("10.99.0.1", 7).split()[0], flush=True)`,
  );
  expect(await program.ask("fill")).toBe("ECONNRESET");
  expect(await agent.count("map_full")).toBe(1);
  expect(await program.ask("empty")).toBe("orig=10.99.0.1:7");
});

test("a pinned map keeps the size that it was made with", async () => {
  await (await bed.startAgent({ maxFlows: 16 })).kill();
  const agent = await bed.startAgent({ maxFlows: 32 });
  expect(await agent.captured()).toEqual([]);
});
