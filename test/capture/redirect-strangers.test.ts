import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Conversation } from "./capture-bed.ts";
import { PORT } from "./redirect-bed.ts";
import { approve, enroll, enrolledPair, type Pair } from "./redirect-pair.ts";

/** Made by hand and sent at once; all of them are counted, so one that goes astray shows. */
const PACKETS = 10;

let pair: Pair;
let open: Conversation;
let port: number;

beforeEach(async () => {
  pair = await enrolledPair("bridge");
  const { bed, red, blue } = pair;
  open = await bed.talk(red, blue.ip);
  expect(await open.ask("1000")).toBe("same");
  port = localPort();
  bed.seen();
});
afterEach(async () => {
  await pair?.bed.dispose();
});

/** Of red's connection to blue. */
function localPort(): number {
  const line = pair.bed.inPod(pair.red, `ss -Htn state established dport = :${PORT}`);
  return Number(/:(\d+)\s+\S+:7000/.exec(line)?.[1]);
}

/** Sends packets of red's connection to blue from a pod. `options`: keyword arguments of raw_tcp.py's packet(). */
function inject(from: { netns: string }, options: string): void {
  const { bed, red, blue } = pair;
  const program = `import sys; sys.path.insert(0, "${import.meta.dirname}"); from raw_tcp import *
send("eth0", packet("${red.ip}", ${port}, "${blue.ip}", ${PORT}, ${options}), ${PACKETS})`;
  bed.onNode(`nsenter --net=/var/run/netns/${from.netns} python3 -B -c "$(cat <<EOF\n${program}\nEOF\n)"`);
}

/** How many of the injected packets have passed the node. */
function passedNode(): number {
  const { handshakes, others } = pair.bed.seen();
  return handshakes + others;
}

describe("packets of an approved connection", () => {
  test("go past the node when the pod itself sends them, by whatever means", () => {
    const { bed, red, blue } = pair;
    bed.inPod(
      blue,
      `nft -f - <<EOF
table ip arrived {
  counter heard {}
  chain input { type filter hook input priority 0; tcp dport ${PORT} counter name heard; }
}
EOF`,
    );
    inject(red, `mac="02:00:00:00:00:03"`);
    expect(passedNode()).toBe(0);
    expect(bed.inPod(blue, "nft list counters")).toContain(`packets ${PACKETS} `);
  });

  test.each([
    ["with IP options", "options=4"],
    ["in fragments", "more_fragments=True"],
    ["with SYN", "syn=True"],
    ["with a VLAN tag", "vlan=7"],
    ["cut off", "cut=30"],
  ])("take the ordinary way %s", async (name, options) => {
    inject(pair.red, `mac="02:00:00:00:00:03", ${options}`);
    // The node's rules know nothing of what is cut off or tagged; that it does not arrive here is what counts.
    if (name !== "cut off" && name !== "with a VLAN tag") expect(passedNode()).toBeGreaterThanOrEqual(PACKETS);
    expect(await open.ask("1000")).toBe("same");
  });

  test("that another pod sends are not taken for the pod's, enrolled or not", async () => {
    const { bed, plane, blue, blueCookie } = pair;
    const stranger = bed.addPod();
    inject(stranger, `mac="02:00:00:00:00:03"`);
    expect(passedNode()).toBe(PACKETS);

    const member = bed.addPod();
    await approve(plane, await enroll(plane, member), blueCookie, blue);
    const own = await bed.talk(member, blue.ip);
    expect(await own.ask("1000")).toBe("same");
    bed.seen();
    inject(member, `mac="02:00:00:00:00:03"`);
    expect(passedNode()).toBe(PACKETS);
    expect(await own.ask("1000")).toBe("same");
    expect(await open.ask("1000")).toBe("same");
    expect(passedNode()).toBe(0);
  });
});

describe("the node's rules", () => {
  test("decide about every connection's first packet", async () => {
    const { bed, red, blue } = pair;
    bed.onNode(`nft -f - <<EOF
table bridge theirs {
  chain forward {
    type filter hook forward priority 10
    ip daddr ${blue.ip} tcp flags & (syn | ack) == syn drop
  }
}
EOF`);
    const code = `s = stream(V4); s.settimeout(0.5); show(error_of(lambda: s.connect(("${blue.ip}", ${PORT}))))`;
    expect(await bed.app(red, code)).toBe("timeout");
    expect(await open.ask("1000")).toBe("same");
  });

  test("see everything of connections that are not direct", async () => {
    const { bed } = pair;
    const [one, other] = [bed.addPod(), bed.addPod()];
    await bed.echo(other);
    const connection = await bed.talk(one, other.ip);
    expect(await connection.ask("1000")).toBe("same");
    expect(bed.seen().others).toBeGreaterThan(0);
    expect(bed.entries("weft_redirects")).toBe(2);
  });
});

test("a pod that talks to itself is left alone", async () => {
  const { bed, plane, blue, blueCookie } = pair;
  const vip = "10.99.0.1";
  const address = { ip: blue.ip, port: PORT };
  await plane.direct([
    {
      op: "set-route",
      pod: blueCookie,
      destination: { ip: vip, port: PORT },
      endpoints: [{ key: 1, weight: 1, address, path: "direct", pod: blueCookie }],
    },
    {
      op: "set-verdict",
      verdict: { source: blueCookie, destination: blueCookie, port: PORT, family: 4 },
      allow: true,
    },
  ]);
  const own = await bed.talk(blue, vip);
  expect(await own.ask("100000")).toBe("same");
  expect(bed.entries("weft_redirects")).toBe(2);
});
