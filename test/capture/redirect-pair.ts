/** Two enrolled pods of which the first may talk to the second: what most tests of peer redirect begin with. */
import { PORT, RedirectBed, type RedirectPod } from "./redirect-bed.ts";
import type { LayoutName } from "./redirect-layouts.ts";
import type { PlaneProcess } from "./redirect-plane.ts";

export interface Pair {
  readonly bed: RedirectBed;
  readonly plane: PlaneProcess;
  readonly red: RedirectPod;
  /** Echoes. */
  readonly blue: RedirectPod;
  readonly redCookie: bigint;
  readonly blueCookie: bigint;
}

let captures = 0;

export function enroll(plane: PlaneProcess, pod: RedirectPod): Promise<bigint> {
  captures += 1;
  return plane.capture({ id: captures, netnsPath: pod.netnsPath, addresses: [pod.ip, pod.ip6], dns: false });
}

/** Connections of `source` to the echo of `to` are direct, in both families. */
export async function approve(
  plane: PlaneProcess,
  source: bigint,
  destination: bigint,
  to: RedirectPod,
  port = PORT,
): Promise<void> {
  for (const [family, ip] of [
    [4, to.ip],
    [6, to.ip6],
  ] as const) {
    const address = { ip, port };
    const endpoint = { key: 1, weight: 1, address, path: "direct", pod: destination } as const;
    await plane.direct([
      { op: "set-route", pod: source, destination: address, endpoints: [endpoint] },
      { op: "set-verdict", verdict: { source, destination, port, family }, allow: true },
    ]);
  }
}

export async function enrolledPair(
  layout: LayoutName,
  options: { redMtu?: number; blueMtu?: number } = {},
): Promise<Pair> {
  const bed = await RedirectBed.create(layout);
  try {
    const red = bed.addPod(options.redMtu === undefined ? {} : { mtu: options.redMtu });
    const blue = bed.addPod(options.blueMtu === undefined ? {} : { mtu: options.blueMtu });
    await bed.echo(blue);
    const plane = await bed.startPlane();
    const redCookie = await enroll(plane, red);
    const blueCookie = await enroll(plane, blue);
    await approve(plane, redCookie, blueCookie, blue);
    bed.watch();
    return { bed, plane, red, blue, redCookie, blueCookie };
  } catch (error) {
    await bed.dispose();
    throw error;
  }
}

/** Why packets of the pod do not go past the node; undefined: they do. */
export async function offReason(plane: PlaneProcess, cookie: bigint): Promise<string | undefined> {
  const shortcut = (await plane.redirects()).find((one) => one.pod === cookie);
  if (shortcut === undefined) throw new Error("the pod is not known");
  return shortcut.off;
}
