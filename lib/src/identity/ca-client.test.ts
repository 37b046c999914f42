import { X509Certificate } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openChannel, requestMetadata } from "#lib/xds/channel.ts";
import type { PeerConfig } from "#lib/xds/peer.ts";
import { FakeControl } from "../../../test/helpers/fake-control.ts";
import { TestCa } from "../../../test/helpers/pki.ts";
import { CaClient } from "./ca-client.ts";
import { renewAtMs, splitPem } from "./svid.ts";

const IDENTITY = "spiffe://cluster.local/ns/default/sa/a";

let control: FakeControl;
let client: CaClient;

function connect(ca: TestCa): void {
  const peer: PeerConfig = { address: control.address, root: { kind: "pem", pem: ca.root }, headers: {} };
  client = new CaClient({
    open: () => openChannel(peer),
    metadata: () => requestMetadata({ kind: "static", token: "t" }, "c1", peer),
    ttlMs: 3_600_000,
    impersonate: true,
  });
}

beforeEach(async () => {
  const ca = await TestCa.create();
  control = await FakeControl.start(ca);
  connect(ca);
});

afterEach(() => {
  client.close();
  control.stop();
});

test("a certificate is asked for on behalf of the workload, and checked", async () => {
  const svid = await client.issue(IDENTITY);
  expect(control.certificates).toEqual([IDENTITY]);
  expect(control.metadata.at(-1)?.get("authorization")).toEqual(["Bearer t"]);
  expect(new X509Certificate(svid.chain).subjectAltName).toBe(`URI:${IDENTITY}`);
  expect(splitPem(svid.roots)).toHaveLength(1);
  expect(svid.key).toContain("BEGIN PRIVATE KEY");
  expect(renewAtMs(svid)).toBe((svid.notBeforeMs + svid.notAfterMs) / 2);
});

test("intermediates stay in the chain", async () => {
  const root = await TestCa.create();
  control.stop();
  control = await FakeControl.start(await root.intermediate());
  connect(root);
  const svid = await client.issue(IDENTITY);
  expect(splitPem(svid.chain)).toHaveLength(2);
  expect(svid.roots.trim()).toBe(root.root.trim());
});

test("another identity than asked for is not accepted", async () => {
  control.issueOptions = { uris: ["spiffe://cluster.local/ns/default/sa/b"] };
  await expect(client.issue(IDENTITY)).rejects.toThrow("sent a certificate for spiffe://cluster.local/ns/default/sa/b");
});

test("a refusal is told as it is, and the next request is a fresh one", async () => {
  control.refuse = "not on this node";
  await expect(client.issue(IDENTITY)).rejects.toThrow("not on this node");
  control.refuse = undefined;
  await client.issue(IDENTITY);
});

test("an authority that was away is found again", async () => {
  control.stop();
  await expect(client.issue(IDENTITY)).rejects.toThrow();
  await control.listen();
  await client.issue(IDENTITY);
});
