import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { FakeKube } from "../../../test/helpers/fake-kube.ts";
import { TcpSwitch } from "../../../test/helpers/tcp-switch.ts";
import { KubeClient } from "./client.ts";
import { KubeError } from "./errors.ts";
import { Reflector } from "./reflector.ts";
import { AUTHORIZATION_POLICIES, type KubeObject, PODS, type ResourceType } from "./types.ts";

describe("Reflector", () => {
  let kube: FakeKube;
  let client: KubeClient;
  let stop: AbortController;
  let running: Promise<void>[];
  beforeEach(async () => {
    kube = await FakeKube.start();
    client = kube.client();
    stop = new AbortController();
    running = [];
  });
  afterEach(async () => {
    stop.abort();
    await Promise.all(running);
    client.close();
    await kube.stop();
  });

  function reflect(
    type: ResourceType<KubeObject> = PODS as ResourceType<KubeObject>,
    namespace?: string,
    through = client,
  ) {
    const names = new Set<string>();
    const calls: string[] = [];
    const errors: unknown[] = [];
    const reflector = new Reflector(through, {
      type,
      ...(namespace === undefined ? {} : { namespace }),
      optional: type.group !== "",
      backoffMs: [1, 20],
      onError: (error) => errors.push(error),
      handler: {
        replace(objects) {
          calls.push("replace");
          names.clear();
          for (const object of objects) names.add(object.metadata.name);
        },
        upsert(object) {
          calls.push(`upsert ${object.metadata.name}`);
          names.add(object.metadata.name);
        },
        remove(object) {
          calls.push(`remove ${object.metadata.name}`);
          names.delete(object.metadata.name);
        },
      },
    });
    running.push(reflector.run(stop.signal));
    return { reflector, names, calls, errors };
  }

  const pod = (name: string, namespace = "a") => ({ metadata: { namespace, name } });

  it("lists, then follows changes", async () => {
    kube.put(PODS, pod("one"));
    const { reflector, names, calls } = reflect();
    await reflector.synced;
    expect([...names]).toEqual(["one"]);
    await eventually("a watch", () => kube.watches === 1);
    kube.put(PODS, pod("two"));
    kube.remove(PODS, "a", "one");
    await eventually("both changes", () => names.has("two") && !names.has("one"));
    expect(calls).toEqual(["replace", "upsert two", "remove one"]);
  });

  it("goes on from the last version when a watch ends, without missing or repeating a change", async () => {
    const { reflector, names, calls } = reflect();
    await reflector.synced;
    kube.put(PODS, pod("one"));
    await eventually("one", () => names.has("one"));
    kube.endWatches();
    kube.put(PODS, pod("two"));
    await eventually("two", () => names.has("two"));
    expect(calls).toEqual(["replace", "upsert one", "upsert two"]);
  });

  it("starts the next watch at a bookmark", async () => {
    const { reflector } = reflect();
    await reflector.synced;
    await eventually("a watch", () => kube.watches === 1);
    kube.bookmark();
    kube.endWatches();
    await eventually("a second watch", () => kube.requests.filter((r) => r.includes("watch=true")).length === 2);
    expect(kube.requests.at(-1)).toContain("resourceVersion=101");
  });

  it("lists again when its version is too old", async () => {
    kube.put(PODS, pod("one"));
    const { reflector, names, calls } = reflect();
    await reflector.synced;
    await eventually("a watch", () => kube.watches === 1);
    kube.endWatches(true);
    kube.remove(PODS, "a", "one");
    await eventually("the removal", () => names.size === 0);
    expect(calls.filter((call) => call === "replace")).toHaveLength(2);
  });

  it("survives refusals and tells of them", async () => {
    kube.failures.push(500, 403);
    const { reflector, errors } = reflect();
    await reflector.synced;
    expect(errors).toMatchObject([{ status: 500 }, { status: 403 }]);
  });

  it("takes an unknown optional kind as empty and notices when it is installed", async () => {
    kube.uninstall(AUTHORIZATION_POLICIES);
    const { reflector, names, errors } = reflect(AUTHORIZATION_POLICIES as ResourceType<KubeObject>);
    await reflector.synced;
    expect(errors).toEqual([]);
    kube.install(AUTHORIZATION_POLICIES);
    kube.put(AUTHORIZATION_POLICIES, pod("policy"));
    await eventually("the policy", () => names.has("policy"));
  });

  it("sees only its namespace", async () => {
    const { reflector, names } = reflect(undefined, "a");
    await reflector.synced;
    kube.put(PODS, pod("other", "b"));
    kube.put(PODS, pod("own", "a"));
    await eventually("own", () => names.has("own"));
    expect([...names]).toEqual(["own"]);
  });

  it("leaves a server that hangs, whether it answers a list no more or a watch, and goes on when it is back", async () => {
    const way = await TcpSwitch.start(Number(new URL(kube.url).port));
    const hasty = new KubeClient({ server: `http://127.0.0.1:${way.port}` }, { answerMs: 300, silenceMs: 300 });
    try {
      way.hold();
      const { reflector, names, errors } = reflect(undefined, undefined, hasty);
      await eventually("a list given up", () => errors.length > 0);
      way.release();
      await reflector.synced;
      await eventually("a watch", () => kube.watches > 0);
      way.hold();
      const before = errors.length;
      kube.put(PODS, pod("missed"));
      // The first is the watch that was open, the next one is its successor's start.
      await eventually("a watch given up, and another", () => errors.length > before + 1);
      expect(names.size).toBe(0);
      way.release();
      await eventually("what was missed", () => names.has("missed"));
      expect(errors.every((error) => error instanceof KubeError && error.status === 0)).toBe(true);
    } finally {
      stop.abort();
      hasty.close();
      await way.stop();
    }
  });
});
