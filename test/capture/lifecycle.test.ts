import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { loadAddon } from "../../agent/src/native.ts";
import type { BedPod } from "../helpers/pod-bed.ts";
import { CaptureBed } from "./capture-bed.ts";

const FAR = "10.99.9.9";
const CAPTURED = `orig=${FAR}:7`;

let bed: CaptureBed;
let pod: BedPod;

beforeAll(async () => {
  bed = await CaptureBed.create(74);
});
beforeEach(() => {
  pod = bed.addPod();
});
afterEach(async () => {
  await bed.reset();
});
afterAll(async () => {
  await bed?.dispose();
});

/** Whether the pod's new connections are captured: the agent's answer, or how connecting failed. */
async function newConnection(): Promise<string> {
  return (await bed.app(pod, `show(dial("${FAR}", 7).split(" ")[0])`)) as string;
}

const ECHO_LINES = `
def echo(server):
    while True:
        sock, _ = server.accept()
        in_background(echo_lines, sock)
def echo_lines(sock):
    while True:
        text = line(sock)
        if not text: break
        sock.sendall((text + "\\n").encode())
`;

/** Keeps one connection open and sends a line over it each time it is told to. */
function keepOpen(ip: string, port: number): string {
  return `s = stream(family_of("${ip}")); s.connect(("${ip}", ${port})); print("ready", flush=True)
for text in sys.stdin:
    s.sendall(text.encode()); print(line(s), flush=True)`;
}

describe("enrolment", () => {
  test("leaves open connections alone, in both directions", async () => {
    const peer = bed.addPod();
    await bed.serve(peer, `${ECHO_LINES}\nin_background(echo, listener("0.0.0.0", 80)); stay()`);
    await bed.serve(pod, `${ECHO_LINES}\nin_background(echo, listener("0.0.0.0", 80)); stay()`);
    const outbound = await bed.serve(pod, keepOpen(peer.ip, 80));
    const inbound = await bed.serve(peer, keepOpen(pod.ip, 80));
    expect([await outbound.ask("one"), await inbound.ask("one")]).toEqual(["one", "one"]);

    const agent = await bed.startAgent();
    await agent.capture(pod);
    expect(await newConnection()).toBe(CAPTURED);
    expect([await outbound.ask("two"), await inbound.ask("two")]).toEqual(["two", "two"]);
    expect(await agent.count("captured_inbound")).toBe(0);

    await agent.kill();
    expect([await outbound.ask("three"), await inbound.ask("three")]).toEqual(["three", "three"]);
  });

  test("again for the same namespace takes over new addresses", async () => {
    const agent = await bed.startAgent();
    const first = await agent.capture(pod, { addresses: [pod.ip] });
    expect(await bed.app(pod, `show(dial("fd99::9", 7))`)).toBe("ENETUNREACH");
    expect(await agent.steer(pod)).toBe(first);
    expect(await bed.app(pod, `show(dial("fd99::9", 7).split(" ")[0])`)).toBe("orig=[fd99::9]:7");
    expect(await agent.captured()).toEqual([first]);
    expect(bed.entries("weft_own_addrs")).toBe(2);
  });
});

describe("release", () => {
  test("leaves new connections untouched at once and lets captured ones go on", async () => {
    const peer = bed.addPod();
    await bed.serve(peer, `${ECHO_LINES}\nin_background(echo, listener("0.0.0.0", 80)); stay()`);
    await bed.serve(pod, `in_background(tell_client, listener("0.0.0.0", 8080)); stay()`);
    const agent = await bed.startAgent();
    const cookie = await agent.capture(pod);
    const captured = await bed.serve(pod, keepOpen(peer.ip, 80));
    expect(await captured.ask("one")).toBe("one");
    const counted = await agent.count("captured_outbound");

    await agent.release(cookie);
    expect(await captured.ask("two")).toBe("two");
    await bed.serve(pod, keepOpen(peer.ip, 80));
    expect(await agent.count("captured_outbound")).toBe(counted);
    await agent.kill();
    expect(await bed.outside(`show("accept" in dial("${pod.ip}", 8080))`)).toBe(true);
    expect(["weft_pods", "weft_own_addrs", "weft_flows"].map((map) => bed.entries(map))).toEqual([0, 0, 0]);
  });

  test("of a pod that nobody captured is no error", async () => {
    const agent = await bed.startAgent();
    await agent.release("123456789");
    expect(await agent.captured()).toEqual([]);
  });
});

describe("an agent that dies", () => {
  test("leaves its pods closed, and the next one adopts them", async () => {
    await bed.serve(pod, `in_background(tell_client, listener("0.0.0.0", 8080)); stay()`);
    const first = await bed.startAgent();
    const cookie = await first.capture(pod);
    expect(await newConnection()).toBe(CAPTURED);
    await first.kill();

    expect(await newConnection()).toBe("ECONNREFUSED");
    expect(await bed.outside(`show(dial("${pod.ip}", 8080))`)).toBe("ECONNREFUSED");

    const second = await bed.startAgent();
    expect(await second.captured()).toEqual([cookie]);
    expect(await newConnection()).toBe("ECONNREFUSED");
    expect(await second.capture(pod)).toBe(cookie);
    expect(await newConnection()).toBe(CAPTURED);
    expect(await bed.outside(`show("accept" in dial("${pod.ip}", 8080))`)).toBe(true);
  });

  test("leaves links that the next one fills with its own code, without a gap", async () => {
    const first = await bed.startAgent();
    await first.capture(pod);
    const before = links();
    await first.kill();
    const second = await bed.startAgent();
    await second.capture(pod);
    const after = links();
    expect(after.map((link) => link.id)).toEqual(before.map((link) => link.id));
    for (const [i, link] of after.entries()) expect(link.prog_id).not.toBe(before[i]?.prog_id);
  });

  test("may be followed by one in another cgroup, which is exempt as well", async () => {
    const first = await bed.startAgent();
    await first.capture(pod);
    await first.kill();
    const peer = bed.addPod();
    await bed.serve(peer, `in_background(tell_client, listener("0.0.0.0", 80)); stay()`);
    // Below the pods' cgroup, as a DaemonSet's pod is.
    const second = await bed.startAgent({ agentCgroup: `${bed.pods.podsCgroup}/agent` });
    await second.capture(pod);
    expect(await bed.app(pod, `show("accept" in dial("${peer.ip}", 80))`)).toBe(true);
    await bed.serve(pod, `in_background(tell_client, listener("0.0.0.0", 8080)); stay()`);
    const code = `s = stream(V4); s.connect(("${pod.ip}", 8080)); show(json.loads(line(s))["accept"] == at(s.getsockname()))`;
    expect(await bed.outside(code)).toBe(true);
    expect(existsSync(`${bed.pinDir}/v2/links/weft_sockops_agent`)).toBe(false);
  });
});

describe("a pod that leaves", () => {
  test("takes its entries along, and a pod with its address inherits nothing", async () => {
    const agent = await bed.startAgent();
    const first = await agent.capture(pod);
    await bed.serve(pod, keepOpen(FAR, 7));
    expect(bed.entries("weft_flows")).toBe(1);
    bed.replaceNetns(pod);
    await agent.release(first);
    expect(bed.entries("weft_flows")).toBe(0);

    // Same name, same address, another namespace.
    const code = `s = stream(V4); s.settimeout(0.2); s.connect_ex(("${FAR}", 7)); show(s.getsockname()[0])`;
    const counted = await agent.count("captured_outbound");
    await bed.app(pod, code);
    expect(await agent.count("captured_outbound")).toBe(counted);
    const second = await agent.capture(pod);
    expect(second).not.toBe(first);
    expect(await newConnection()).toBe(CAPTURED);
  });

  test("may be released after its address has a new owner", async () => {
    const agent = await bed.startAgent();
    const first = await agent.capture(pod);
    bed.replaceNetns(pod);
    const second = await agent.capture(pod);
    await agent.release(first);
    expect(await agent.captured()).toEqual([second]);
    expect(await newConnection()).toBe(CAPTURED);
  });
});

describe("pins of another ABI version", () => {
  test("keep their pods listed until ours has them, and go with the last", async () => {
    const agent = await bed.startAgent();
    const cookie = await agent.steer(pod);
    pretendOtherVersion();
    expect(existsSync(`${bed.pinDir}/v2`)).toBe(false);
    await agent.kill();

    const next = await bed.startAgent();
    expect(await next.captured()).toEqual([cookie]);
    // The other version's programs still hold.
    expect(await newConnection()).toBe("ECONNREFUSED");
    await next.capture(pod);
    expect(existsSync(`${bed.pinDir}/v0`)).toBe(false);
    expect(await newConnection()).toBe(CAPTURED);
  });
});

describe("cleanup", () => {
  test("removes every link, map and pin, an agent that still runs and other versions notwithstanding", async () => {
    const agent = await bed.startAgent();
    await agent.capture(pod);
    pretendOtherVersion();
    const next = await bed.startAgent();
    await next.capture(bed.addPod());
    const held = [
      ...links().map((link) => ["prog", link.prog_id] as const),
      ...maps().map((id) => ["map", id] as const),
    ];
    expect(held.length).toBeGreaterThan(40);

    expect(loadAddon().cleanupBpf(bed.pinDir)).toBe(true);
    expect(existsSync(bed.pinDir)).toBe(false);
    expect(attachedPrograms()).toBe("");
    await agent.kill();
    await next.kill();
    await eventually("programs and maps are gone", () => !held.some(([kind, id]) => exists(kind, id)));
    expect(loadAddon().cleanupBpf(bed.pinDir)).toBe(false);

    const code = `s = stream(V4); s.settimeout(0.2); show(error_of(lambda: s.connect(("${FAR}", 7))))`;
    expect(await bed.app(pod, code)).not.toBe("ECONNREFUSED");
  });

  test("refuses a folder that is not on a bpffs", () => {
    expect(() => loadAddon().cleanupBpf("/etc")).toThrow(/\/etc is not on a bpffs/);
  });
});

interface Link {
  readonly id: number;
  readonly prog_id: number;
}

function bpftool(...args: string[]): unknown {
  return JSON.parse(execFileSync("/usr/sbin/bpftool", ["-j", ...args]).toString());
}

/** The pinned links, by pin. */
function links(): Link[] {
  const all = [...pins("*/links/*"), ...pins("*/pods/*")];
  return all.flatMap((pin) => bpftool("link", "show", "pinned", pin) as Link[] | Link);
}

function attachedPrograms(): string {
  const show = `for cgroup in $(find "$0" -type d); do /usr/sbin/bpftool -j cgroup show "$cgroup" | grep weft_ || true; done`;
  return execFileSync("/bin/sh", ["-eu", "-c", show, bed.pods.podsCgroup.replace(/\/kubepods$/, "")]).toString();
}

/** Ids of the pinned maps. */
function maps(): number[] {
  return pins("*/maps/*").map((pin) => (bpftool("map", "show", "pinned", pin) as { id: number }).id);
}

function exists(kind: "prog" | "map", id: number): boolean {
  return (bpftool(kind, "show") as { id: number }[]).some((one) => one.id === id);
}

function pins(pattern: string): string[] {
  return execFileSync("find", [bed.pinDir, "-path", pattern]).toString().trim().split("\n").sort();
}

/** Turns this ABI's pins into those of another version. */
function pretendOtherVersion(): void {
  execFileSync("mv", [`${bed.pinDir}/v2`, `${bed.pinDir}/v0`]);
}
