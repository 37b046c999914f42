import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { BedPod } from "../helpers/pod-bed.ts";
import { DirectBed, VIP4, VIP6 } from "./direct-bed.ts";

const MINUTE_MS = 60_000;

let bed: DirectBed;
let stranger: BedPod;

beforeAll(async () => {
  bed = await DirectBed.create(78);
  stranger = bed.capture.pods.addPod("s");
  const serve = `in_background(serve_steps, listener("::", 80)); in_background(tell_client, listener("::", 81)); stay()`;
  await bed.capture.serve(stranger, serve);
  await bed.capture.serve(bed.server, serve);
});
beforeEach(async () => {
  await bed.agent.events();
});
afterAll(async () => {
  await bed?.dispose();
});

describe("plaintext out of an enrolled pod", () => {
  beforeAll(async () => {
    for (const [vip, ip] of [
      [VIP4, stranger.ip],
      [VIP6, stranger.ip6],
    ] as const) {
      for (const port of [80, 81])
        await bed.agent.setRoute(bed.clientId, vip, port, [{ ip, port, path: "plain", key: 6 }]);
    }
    await bed.agent.setRoute(bed.clientId, VIP4, 7, [{ ip: stranger.ip, port: 7, path: "plain", key: 6 }]);
  });

  test("goes to the agent, with the choice kept, until a living agent permits it", async () => {
    await bed.agent.chosen();
    expect(await bed.app(`show(dial("${VIP4}", 7).split()[0])`)).toBe(`orig=${VIP4}:7`);
    expect(await bed.agent.chosen()).toEqual(new Map([[6, 1]]));
  });

  test("leaves by itself then, and makes a record", async () => {
    await bed.agent.permitPlain(MINUTE_MS);
    const before = await bed.agent.count("plain_out");
    const code = `said = []
for ip in ("${VIP4}", "${VIP6}", "::ffff:${VIP4}"):
    s = stream(family_of(ip)); s.connect((ip, 80)); peer = at(s.getpeername())
    said.append({**talk(s, [["send", 2000], ["drain"]], [["send", 1000], ["receive", 2000], ["close"]]), "peer": peer})
show(said)`;
    const said = (await bed.app(code)) as { port: number; sent: number; received: number; peer: string }[];
    expect(await bed.agent.count("plain_out")).toBe(before + 3);
    const v4 = { asked: `${VIP4}:80`, destination: `${stranger.ip}:80` };
    const common = { path: "plain-out", sourcePod: bed.clientId, destinationPod: "0", endpoint: 6, reason: "none" };
    const counted = { ...common, requestBytes: said[0]?.sent, responseBytes: 2000, established: true };
    expect(await bed.ended(3)).toMatchObject([
      { ...counted, ...v4, source: `${bed.client.ip}:${said[0]?.port}` },
      { ...counted, asked: `[${VIP6}]:80`, destination: `[${stranger.ip6}]:80` },
      { ...counted, ...v4 },
    ]);
    expect(said.map(({ peer }) => peer)).toEqual([`${VIP4}:80`, `[${VIP6}]:80`, `[::ffff:${VIP4}]:80`]);
  });

  test("may be refused, which makes a record too", async () => {
    await bed.agent.permitPlain(MINUTE_MS);
    expect(await bed.app(`show(dial("${VIP4}", 7))`)).toBe("ECONNREFUSED");
    expect(await bed.ended(1)).toMatchObject([{ path: "plain-out", reason: "upstream_refused", established: false }]);
  });

  test("is listed while it is open", async () => {
    await bed.agent.permitPlain(MINUTE_MS);
    const client = await bed.capture.serve(
      bed.client,
      `s = stream(V4); s.connect(("${VIP4}", 80)); print("ready", flush=True); sys.stdin.readline(); s.close(); print("bye", flush=True)`,
    );
    expect(await bed.agent.openConnections()).toMatchObject([{ path: "plain-out", asked: `${VIP4}:80` }]);
    await client.ask("close");
    await bed.ended(1);
  });

  test("goes to the agent again when nobody has renewed the permission", async () => {
    await bed.agent.permitPlain(1);
    const captured = async () => (await bed.app(`show(dial("${VIP4}", 7).split()[0])`)) === `orig=${VIP4}:7`;
    await eventually("the permission has run out", captured);
  });
});

describe("plaintext into a pod without policies", () => {
  beforeEach(() => bed.agent.permitPlain(MINUTE_MS));

  const dialled = (ip: string, port = 81) =>
    bed.capture.outside(`s = stream(family_of("${ip}")); s.connect(("${ip}", ${port}))
show({**json.loads(line(s)), "own": at(s.getsockname())})`) as Promise<{ accept: string; own: string }>;

  test("goes to the agent when no living agent has permitted it", async () => {
    await bed.agent.setOpen(bed.serverId, true);
    await bed.agent.permitPlain(0);
    const before = [await bed.agent.count("plain_in"), await bed.agent.count("captured_inbound")];
    await bed.capture.outside(`s = stream(V4); s.connect(("${bed.server.ip}", 81)); show(line(s) != "")`);
    const after = [await bed.agent.count("plain_in"), await bed.agent.count("captured_inbound")];
    expect(after).toEqual([before[0], (before[1] ?? 0) + 1]);
  });

  test("reaches the application by itself, which sees the real client, and makes a record", async () => {
    await bed.agent.setOpen(bed.serverId, true);
    const before = [await bed.agent.count("plain_in"), await bed.agent.count("captured_inbound")];
    const code = `said = []
for ip in ("${bed.server.ip}", "${bed.server.ip6}"):
    s = stream(family_of(ip)); s.connect((ip, 80))
    said.append({**talk(s, [["receive", 1000], ["send", 2000], ["drain"]], [["send", 1000], ["receive", 2000], ["close"]]), "own": at(s.getsockname()) if s.fileno() >= 0 else None})
show(said)`;
    const said = (await bed.capture.outside(code)) as { port: number; sent: number }[];
    expect([await bed.agent.count("plain_in"), await bed.agent.count("captured_inbound")]).toEqual([
      (before[0] ?? 0) + 2,
      before[1],
    ]);
    const common = {
      path: "plain-in",
      sourcePod: "0",
      destinationPod: bed.serverId,
      established: true,
      reason: "none",
    };
    const { hostIp, hostIp6 } = bed.capture.pods;
    expect(await bed.ended(2)).toMatchObject([
      {
        ...common,
        source: `${hostIp}:${said[0]?.port}`,
        asked: `${bed.server.ip}:80`,
        destination: `${bed.server.ip}:80`,
        requestBytes: said[0]?.sent,
        responseBytes: 2000,
      },
      { ...common, source: `[${hostIp6}]:${said[1]?.port}`, requestBytes: said[1]?.sent, responseBytes: 2000 },
    ]);
  });

  test("is not what a probe, a tunnel, the agent's own dial or the pod itself is", async () => {
    await bed.agent.setOpen(bed.serverId, true);
    await bed.capture.kubelet(`show(dial("${bed.server.ip}", 81))`);
    expect(await bed.capture.outside(`show(dial("${bed.server.ip}", 15008))`)).toBe("hbone");
    await bed.capture.app(
      bed.server,
      `show([dial(ip, 81) for ip in ("${bed.server.ip}", "127.0.0.1", "${bed.server.ip6}")])`,
    );
    // The agent dials what it has captured: here, the client's own port 81.
    await bed.capture.app(bed.server, `show(dial("10.99.9.9", 7))`);
    await bed.agent.setOpen(bed.serverId, false);
    const { accept, own } = await dialled(bed.server.ip);
    expect(accept).toBe(`[::ffff:${own.replace(":", "]:")}`);
    expect(await bed.agent.events()).toEqual([]);
    expect(await bed.agent.openConnections()).toEqual([]);
  });

  test("that another enrolled pod's agent sends is plaintext from outside", async () => {
    await bed.agent.setOpen(bed.serverId, true);
    expect(await bed.app(`show("accept" in dial("${bed.server.ip}", 81))`)).toBe(true);
    expect(await bed.ended(1)).toMatchObject([{ path: "plain-in", destinationPod: bed.serverId }]);
  });

  test("goes to the agent when the pod has a policy again", async () => {
    await bed.agent.setOpen(bed.serverId, false);
    const before = await bed.agent.count("captured_inbound");
    await dialled(bed.server.ip);
    expect(await bed.agent.count("captured_inbound")).toBe(before + 1);
  });

  test("is told to the agent when the pod got a policy during the handshake", async () => {
    const nft = (text: string) => execFileSync("ip", ["netns", "exec", bed.server.netns, "/usr/sbin/nft", text]);
    await bed.agent.setOpen(bed.serverId, true);
    // The SYN comes through, the handshake's last segment does not.
    nft(`table inet lost {
  chain in {
    type filter hook input priority 0
    tcp dport 80 tcp flags & syn == 0 drop
  }
}`);
    const code = `s = stream(V4); s.connect(("${bed.server.ip}", 80)); show(talk(s, [["drain"]], [["finish"], ["drain"], ["close"]]))`;
    const talking = bed.capture.outside(code);
    const connected = ["-Htn", "state", "fin-wait-1", "dst", `${bed.server.ip}:80`];
    await eventually(
      "the client believes that it is connected, and has finished",
      () => execFileSync("ss", connected).length > 0,
    );
    expect(await bed.agent.events()).toEqual([]);
    await bed.agent.setOpen(bed.serverId, false);
    nft("delete table inet lost");
    await talking;
    expect(await bed.ended(2)).toMatchObject([
      { kind: "open", path: "plain-in", destinationPod: bed.serverId, established: true },
      { kind: "closed", path: "plain-in", destinationPod: bed.serverId },
    ]);
  });
});
