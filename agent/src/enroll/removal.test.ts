import { afterEach, beforeEach, expect, test } from "vitest";
import { KubeClient } from "#lib/kube/client.ts";
import { type KubeObject, PODS, type ResourceType } from "#lib/kube/types.ts";
import { LogRoot } from "#lib/log.ts";
import { FakeKube } from "../../../test/helpers/fake-kube.ts";
import { isRemoved } from "./removal.ts";

const DAEMON_SETS: ResourceType<KubeObject> = {
  group: "apps",
  version: "v1",
  kind: "DaemonSet",
  plural: "daemonsets",
  namespaced: true,
};
const log = new LogRoot({
  format: "plain",
  filter: "off",
  destination: { write: () => undefined, flushSync: () => undefined },
}).logger("test");

let kube: FakeKube;

beforeEach(async () => {
  kube = await FakeKube.start();
  const owner = { apiVersion: "apps/v1", kind: "DaemonSet", name: "weft-agent", uid: "d1" };
  kube.put(PODS, { metadata: { namespace: "istio-system", name: "a", ownerReferences: [owner] } });
});

afterEach(() => kube.stop());

function daemonSet(more: object): void {
  kube.put(DAEMON_SETS, { metadata: { namespace: "istio-system", name: "weft-agent", uid: "d1", ...more } });
}

function ask(podName = "a", client = kube.client()): Promise<boolean> {
  return isRemoved({ client, namespace: "istio-system", podName, log });
}

test("an agent whose DaemonSet stays is followed by another one", async () => {
  daemonSet({});
  expect(await ask()).toBe(false);
});

test("an agent whose DaemonSet is going, gone or another one is removed", async () => {
  expect(await ask()).toBe(true);
  daemonSet({ deletionTimestamp: "2026-11-01T00:00:00Z" });
  expect(await ask()).toBe(true);
  daemonSet({ uid: "d2" });
  expect(await ask()).toBe(true);
});

test("an API that refuses or does not answer, or an agent outside Kubernetes, removes nothing", async () => {
  kube.failures.push(403);
  expect(await ask()).toBe(false);
  expect(await ask("")).toBe(false);
  expect(await ask("unknown")).toBe(false);
  expect(await ask("a", new KubeClient({ server: "http://127.0.0.1:1" }))).toBe(false);
});
