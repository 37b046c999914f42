import { afterEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { RedirectBed, RedirectPod } from "./redirect-bed.ts";
import { LAYOUTS, type LayoutName } from "./redirect-layouts.ts";
import { enrolledPair, type Pair } from "./redirect-pair.ts";

const MEGABYTE = 1 << 20;

let pair: Pair | undefined;

afterEach(async () => {
  await pair?.bed.dispose();
  pair = undefined;
});

function expectHandshakeOnly(bed: RedirectBed): void {
  const { handshakes, others } = bed.seen();
  expect(handshakes).toBeGreaterThan(0);
  expect(others).toBe(0);
}

interface Traffic {
  readonly rx: number;
  readonly tx: number;
}

function traffic(bed: RedirectBed, show: string): Traffic {
  const [link] = JSON.parse(bed.onNode(show)) as { stats64: { rx: { bytes: number }; tx: { bytes: number } } }[];
  if (link === undefined) throw new Error(`nothing shown by ${show}`);
  return { rx: link.stats64.rx.bytes, tx: link.stats64.tx.bytes };
}
const onHost = (bed: RedirectBed, pod: RedirectPod) => traffic(bed, `ip -j -s link show dev ${pod.device}`);
const inside = (bed: RedirectBed, pod: RedirectPod) => traffic(bed, `ip -n ${pod.netns} -j -s link show dev eth0`);

describe.each(Object.keys(LAYOUTS) as LayoutName[])("on a node with the layout %s", (layout) => {
  test("established connections go past the node, byte for byte, in both families", async () => {
    pair = await enrolledPair(layout);
    const { bed, plane, red, blue, redCookie, blueCookie } = pair;
    expect(await plane.redirects()).toEqual(
      expect.arrayContaining([
        { pod: redCookie, device: red.device, off: undefined },
        { pod: blueCookie, device: blue.device, off: undefined },
      ]),
    );
    for (const ip of [blue.ip, blue.ip6]) {
      const connection = await bed.talk(red, ip);
      expect(await connection.ask("1")).toBe("same");
      expect(await connection.ask(String(20 * MEGABYTE))).toBe("same");
      expect(bed.entries("weft_redirects")).toBe(2);
      expect(await connection.ask("end")).toBe("ended");
      await eventually("the redirects are gone", () => bed.entries("weft_redirects") === 0);
      expectHandshakeOnly(bed);
    }
    expect((await plane.counters()).redirected).toBe(2);
    // What a pod's own counters and the host's end of the sender say is complete; the host's end of the receiver has
    // been passed by.
    for (const pod of [red, blue]) {
      expect(inside(bed, pod).tx).toBeGreaterThan(40 * MEGABYTE);
      expect(inside(bed, pod).rx).toBeGreaterThan(40 * MEGABYTE);
      expect(onHost(bed, pod).rx).toBeGreaterThan(40 * MEGABYTE);
      expect(onHost(bed, pod).tx).toBeLessThan(MEGABYTE);
    }
  });
});

describe("packets of all kinds arrive as they were sent", () => {
  test.each([
    ["with segmentation and checksums left to the device", ""],
    ["with every segment made by the stack", "tso off gso off"],
    ["with checksums by the stack", "tx off"],
    ["with segments put together again", "gro on"],
  ])("%s", async (_, offload) => {
    pair = await enrolledPair("bridge");
    const { bed, red, blue } = pair;
    if (offload !== "") for (const pod of [red, blue]) bed.inPod(pod, `ethtool -K eth0 ${offload}`);
    for (const ip of [blue.ip, blue.ip6]) {
      const connection = await bed.talk(red, ip);
      expect(await connection.ask(String(20 * MEGABYTE))).toBe("same");
    }
    expectHandshakeOnly(bed);
  });

  test.each([
    ["bridge", 1500, 1300],
    ["bridge", 1300, 9000],
    ["routed", 9000, 1400],
  ] as const)("between devices of different sizes: %s, %i and %i", async (layout, redMtu, blueMtu) => {
    pair = await enrolledPair(layout, { redMtu, blueMtu });
    const { bed, red, blue } = pair;
    for (const ip of [blue.ip, blue.ip6]) {
      const connection = await bed.talk(red, ip);
      expect(await connection.ask(String(10 * MEGABYTE))).toBe("same");
    }
    expectHandshakeOnly(bed);
  });

  test("also where the node's way is narrower than both devices", async () => {
    pair = await enrolledPair("routed");
    const { bed, plane, red, blue } = pair;
    for (const pod of [red, blue]) {
      bed.onNode(`ip route replace ${pod.ip}/32 dev ${pod.device} scope link mtu 1300`);
    }
    const connection = await bed.talk(red, blue.ip);
    expect(await connection.ask(String(10 * MEGABYTE))).toBe("same");
    expectHandshakeOnly(bed);
    // Path MTU discovery begins when it is needed.
    await plane.cleanup(bed.pinDir);
    expect(await connection.ask(String(10 * MEGABYTE))).toBe("same");
    expect(bed.seen().others).toBeGreaterThan(0);
  });

  test("with the TTL that the sender gave them", async () => {
    pair = await enrolledPair("routed");
    const { bed, red, blue } = pair;
    bed.inPod(
      blue,
      `nft -f - <<EOF
table ip arrived {
  counter whole {}
  chain input { type filter hook input priority 0; tcp flags & syn == 0 ip ttl 64 counter name whole; }
}
EOF`,
    );
    const connection = await bed.talk(red, blue.ip);
    expect(await connection.ask("1000")).toBe("same");
    expect(bed.inPod(blue, "nft list counters")).toMatch(/packets [1-9]/);
  });
});
