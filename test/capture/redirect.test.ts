import { afterEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { PORT, RedirectBed, type RedirectPod } from "./redirect-bed.ts";
import { LAYOUTS, type LayoutName } from "./redirect-layouts.ts";
import type { PlaneProcess } from "./redirect-plane.ts";

const MEGABYTE = 1 << 20;
/** SYN and SYN-ACK. */
const HANDSHAKE = 2;

let bed: RedirectBed;

afterEach(async () => {
  await bed?.dispose();
});

async function enroll(plane: PlaneProcess, pod: RedirectPod, id = 1): Promise<bigint> {
  return plane.capture({ id, netnsPath: pod.netnsPath, addresses: [pod.ip, pod.ip6], dns: false });
}

/** Connections from one pod to the other's echo are direct. */
async function approve(plane: PlaneProcess, source: bigint, destination: bigint, to: RedirectPod): Promise<void> {
  for (const [family, ip] of [
    [4, to.ip],
    [6, to.ip6],
  ] as const) {
    const address = { ip, port: PORT };
    await plane.direct([
      {
        op: "set-route",
        pod: source,
        destination: address,
        endpoints: [{ key: 1, weight: 1, address, path: "direct", pod: destination }],
      },
      { op: "set-verdict", verdict: { source, destination, port: PORT, family }, allow: true },
    ]);
  }
}

interface Pair {
  readonly plane: PlaneProcess;
  readonly red: RedirectPod;
  readonly blue: RedirectPod;
  readonly redCookie: bigint;
  readonly blueCookie: bigint;
}

/** Two enrolled pods, the first allowed to talk to the second. */
async function pair(layout: LayoutName, options: { redMtu?: number; blueMtu?: number } = {}): Promise<Pair> {
  bed = await RedirectBed.create(layout);
  const red = bed.addPod(options.redMtu === undefined ? {} : { mtu: options.redMtu });
  const blue = bed.addPod(options.blueMtu === undefined ? {} : { mtu: options.blueMtu });
  await bed.echo(blue);
  const plane = await bed.startPlane();
  const redCookie = await enroll(plane, red, 1);
  const blueCookie = await enroll(plane, blue, 2);
  await approve(plane, redCookie, blueCookie, blue);
  bed.watch();
  return { plane, red, blue, redCookie, blueCookie };
}

describe.each(Object.keys(LAYOUTS) as LayoutName[])("on a node with the layout %s", (layout) => {
  test("established connections go past the node, byte for byte, in both families", async () => {
    const { plane, red, blue, redCookie, blueCookie } = await pair(layout);
    expect(await plane.redirects()).toEqual(
      expect.arrayContaining([
        { pod: redCookie, device: red.device, off: undefined },
        { pod: blueCookie, device: blue.device, off: undefined },
      ]),
    );
    for (const ip of [blue.ip, blue.ip6]) {
      const connection = await bed.talk(red, ip);
      expect(await connection.ask(String(1))).toBe("same");
      expect(await connection.ask(String(20 * MEGABYTE))).toBe("same");
      expect(bed.entries("weft_redirects")).toBe(2);
      expect(await connection.ask("end")).toBe("ended");
      await eventually("the redirects are gone", () => bed.entries("weft_redirects") === 0);
      expect(bed.seen()).toBe(HANDSHAKE);
    }
    expect((await plane.counters()).redirected).toBe(2);
  });
});
