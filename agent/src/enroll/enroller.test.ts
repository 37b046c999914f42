import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Pod } from "#lib/kube/types.ts";
import { LogRoot } from "#lib/log.ts";
import { cookieOf, FakeBpf, FakeEngine } from "../../../test/helpers/fake-addon.ts";
import { workloadAddress } from "../../../test/helpers/mesh-fixtures.ts";
import { meshState, put } from "../../../test/helpers/mesh-state.ts";
import type { MeshState } from "../state/mesh-state.ts";
import type { Redirection } from "./annotator.ts";
import { Enroller } from "./enroller.ts";
import { LocalPods } from "./local-pods.ts";
import { Newcomers } from "./newcomers.ts";
import type { PodNetns } from "./pod-netns.ts";
import type { PodSource } from "./pod-watch.ts";

const MODE = "istio.io/dataplane-mode";
const log = new LogRoot({
  format: "plain",
  filter: "off",
  destination: { write: () => undefined, flushSync: () => undefined },
}).logger("enroll");

class FakeSource implements PodSource {
  readonly all = new Map<string, Pod>();
  pods() {
    return this.all.values();
  }
  pod(uid: string) {
    return this.all.get(uid);
  }
  namespaceLabels() {
    return { [MODE]: "ambient" };
  }
}

class FakeFolders {
  readonly seesAll = true;
  readonly all = new Map<string, string>();
  of(uid: string) {
    return this.all.get(uid);
  }
  uids() {
    return this.all.keys();
  }
  paths() {
    return [...this.all.values()];
  }
  rescan() {}
}

let calls: string[];
let engine: FakeEngine;
let bpf: FakeBpf;
let source: FakeSource;
let state: MeshState;
let annotations: Map<string, Redirection | undefined>;
/** uid to number of its namespace; a text says why there is none. */
let namespaces: Map<string, bigint | string>;
let folders: FakeFolders;
let enroller: Enroller;

beforeEach(() => {
  vi.useFakeTimers();
  calls = [];
  engine = new FakeEngine(calls);
  bpf = new FakeBpf(calls);
  source = new FakeSource();
  state = meshState();
  annotations = new Map();
  namespaces = new Map();
  folders = new FakeFolders();
  enroller = new Enroller({
    source,
    engine,
    bpf,
    pods: new LocalPods(state),
    hooks: {
      added: (pod) => calls.push(`added ${pod.uid}`),
      captured: (pod) => calls.push(`captured ${pod.uid}${pod.express ? " express" : ""}`),
      letGo: (pod, kept) => calls.push(`${kept ? "kept" : "let go"} ${pod.uid}`),
      removed: (pod) => calls.push(`removed ${pod.uid}`),
      rechecked: () => calls.push("rechecked"),
    },
    annotator: {
      set: (pod, value) => annotations.set(pod.metadata.uid ?? "", value),
      forget: (uid) => annotations.delete(uid),
      settled: async () => {
        calls.push("settled");
      },
    },
    podsCgroup: "/pods",
    folders,
    newcomers: new Newcomers({ plane: bpf, folders, log }),
    trustDomain: "cluster.local",
    excludedNamespaces: [],
    dns: true,
    log,
    netnsCookie: cookieOf,
    findNetns: ({ uid }) => {
      const found = namespaces.get(uid) ?? "no process yet";
      if (typeof found === "string") return found;
      return {
        inode: found,
        path: `/fake/${found}`,
        addresses: ["10.0.0.1"],
        [Symbol.dispose]: () => undefined,
      } as unknown as PodNetns;
    },
  });
});

afterEach(() => {
  enroller.stop();
  vi.useRealTimers();
});

function addPod(uid: string, namespace: bigint | string, labels: Record<string, string> = {}): void {
  namespaces.set(uid, namespace);
  source.all.set(uid, {
    metadata: { uid, name: uid, namespace: "default", labels },
    spec: { serviceAccountName: uid },
    status: { podIP: "10.0.0.1" },
  });
}

function annotate(uid: string, annotations: Record<string, string>): void {
  const pod = source.pod(uid);
  if (pod === undefined) throw new Error(`no pod ${uid}`);
  source.all.set(uid, { ...pod, metadata: { ...pod.metadata, annotations } });
  enroller.reconcile(uid);
}

test("in: listeners, then decisions, then capture, then the annotation; out: capture first", () => {
  addPod("a", 1n);
  enroller.start();
  expect(calls).toEqual(["addPod a", "added a", "capture 1", "captured a"]);
  expect(annotations.get("a")).toBe("enabled");
  calls.length = 0;
  addPod("a", 1n, { [MODE]: "none" });
  enroller.reconcile("a");
  expect(calls).toEqual(["release 1", "let go a", "removed a", "removePod a"]);
  expect(annotations.get("a")).toBeUndefined();
});

test("a pod that is deleted leaves at once", () => {
  addPod("a", 1n);
  enroller.start();
  calls.length = 0;
  source.all.delete("a");
  enroller.reconcile("a");
  expect(calls).toEqual(["release 1", "let go a", "removed a", "removePod a"]);
  expect(enroller.counts()).toEqual({ active: 0, pending: 0, started: 1, stopped: 1 });
});

test("when no agent follows, every pod leaves and no annotation stays", async () => {
  addPod("a", 1n);
  addPod("b", "no process yet");
  enroller.start();
  await vi.advanceTimersByTimeAsync(5000);
  expect([...annotations.values()]).toEqual(["enabled", "pending"]);
  calls.length = 0;
  await enroller.leaveForGood(new AbortController().signal);
  expect(calls).toEqual(["release 1", "let go a", "removed a", "removePod a", "settled"]);
  expect([...annotations.values()]).toEqual([undefined, undefined]);
});

describe("a pod that cannot be enrolled yet", () => {
  test("is tried again and says why; it is annotated when that lasts", async () => {
    addPod("a", "no process yet");
    enroller.start();
    expect(enroller.status()[0]).toMatchObject({ state: "Pending", reason: "no process yet" });
    expect(annotations.has("a")).toBe(false);
    await vi.advanceTimersByTimeAsync(5000);
    expect(annotations.get("a")).toBe("pending");
    namespaces.set("a", 1n);
    await vi.advanceTimersByTimeAsync(5000);
    expect(annotations.get("a")).toBe("enabled");
    expect(enroller.counts()).toMatchObject({ active: 1, pending: 0 });
  });

  test("because a listener's port is taken keeps nothing", () => {
    engine.failAddPod = "EADDRINUSE: port 15001";
    addPod("a", 1n);
    enroller.start();
    expect(enroller.status()[0]?.reason).toBe("listeners: EADDRINUSE: port 15001");
    expect(calls).toEqual([]);
  });

  test("because capture fails is taken back out", () => {
    bpf.failCapture = "map full";
    addPod("a", 1n);
    enroller.start();
    expect(enroller.status()[0]?.reason).toBe("capture: map full");
    expect(calls).toEqual(["addPod a", "added a", "removed a", "removePod a"]);
    expect(engine.pods.size).toBe(0);
  });

  test("because its namespace is another pod's is not given that pod's traffic", () => {
    addPod("a", 1n);
    addPod("thief", 1n);
    enroller.start();
    expect(enroller.status().find(({ uid }) => uid === "thief")?.reason).toContain("already belongs to pod default/a");
  });
});

describe("a pod that is being born", () => {
  function bear(uid: string, namespace: bigint | string, labels: Record<string, string> = {}): void {
    addPod(uid, namespace, labels);
    source.all.set(uid, { ...source.pod(uid), status: { phase: "Pending" } } as Pod);
    folders.all.set(uid, `/pods/${uid}`);
  }

  test("is held before anything is tried, and let go of when capture holds", async () => {
    enroller.start();
    bear("a", "no process yet");
    enroller.reconcile("a");
    expect(calls).toEqual(["held /pods/a"]);
    namespaces.set("a", 1n);
    enroller.folderChanged("a");
    await vi.advanceTimersByTimeAsync(0);
    expect(calls).toEqual(["held /pods/a", "addPod a", "added a", "capture 1", "inside /pods/a", "captured a"]);
    expect([...engine.pods.values()][0]?.addresses).toEqual(["10.0.0.1"]);
  });

  test("is held when the API was first, and its folder comes later", () => {
    enroller.start();
    bear("a", "no process yet");
    folders.all.clear();
    enroller.reconcile("a");
    expect(calls).toEqual([]);
    folders.all.set("a", "/pods/a");
    enroller.folderChanged("a");
    expect(calls).toEqual(["held /pods/a"]);
  });

  test("is looked at all the time from its first process on", async () => {
    enroller.start();
    bear("a", "no process yet");
    enroller.reconcile("a");
    await vi.advanceTimersByTimeAsync(60_000);
    enroller.folderChanged("a");
    namespaces.set("a", 1n);
    await vi.advanceTimersByTimeAsync(20);
    expect(enroller.counts()).toMatchObject({ active: 1 });
  });

  test("is held before those that came earlier are taken in", async () => {
    enroller.start();
    for (const [uid, namespace] of [
      ["a", 1n],
      ["b", 2n],
    ] as const) {
      bear(uid, namespace);
      enroller.reconcile(uid);
    }
    expect(calls).toEqual(["held /pods/a", "held /pods/b"]);
    await vi.advanceTimersByTimeAsync(10);
    expect(calls.filter((call) => call.startsWith("inside"))).toEqual(["inside /pods/a", "inside /pods/b"]);
  });

  test("outside the mesh is untouched, and so is one that the API never tells of", async () => {
    enroller.start();
    bear("a", "no process yet", { [MODE]: "none" });
    enroller.reconcile("a");
    folders.all.set("stranger", "/pods/stranger");
    enroller.folderChanged("stranger");
    expect(calls).toEqual(["outside /pods/a"]);
    await vi.advanceTimersByTimeAsync(2000);
    expect(calls).toEqual(["outside /pods/a", "outside /pods/stranger"]);
  });

  test("is said nothing of while its namespace is not known", () => {
    const labels = vi.spyOn(source, "namespaceLabels").mockReturnValue(undefined as never);
    enroller.start();
    bear("a", "no process yet");
    enroller.reconcile("a");
    expect(calls).toEqual([]);
    labels.mockRestore();
    enroller.namespaceChanged("default");
    expect(calls).toEqual(["held /pods/a"]);
  });

  test("keeps what it has when the API tells of some of its addresses", async () => {
    enroller.start();
    bear("a", 1n);
    enroller.reconcile("a");
    await vi.advanceTimersByTimeAsync(0);
    calls.length = 0;
    source.all.set("a", { ...source.pod("a"), status: { phase: "Running", podIP: "10.0.0.1" } } as Pod);
    enroller.reconcile("a");
    expect(calls).toEqual([]);
  });

  test("again, in a new sandbox, is held until that is captured", async () => {
    enroller.start();
    bear("a", 1n);
    enroller.reconcile("a");
    await vi.advanceTimersByTimeAsync(0);
    calls.length = 0;
    namespaces.set("a", 2n);
    enroller.folderChanged("a");
    await vi.advanceTimersByTimeAsync(0);
    expect(calls).toEqual([
      ...["release 1", "let go a", "removed a", "removePod a", "held /pods/a"],
      ...["addPod a", "added a", "capture 2", "inside /pods/a", "captured a"],
    ]);
  });
});

test("a pod that ran before it was labelled goes on in the clear until it is captured", () => {
  addPod("a", "no process yet");
  folders.all.set("a", "/pods/a");
  enroller.start();
  expect(calls).toEqual([]);
  namespaces.set("a", 1n);
  enroller.reconcile("a");
  expect(calls).toContain("inside /pods/a");
});

test("a draining agent takes nobody in, and still tells newborn pods apart", async () => {
  addPod("old", 1n);
  enroller.start();
  enroller.drain();
  calls.length = 0;
  for (const [uid, labels] of [
    ["born", {}],
    ["outside", { [MODE]: "none" }],
  ] as const) {
    addPod(uid, 2n, labels);
    source.all.set(uid, { ...source.pod(uid), status: { phase: "Pending" } } as Pod);
    folders.all.set(uid, `/pods/${uid}`);
    enroller.folderChanged(uid);
  }
  source.all.delete("old");
  enroller.reconcile("old");
  await vi.advanceTimersByTimeAsync(20_000);
  expect(calls).toEqual(["held /pods/born", "outside /pods/outside"]);
  expect([...bpf.held]).toEqual([1n]);
  enroller.stop();
  folders.all.set("later", "/pods/later");
  enroller.folderChanged("later");
  await vi.advanceTimersByTimeAsync(20_000);
  expect(calls).toHaveLength(2);
});

test("newcomers are guarded against while the agent runs, and no longer when none follows", async () => {
  enroller.start();
  expect(bpf.guardedForMs).toBe(10_000);
  await enroller.leaveForGood(new AbortController().signal);
  expect(bpf.guardedForMs).toBe(0);
});

describe("after a restart", () => {
  test("captures of living pods are adopted, others released", () => {
    bpf.held.add(1n).add(99n);
    addPod("a", 1n);
    enroller.start();
    expect([...bpf.held]).toEqual([1n]);
  });

  test("no capture is let go of while one of them may be a pending pod's", async () => {
    bpf.held.add(1n).add(99n);
    addPod("a", "no process yet");
    enroller.start();
    expect([...bpf.held]).toEqual([1n, 99n]);
    namespaces.set("a", 1n);
    await vi.advanceTimersByTimeAsync(20_000);
    expect([...bpf.held]).toEqual([1n]);
  });

  test("a pod that left the mesh meanwhile is released even so", () => {
    bpf.held.add(1n).add(2n);
    addPod("a", "no process yet");
    addPod("left", 2n, { [MODE]: "none" });
    enroller.start();
    expect([...bpf.held]).toEqual([1n]);
  });
});

describe("while it runs", () => {
  test("a capture that is gone is noticed and made again", async () => {
    addPod("a", 1n);
    enroller.start();
    bpf.held.clear();
    await vi.advanceTimersByTimeAsync(10_000);
    expect([...bpf.held]).toEqual([1n]);
    expect(enroller.counts()).toMatchObject({ active: 1, started: 2, stopped: 1 });
  });

  test("a pod with a new sandbox is captured in its new namespace", async () => {
    addPod("a", 1n);
    enroller.start();
    namespaces.set("a", 2n);
    await vi.advanceTimersByTimeAsync(10_000);
    expect([...bpf.held]).toEqual([2n]);
  });

  test("a trust domain that the mesh names changes the identity without a gap in capture", () => {
    addPod("a", 1n);
    enroller.start();
    calls.length = 0;
    put(state, workloadAddress({ name: "a", ips: ["10.0.0.1"], more: { trustDomain: "other.example" } }));
    state.commit();
    enroller.localsChanged();
    expect(calls).toEqual(["kept a", "removed a", "removePod a", "addPod a", "added a", "capture 1", "captured a"]);
    expect([...engine.pods.values()][0]?.identity).toBe("spiffe://other.example/ns/default/sa/a");
  });

  test("a pod that asks for express connections, or no longer, is captured again and stays enrolled", () => {
    addPod("a", 1n);
    enroller.start();
    calls.length = 0;
    annotate("a", { "weft.dev/express": "enabled" });
    expect(calls).toEqual(["capture 1 express", "captured a express"]);
    calls.length = 0;
    annotate("a", {});
    expect(calls).toEqual(["capture 1", "captured a"]);
    expect(enroller.counts()).toMatchObject({ active: 1, started: 1, stopped: 0 });
  });

  test("a pod that asks for express connections when it has a new namespace comes in anew", () => {
    addPod("a", 1n);
    enroller.start();
    calls.length = 0;
    namespaces.set("a", 2n);
    annotate("a", { "weft.dev/express": "enabled" });
    expect(calls).toContain("capture 2 express");
    expect(enroller.counts()).toMatchObject({ active: 1, started: 2, stopped: 1 });
  });

  test("a reconfiguration that fails keeps the capture, and the label taken off ends it", () => {
    addPod("a", 1n);
    enroller.start();
    engine.failAddPod = "no";
    source.all.set("a", { ...source.pod("a"), status: { podIP: "10.0.0.2" } } as Pod);
    enroller.reconcile("a");
    expect(enroller.counts()).toMatchObject({ active: 0, pending: 1 });
    expect([...bpf.held]).toEqual([1n]);
    addPod("a", 1n, { [MODE]: "none" });
    enroller.reconcile("a");
    expect([...bpf.held]).toEqual([]);
  });
});
