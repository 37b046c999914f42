import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { LogRoot } from "#lib/log.ts";
import { AdsClient } from "#lib/xds/ads-client.ts";
import { openChannel, requestMetadata } from "#lib/xds/channel.ts";
import type { PeerConfig } from "#lib/xds/peer.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import { NodeSchema } from "#proto/discovery_pb.ts";
import { FakeControl } from "../../../test/helpers/fake-control.ts";
import { authorization, serviceAddress, uidOf, workloadAddress } from "../../../test/helpers/mesh-fixtures.ts";
import { TestCa } from "../../../test/helpers/pki.ts";
import { MeshState } from "../state/mesh-state.ts";
import { meshHandlers } from "./mesh-handlers.ts";

const lines: string[] = [];
const log = new LogRoot({
  format: "plain",
  filter: "debug",
  destination: { write: (line) => lines.push(line), flushSync: () => undefined },
});

let ca: TestCa;
let control: FakeControl;
let state: MeshState;
let client: AdsClient;
let stop: AbortController;
let synced: string[];
let done: Promise<void>;

function start(change: Partial<PeerConfig> = {}): void {
  const peer: PeerConfig = {
    address: control.address,
    root: { kind: "pem", pem: ca.root },
    headers: { "X-Extra": "1" },
    ...change,
  };
  client = new AdsClient({
    types: meshHandlers(state),
    node: create(NodeSchema, { id: "ztunnel~1.1.1.1~a.b~b.svc.cluster.local", metadata: { NODE_NAME: "node-1" } }),
    open: async () => ({
      metadata: await requestMetadata({ kind: "static", token: "secret" }, "c1", peer),
      client: await openChannel(peer),
    }),
    log: log.logger("xds"),
    onSynced: (type) => {
      synced.push(type);
      state.markSynced(type);
    },
  });
  done = client.run(stop.signal);
}

beforeEach(async () => {
  ca = await TestCa.create();
  control = await FakeControl.start(ca);
  state = new MeshState({ nodeName: "node-1", clusterId: "Kubernetes" });
  stop = new AbortController();
  synced = [];
  lines.length = 0;
});

afterEach(async () => {
  stop.abort();
  await done;
  control.stop();
});

describe("subscription", () => {
  test("asks for both types with node and credentials, and is synced by empty answers", async () => {
    start();
    await eventually("synced", () => state.synced);
    expect(synced).toEqual([ADDRESS_TYPE, AUTHORIZATION_TYPE]);
    const [first, second] = control.requests;
    expect([first?.typeUrl, second?.typeUrl]).toEqual([ADDRESS_TYPE, AUTHORIZATION_TYPE]);
    expect(first?.node?.metadata).toEqual({ NODE_NAME: "node-1" });
    expect(first?.resourceNamesSubscribe).toEqual([]);
    expect(control.metadata[0]?.get("authorization")).toEqual(["Bearer secret"]);
    expect(control.metadata[0]?.get("clusterid")).toEqual(["c1"]);
    expect(control.metadata[0]?.get("x-extra")).toEqual(["1"]);
  });

  test("acknowledges with the nonce and nothing else", async () => {
    control.setAddress(uidOf("a"), workloadAddress({ name: "a", ips: ["10.0.0.1"] }));
    start();
    const ack = await eventually("ack", () => control.requests.find(({ responseNonce }) => responseNonce !== ""));
    expect(ack.errorDetail).toBeUndefined();
    expect(ack.node).toBeUndefined();
    expect(state.workloads.byAddress("/10.0.0.1")?.name).toBe("a");
  });
});

test("a first answer counts as everything, but not before all of it is applied, however large it is", async () => {
  const padding = "x".repeat(4_000);
  for (let i = 0; i < 2_000; i++) {
    control.setAddress(uidOf(`a${i}`), workloadAddress({ name: `a${i}`, more: { workloadName: padding } }));
  }
  let known = 0;
  state.onChange(() => {
    known = state.workloads.size;
  });
  start();
  await eventually("a part of it", () => state.workloads.size > 0);
  await eventually("synced, or everything", () => {
    if (state.workloads.size < 2_000) expect(state.synced).toBe(false);
    return state.synced;
  });
  expect(known).toBe(2_000);
});

describe("changes", () => {
  test("applies additions, changes and removals", async () => {
    start();
    await eventually("synced", () => state.synced);
    control.setAddress(uidOf("a"), workloadAddress({ name: "a", ips: ["10.0.0.1"] }));
    control.setAddress("default/s.default.svc.cluster.local", serviceAddress({ name: "s", vips: ["10.1.0.1"] }));
    control.setAuthorization(authorization({ namespace: "default", name: "p" }));
    await eventually("all three", () => state.workloads.size + state.services.size + state.policies.size === 3);
    control.setAddress(uidOf("a"), workloadAddress({ name: "a", ips: ["10.0.0.2"] }));
    await eventually("moved", () => state.workloads.byAddress("/10.0.0.2"));
    expect(state.workloads.byAddress("/10.0.0.1")).toBeUndefined();
    control.remove(ADDRESS_TYPE, uidOf("a"));
    control.remove(ADDRESS_TYPE, "default/s.default.svc.cluster.local");
    control.remove(AUTHORIZATION_TYPE, "default/p");
    await eventually("none", () => state.workloads.size + state.services.size + state.policies.size === 0);
  });

  test("rejects a bad resource by name, applies the good ones and keeps its last good version", async () => {
    control.setAddress(uidOf("bad"), workloadAddress({ name: "bad", ips: ["10.0.0.9"] }), "1");
    start();
    await eventually("the good version", () => state.workloads.byAddress("/10.0.0.9"));
    control.hold();
    const wrong = workloadAddress({ name: "bad", more: { addresses: [new Uint8Array(3)] } });
    control.setAddress(uidOf("bad"), wrong, "2");
    control.setAddress(uidOf("good"), workloadAddress({ name: "good", ips: ["10.0.0.8"] }));
    control.resume();
    const nack = await eventually("nack", () => control.requests.find(({ errorDetail }) => errorDetail !== undefined));
    expect(nack.errorDetail?.message).toBe(`${uidOf("bad")}: addresses[0]: an IP address has 4 or 16 bytes, not 3`);
    expect(state.workloads.byAddress("/10.0.0.8")?.name).toBe("good");
    expect(state.workloads.byAddress("/10.0.0.9")?.name).toBe("bad");
    expect(state.synced).toBe(true);
  });

  test("bytes that are no message are rejected, and the stream goes on", async () => {
    start();
    await eventually("synced", () => state.synced);
    control.setRaw(ADDRESS_TYPE, "x", Uint8Array.of(0x0a, 0xff));
    await eventually("nack", () => control.requests.find(({ errorDetail }) => errorDetail !== undefined));
    control.setAddress(uidOf("a"), workloadAddress({ name: "a", ips: ["10.0.0.1"] }));
    await eventually("applied", () => state.workloads.size === 1);
    expect(control.streams).toBe(1);
  });
});

describe("reconnection", () => {
  test("retains versions: gets what changed and forgets what went away meanwhile", async () => {
    control.setAddress(uidOf("a"), workloadAddress({ name: "a", ips: ["10.0.0.1"] }), "a1");
    control.setAddress(uidOf("b"), workloadAddress({ name: "b", ips: ["10.0.0.2"] }), "b1");
    start();
    await eventually("both", () => state.workloads.size === 2);
    control.stop();
    control.remove(ADDRESS_TYPE, uidOf("a"));
    control.setAddress(uidOf("c"), workloadAddress({ name: "c", ips: ["10.0.0.3"] }), "c1");
    expect(state.workloads.size).toBe(2);
    control.requests.length = 0;
    await control.listen();
    await eventually("the change", () => state.workloads.get(uidOf("c")), 15_000);
    expect(control.requests[0]?.initialResourceVersions).toEqual({ [uidOf("a")]: "a1", [uidOf("b")]: "b1" });
    expect([...state.workloads.values()].map(({ name }) => name).sort()).toEqual(["b", "c"]);
  });

  test("a server of another root is not spoken to", async () => {
    const other = await TestCa.create("other");
    start({ root: { kind: "pem", pem: other.root } });
    await eventually("refusal", () => lines.find((line) => line.includes("xds stream failed")), 10_000);
    expect(control.requests).toEqual([]);
  });

  test("a server whose certificate has another name is not spoken to, unless that name is the alternative", async () => {
    start({ address: `https://127.0.0.1:${control.port}` });
    await eventually("refusal", () => lines.find((line) => line.includes("xds stream failed")), 10_000);
    expect(control.requests).toEqual([]);
    stop.abort();
    await done;
    stop = new AbortController();
    start({ address: `https://127.0.0.1:${control.port}`, alternativeHost: "localhost" });
    await eventually("synced", () => state.synced);
  });
});
