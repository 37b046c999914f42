import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { bpftool, PORT } from "./redirect-bed.ts";
import { approve, enroll, enrolledPair, offReason, type Pair } from "./redirect-pair.ts";

const MEGABYTE = 1 << 20;

let pair: Pair | undefined;

afterEach(async () => {
  await pair?.bed.dispose();
  pair = undefined;
});

interface Link {
  readonly id: number;
  readonly prog_id: number;
}

function pinnedLink({ bed }: Pair, cookie: bigint): Link {
  return JSON.parse(bpftool("link", "show", "pinned", `${bed.pinDir}/v2/redirects/${cookie}`)) as Link;
}

function exists(program: number): boolean {
  return (JSON.parse(bpftool("prog", "show")) as { id: number }[]).some(({ id }) => id === program);
}

describe("an agent that dies", () => {
  test("leaves it on for open and for new connections, and the next one takes it over", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue, redCookie, blueCookie } = pair;
    const open = await bed.talk(red, blue.ip);
    const before = pinnedLink(pair, redCookie);
    await plane.kill();
    expect(await open.ask(String(MEGABYTE))).toBe("same");
    expect(await (await bed.talk(red, blue.ip6)).ask(String(MEGABYTE))).toBe("same");

    const next = await bed.startPlane();
    expect((await next.redirects()).map(({ off, device }) => [off, device])).toEqual(
      expect.arrayContaining([
        [undefined, red.device],
        [undefined, blue.device],
      ]),
    );
    expect(await open.ask(String(MEGABYTE))).toBe("same");
    expect(await enroll(next, red)).toBe(redCookie);
    expect(await enroll(next, blue)).toBe(blueCookie);
    expect(await open.ask(String(MEGABYTE))).toBe("same");
    expect(bed.seen().others).toBe(0);
    const after = pinnedLink(pair, redCookie);
    expect(after.id).toBe(before.id);
    expect(after.prog_id).not.toBe(before.prog_id);
  });

  test("is followed by one that gives up the devices of pods that have left", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, redCookie, blueCookie } = pair;
    await plane.release(blueCookie);
    await plane.kill();
    const next = await bed.startPlane();
    await next.release(redCookie);
    expect(await next.redirects()).toEqual([]);
    expect(bed.tcxPrograms(red.device)).toEqual([]);
    expect(existsSync(`${bed.pinDir}/v2/redirects/${redCookie}`)).toBe(false);
  });
});

describe("a pod that leaves", () => {
  test("by being released keeps its open connections, by the ordinary way", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue, redCookie, blueCookie } = pair;
    const open = await bed.talk(red, blue.ip);
    expect(await open.ask("1000")).toBe("same");
    await plane.release(blueCookie);
    expect(bed.entries("weft_redirects")).toBe(0);
    expect(bed.entries("weft_devices")).toBe(1);
    expect((await plane.redirects()).map(({ pod }) => pod)).toEqual([redCookie]);
    bed.seen();
    expect(await open.ask(String(MEGABYTE))).toBe("same");
    expect(bed.seen().others).toBeGreaterThan(0);
  });

  test("with its device and namespace leaves nothing behind", async () => {
    pair = await enrolledPair("routed");
    const { bed, plane, red, blue, blueCookie } = pair;
    const open = await bed.talk(red, blue.ip);
    expect(await open.ask("1000")).toBe("same");
    bed.onNode(`ip link del ${blue.device}`);
    expect(bed.entries("weft_devices")).toBe(1);
    expect(await open.ask("0.3 1000")).toBe("timeout");
    await plane.release(blueCookie);
    expect(bed.entries("weft_redirects")).toBe(0);
    expect(existsSync(`${bed.pinDir}/v2/redirects/${blueCookie}`)).toBe(false);
  });
});

describe("a device that is made anew", () => {
  test("is used from the next look on, and connections go on meanwhile", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue, blueCookie } = pair;
    const open = await bed.talk(red, blue.ip);
    expect(await open.ask("1000")).toBe("same");
    bed.onNode(`ip link del ${blue.device}`);
    bed.join(blue);
    bed.seen();
    expect(await open.ask(String(MEGABYTE))).toBe("same");
    expect(bed.seen().others).toBeGreaterThan(0);

    await plane.checkRedirects();
    expect(await offReason(plane, blueCookie)).toBeUndefined();
    expect(bed.entries("weft_redirects")).toBe(0);
    expect(await open.ask(String(MEGABYTE))).toBe("same");
    bed.seen();
    expect(await (await bed.talk(red, blue.ip)).ask(String(MEGABYTE))).toBe("same");
    expect(bed.seen().others).toBe(0);
  });

  test("does not get what was meant for another that had its number", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue } = pair;
    const open = await bed.talk(red, blue.ip);
    expect(await open.ask("1000")).toBe("same");
    const number = bed.onNode(`cat /sys/class/net/${blue.device}/ifindex`).trim();
    const green = bed.addPod();
    bed.onNode(`ip link del ${blue.device}; ip link del ${green.device}`);
    bed.join(blue);
    bed.join({ ...green, ifindex: Number(number) });
    expect(bed.onNode(`cat /sys/class/net/${green.device}/ifindex`).trim()).toBe(number);
    const greenCookie = await enroll(plane, green);
    expect(await offReason(plane, greenCookie)).toBeUndefined();
    bed.seen();
    expect(await open.ask(String(MEGABYTE))).toBe("same");
    expect(bed.seen().others).toBeGreaterThan(0);
    await plane.checkRedirects();
    expect(await open.ask(String(MEGABYTE))).toBe("same");
  });
});

describe("cleanup", () => {
  test("while the agent runs takes programs, maps and pins away, and connections go on", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue, redCookie, blueCookie } = pair;
    const open = await bed.talk(red, blue.ip);
    expect(await open.ask("1000")).toBe("same");
    const programs = [redCookie, blueCookie].map((cookie) => pinnedLink(pair as Pair, cookie).prog_id);
    await plane.cleanup(bed.pinDir);
    expect(existsSync(bed.pinDir)).toBe(false);
    expect([red, blue].flatMap((pod) => bed.tcxPrograms(pod.device))).toEqual([]);
    bed.seen();
    expect(await open.ask(String(MEGABYTE))).toBe("same");
    expect(bed.seen().others).toBeGreaterThan(0);
    await plane.kill();
    await eventually("the programs are gone", () => !programs.some(exists));
  });

  test("by removing the folder alone is enough when no agent runs", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue } = pair;
    const open = await bed.talk(red, blue.ip);
    expect(await open.ask("1000")).toBe("same");
    await plane.kill();
    execFileSync("rm", ["-rf", bed.pinDir]);
    await eventually("the programs are gone", () =>
      [red, blue].every((pod) => bed.tcxPrograms(pod.device).length === 0),
    );
    expect(await open.ask(String(MEGABYTE))).toBe("same");
    expect(bed.seen().others).toBeGreaterThan(0);
  });
});

describe("under a firewall that drops what its connection tracking does not know", () => {
  /** Rules of the kind that kube-proxy and CNIs with network policies have. */
  async function firewalledPair(): Promise<Pair> {
    const made = await enrolledPair("routed");
    const { bed, red, blue } = made;
    bed.onNode(`nft -f - <<EOF
table inet cni {
  chain forward {
    type filter hook forward priority 10; policy drop;
    ct state invalid drop
    ct state established,related accept
    ip saddr ${red.ip} ip daddr ${blue.ip} tcp dport ${PORT} ct state new accept
    ip6 nexthdr icmpv6 accept
    ip6 saddr ${red.ip6} ip6 daddr ${blue.ip6} tcp dport ${PORT} ct state new accept
  }
}
EOF`);
    return made;
  }

  test.each([
    ["cleanup", ({ bed, plane }: Pair) => plane.cleanup(bed.pinDir)],
    ["the release of the acceptor", ({ plane, blueCookie }: Pair) => plane.release(blueCookie)],
    ["the release of the initiator", ({ plane, redCookie }: Pair) => plane.release(redCookie)],
    [
      "somebody's shaper",
      ({ bed, plane, blue }: Pair) => {
        bed.onNode(`tc qdisc add dev ${blue.device} root tbf rate 1gbit burst 1mb latency 50ms`);
        return plane.checkRedirects();
      },
    ],
  ])("connections go on without delay after %s", async (_, end) => {
    pair = await firewalledPair();
    const { bed, red, blue } = pair;
    const open = [await bed.talk(red, blue.ip), await bed.talk(red, blue.ip6)];
    for (const connection of open) expect(await connection.ask(String(MEGABYTE))).toBe("same");
    await end(pair);
    for (const connection of open) expect(await connection.ask(`2 ${MEGABYTE}`)).toBe("same");
    expect(bed.seen().others).toBeGreaterThan(0);
  });

  test.each(["initiator", "acceptor"])(
    "a connection that its %s closes first ends at both ends at once",
    async (first) => {
      pair = await firewalledPair();
      const { bed, plane, red, blue, redCookie, blueCookie } = pair;
      const port = PORT + 1;
      await approve(plane, redCookie, blueCookie, blue, port);
      bed.onNode(`nft add rule inet cni forward ip saddr ${red.ip} tcp dport ${port} ct state new accept`);
      const closer = first === "initiator" ? "end_first" : "end_last";
      await bed.serve(
        blue,
        `in_background(${first === "initiator" ? "end_last" : "end_first"}_server, listener("::", ${port})); stay()`,
      );
      expect(await bed.app(red, `show(${closer}("${blue.ip}", ${port}))`)).toBe("ended");
      await eventually(
        "no end waits for the other",
        () =>
          [red, blue].every(
            (pod) => bed.inPod(pod, "ss -Htn state fin-wait-1 state fin-wait-2 state last-ack state closing") === "",
          ),
        3_000,
      );
      await eventually("the redirects are gone", () => bed.entries("weft_redirects") === 0);
      expect(bed.seen().others).toBe(0);
    },
  );
});

describe("redirects go with their connections", () => {
  test.each([
    ["a reset by the initiator", "reset_own"],
    ["a reset by the acceptor", "reset_other"],
    ["an end without a byte", "end_at_once"],
  ])("%s", async (_, how) => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue } = pair;
    expect(await bed.app(red, `show(${how}("${blue.ip}", ${PORT}))`)).toBe("ended");
    expect((await plane.counters()).redirected).toBe(1);
    await eventually("the redirects are gone", () => bed.entries("weft_redirects") === 0);
  });

  test("data with the SYN", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue, redCookie, blueCookie } = pair;
    const port = PORT + 1;
    await approve(plane, redCookie, blueCookie, blue, port);
    await bed.serve(blue, `fast_open_echo(${port})`);
    expect(await bed.app(red, `show(fast_open("${blue.ip}", ${port}))`)).toEqual(["same", "same"]);
    expect((await plane.counters()).redirected).toBe(2);
    await eventually("the redirects are gone", () => bed.entries("weft_redirects") === 0);
    // What the acceptor said before it heard from the initiator again.
    expect(bed.seen().others).toBeLessThan(3);
  });

  test("two pods that connect to each other at once", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue, redCookie, blueCookie } = pair;
    await approve(plane, redCookie, blueCookie, blue, 7002);
    await approve(plane, blueCookie, redCookie, red, 7001);
    const ends = [
      await bed.serve(red, `meet(7001, "${blue.ip}", 7002)`),
      await bed.serve(blue, `meet(7002, "${red.ip}", 7001)`),
    ];
    // Neither SYN arrives before both have been sent.
    const pods = [red, blue];
    for (const pod of pods) {
      bed.inPod(
        pod,
        `nft -f - <<EOF
table ip deaf {
  chain input {
    type filter hook input priority 0
    tcp flags & syn == syn drop
  }
}
EOF`,
      );
    }
    for (const end of ends) await end.ask("connect");
    for (const pod of pods) bed.inPod(pod, "nft delete table ip deaf");
    bed.seen();
    expect(await Promise.all(ends.map((end) => end.ask("go")))).toEqual(["100000 b''", "100000 b''"]);
    await eventually("the redirects are gone", () => bed.entries("weft_redirects") === 0);
    expect(bed.seen().others).toBeLessThan(3);
  });

  test("also when the acceptor never came about", async () => {
    pair = await enrolledPair("bridge");
    const { bed, plane, red, blue } = pair;
    bed.inPod(
      blue,
      `nft -f - <<EOF
table ip deaf {
  chain input {
    type filter hook input priority 0
    tcp flags & syn == 0 drop
  }
}
EOF`,
    );
    expect(await bed.app(red, `show(reset_unheard("${blue.ip}", ${PORT}))`)).toBe("ended");
    expect((await plane.counters()).redirected).toBe(1);
    await eventually("the redirects are gone", () => bed.entries("weft_redirects") === 0);
  });
});
