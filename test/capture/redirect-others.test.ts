import { afterEach, describe, expect, test } from "vitest";
import { bpftool } from "./redirect-bed.ts";
import { enroll, enrolledPair, offReason, type Pair } from "./redirect-pair.ts";

const MEGABYTE = 1 << 20;
const TCX_NEXT = -1;
const TCX_DROP = 2;
const XDP_PASS = 2;

let pair: Pair | undefined;

afterEach(async () => {
  await pair?.bed.dispose();
  pair = undefined;
});

/** A connection opened now passes the node with its bytes, or only with its handshake. */
async function passesNode({ bed, red, blue }: Pair): Promise<boolean> {
  bed.seen();
  const connection = await bed.talk(red, blue.ip);
  expect(await connection.ask(String(MEGABYTE))).toBe("same");
  const { others } = bed.seen();
  expect(await connection.ask("end")).toBe("ended");
  return others > 0;
}

describe("somebody who would be skipped turns it off for the pod, and on again by leaving:", () => {
  const ON_BLUE = "veth3";

  test.each([
    [
      "a classic filter at the ingress",
      `tc qdisc add dev ${ON_BLUE} clsact; tc filter add dev ${ON_BLUE} ingress protocol all u32 match u32 0 0 flowid 1:1`,
      `tc filter del dev ${ON_BLUE} ingress`,
      `a tc filter at the ingress of ${ON_BLUE} would be skipped`,
    ],
    [
      "a classic filter at the egress",
      `tc qdisc add dev ${ON_BLUE} clsact; tc filter add dev ${ON_BLUE} egress protocol all u32 match u32 0 0 flowid 1:1`,
      `tc qdisc del dev ${ON_BLUE} clsact`,
      `a tc filter at the egress of ${ON_BLUE} would be skipped`,
    ],
    [
      "a filter at an ingress queue",
      `tc qdisc add dev ${ON_BLUE} ingress; tc filter add dev ${ON_BLUE} parent ffff: protocol all u32 match u32 0 0 flowid 1:1`,
      `tc qdisc del dev ${ON_BLUE} ingress`,
      `a tc filter at the ingress of ${ON_BLUE} would be skipped`,
    ],
    [
      "a shaper",
      `tc qdisc add dev ${ON_BLUE} root tbf rate 200mbit burst 256kb latency 50ms`,
      `tc qdisc del dev ${ON_BLUE} root`,
      `the queueing discipline tbf of ${ON_BLUE} would be skipped`,
    ],
    [
      "a netfilter chain of the device",
      `nft add table netdev theirs; nft "add chain netdev theirs entry { type filter hook ingress device ${ON_BLUE} priority 0; }"`,
      "nft delete table netdev theirs",
      `the netfilter chain theirs entry of ${ON_BLUE} would be skipped`,
    ],
  ])("%s", async (_, come, leave, reason) => {
    pair = await enrolledPair("bridge");
    const { bed, plane, redCookie, blueCookie } = pair;
    expect(await passesNode(pair)).toBe(false);
    const open = await bed.talk(pair.red, pair.blue.ip);
    expect(await open.ask("1000")).toBe("same");

    bed.onNode(come);
    await plane.checkRedirects();
    expect(await offReason(plane, blueCookie)).toBe(reason);
    expect(await offReason(plane, redCookie)).toBeUndefined();
    expect(await passesNode(pair)).toBe(true);
    // Also what was open before.
    expect(await open.ask("20000")).toBe("same");
    expect(bed.seen().others).toBeGreaterThan(0);
    expect(bed.entries("weft_redirects")).toBe(0);

    bed.onNode(leave);
    await plane.checkRedirects();
    expect(await offReason(plane, blueCookie)).toBeUndefined();
    expect(await passesNode(pair)).toBe(false);
  });

  test("a tcx program at the egress", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, blue, blueCookie } = pair;
    const neighbour = await bed.neighbour(bed.node, "tcx-egress", blue.device, TCX_NEXT);
    await plane.checkRedirects();
    expect(await offReason(plane, blueCookie)).toBe(
      "the tcx program neighbour at the egress of veth3 would be skipped",
    );
    expect(await passesNode(pair)).toBe(true);
    await neighbour.end();
    await plane.checkRedirects();
    expect(await passesNode(pair)).toBe(false);
  });

  test("an XDP program in the pod", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, blue, blueCookie } = pair;
    const neighbour = await bed.neighbour(blue.netns, "xdp", "eth0", XDP_PASS);
    await plane.checkRedirects();
    expect(await offReason(plane, blueCookie)).toBe("an XDP program on eth0 in the pod would be skipped");
    expect(await passesNode(pair)).toBe(true);
    await neighbour.end();
    await plane.checkRedirects();
    expect(await passesNode(pair)).toBe(false);
  });
});

describe("other programs at the ingress", () => {
  test("run before ours when they were there first", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, redCookie } = pair;
    await plane.release(redCookie);
    await bed.neighbour(bed.node, "tcx-ingress", red.device, TCX_NEXT);
    await enroll(plane, red);
    expect(await offReason(plane, redCookie)).toBeUndefined();
    expect(bed.tcxPrograms(red.device)).toEqual(["neighbour", "weft_redirect"]);
  });

  test("that come later run before ours from the next look on", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue, redCookie } = pair;
    const connection = await bed.talk(red, blue.ip);
    const neighbour = await bed.neighbour(bed.node, "tcx-ingress", red.device, TCX_DROP);
    expect(bed.tcxPrograms(red.device)).toEqual(["weft_redirect", "neighbour"]);
    expect(await connection.ask("1000")).toBe("same");

    await plane.checkRedirects();
    expect(await offReason(plane, redCookie)).toBeUndefined();
    expect(bed.tcxPrograms(red.device)).toEqual(["neighbour", "weft_redirect"]);
    expect(await connection.ask("0.5 1000")).toBe("timeout");
    await neighbour.end();
    expect(await passesNode(pair)).toBe(false);
  });

  test("do not matter when nothing hangs on their hook", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, blue, blueCookie } = pair;
    bed.onNode(`tc qdisc add dev ${blue.device} clsact`);
    await plane.checkRedirects();
    expect(await offReason(plane, blueCookie)).toBeUndefined();
  });

  test("that push ours out are followed by it again", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, redCookie } = pair;
    bpftool("link", "detach", "pinned", `${bed.pinDir}/v2/redirects/${redCookie}`);
    expect(bed.tcxPrograms(red.device)).toEqual([]);
    await plane.checkRedirects();
    expect(bed.tcxPrograms(red.device)).toEqual(["weft_redirect"]);
    expect(await passesNode(pair)).toBe(false);
  });
});

describe("it is off for a pod whose device is not understood:", () => {
  test.each([
    [
      "a macvlan",
      (node: string, pod: string) => `ip -n ${node} link add mv link br0 type macvlan mode bridge
        ip -n ${node} link set mv netns ${pod} name eth0`,
      "eth0 in the pod is a macvlan device, not a veth",
    ],
    [
      "a veth to another network namespace",
      (_: string, pod: string, other: string) => `ip -n ${other} link add far type veth peer name eth0 netns ${pod}`,
      "the other end of eth0 is not in the agent's network namespace",
    ],
    [
      "a bridge of its own",
      (_: string, pod: string) => `ip -n ${pod} link add eth0 type bridge`,
      "eth0 in the pod is a bridge device, not a veth",
    ],
  ])("%s", async (_, join, reason) => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red } = pair;
    const odd = bed.addPod();
    bed.onNode(`ip link del ${odd.device}`);
    bed.onNode(join(bed.node, odd.netns, red.netns));
    bed.onNode(
      `ip -n ${odd.netns} addr add ${odd.ip}/24 dev eth0; ip -n ${odd.netns} -6 addr add ${odd.ip6}/64 dev eth0`,
    );
    const cookie = await enroll(plane, odd);
    expect(await offReason(plane, cookie)).toBe(reason);
  });

  test("an isolated port of a bridge", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, redCookie } = pair;
    bed.onNode(`bridge link set dev ${red.device} isolated on`);
    await plane.checkRedirects();
    expect(await offReason(plane, redCookie)).toBe("veth2 is an isolated port of its bridge");
    bed.onNode(`bridge link set dev ${red.device} isolated off`);
    await plane.checkRedirects();
    expect(await passesNode(pair)).toBe(false);
  });

  test("no device with its address", async () => {
    pair = await enrolledPair("bridge");
    const { plane, bed } = pair;
    const odd = bed.addPod();
    const cookie = await plane.capture({ id: 9, netnsPath: odd.netnsPath, addresses: ["10.77.0.200"], dns: false });
    expect(await offReason(plane, cookie)).toBe("no device in the pod has its address 10.77.0.200");
  });
});
