/** One agent after another, while pods talk over direct connections: the same release, and one with other maps. */
import { existsSync } from "node:fs";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { BedPod } from "../helpers/pod-bed.ts";
import { CaptureBed, type Conversation } from "./capture-bed.ts";
import type { FakeAgent } from "./fake-agent.ts";

const VIP = "10.99.3.3";
/** WEFT_ABI of the release, and of the next one as the Makefile has it. */
const OURS = "v2";
const NEXT = "v99";

let bed: CaptureBed;
let client: BedPod;
let server: BedPod;

beforeAll(async () => {
  bed = await CaptureBed.create(80);
  client = bed.addPod();
  server = bed.addPod();
  await bed.serve(server, SERVER);
});
afterEach(async () => {
  await bed.reset();
});
afterAll(async () => {
  await bed?.dispose();
});

/** 80 tells who connects and closes; 81 echoes lines. */
const SERVER = `
def echo(server):
    while True:
        in_background(echo_lines, server.accept()[0])
def echo_lines(sock):
    while text := line(sock):
        sock.sendall((text + "\\n").encode())
in_background(tell_client, listener("::", 80)); in_background(echo, listener("::", 81)); stay()
`;

/** Connects one time after the other until it is asked what came of it. */
const CONNECT_FOR_EVER = `
results = {}
def loop():
    while True:
        result = dial("${VIP}", 80)
        what = "ok" if "accept" in result else result
        results[what] = results.get(what, 0) + 1
in_background(loop)
print("ready", flush=True)
sys.stdin.readline(); show(dict(results))
`;

/** Captures both pods and allows the client's connections, as an agent does that has found its state again. */
async function enroll(agent: FakeAgent): Promise<void> {
  const source = await agent.capture(client);
  const destination = await agent.capture(server);
  for (const port of [80, 81]) {
    await agent.setRoute(source, VIP, port, [{ ip: server.ip, port, pod: destination }]);
    await agent.setVerdict(source, destination, port, true);
  }
}

async function keepOpen(): Promise<Conversation> {
  const program = await bed.serve(
    client,
    `s = stream(V4); s.connect(("${VIP}", 81)); print("ready", flush=True)
for text in sys.stdin:
    s.sendall(text.encode()); print(line(s), flush=True)`,
  );
  expect(await program.ask("one")).toBe("one");
  return program;
}

test("an agent that is killed and started again is missed by no connection", async () => {
  let agent = await bed.startAgent();
  await enroll(agent);
  const open = await keepOpen();
  const clients = await Promise.all([1, 2].map(() => bed.serve(client, CONNECT_FOR_EVER)));
  for (let round = 0; round < 3; round++) {
    await agent.kill();
    expect(await open.ask("nobody")).toBe("nobody");
    agent = await bed.startAgent();
    await agent.capture(client);
    await agent.capture(server);
    expect(await open.ask("somebody")).toBe("somebody");
  }
  for (const program of clients) {
    const results = JSON.parse(await program.ask("results"));
    expect(Object.keys(results)).toEqual(["ok"]);
    expect(results.ok).toBeGreaterThan(20);
  }
  expect(await agent.count("captured_outbound")).toBe(0);
  expect(await agent.count("captured_inbound")).toBe(0);
});

test.each([
  { from: OURS, to: NEXT, next: true },
  { from: NEXT, to: OURS, next: false },
])("pins of $from give way to $to, and open direct connections go on", async ({ from, to, next }) => {
  const before = await bed.startAgent({ next: !next });
  await enroll(before);
  const open = await keepOpen();
  await before.kill();
  expect(await open.ask("two")).toBe("two");

  const after = await bed.startAgent({ next });
  const cookies = await after.captured();
  expect(cookies).toHaveLength(2);
  // The other version decides until each pod is ours.
  expect(await bed.app(client, `show("accept" in dial("${VIP}", 80))`)).toBe(true);
  expect(await open.ask("three")).toBe("three");
  await enroll(after);
  expect(await after.captured()).toEqual(cookies);
  expect(existsSync(`${bed.pinDir}/${from}`)).toBe(false);
  expect(existsSync(`${bed.pinDir}/${to}`)).toBe(true);
  expect(await open.ask("four")).toBe("four");
  expect(await bed.app(client, `show("accept" in dial("${VIP}", 80))`)).toBe(true);
  expect(await after.count("direct")).toBe(1);
  expect(await after.count("captured_outbound")).toBe(0);
});
