import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KubeError } from "#lib/kube/errors.ts";
import { CONFIG_MAPS, type ConfigMap, type WatchEvent } from "#lib/kube/types.ts";
import { Bed } from "./bed.ts";

const NAMESPACE = "default";

/** The history is tiny, so that a few writes make it forget. */
describe("watches of the playground's API", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.start("t-watch", { nodes: 1, historySize: 40, bookmarkMs: 200 });
  });
  afterAll(() => bed?.stop());

  const create = (name: string, labels: Record<string, string> = {}) =>
    bed.client.create(CONFIG_MAPS, { metadata: { name, namespace: NAMESPACE, labels } });
  const version = async () => (await bed.client.list(CONFIG_MAPS, { namespace: NAMESPACE })).metadata.resourceVersion;

  /** Events until `enough`, or until the server ends the watch. */
  async function collect(
    resourceVersion: string,
    enough: (events: readonly WatchEvent<ConfigMap>[]) => boolean,
    options: { labelSelector?: string; timeoutSeconds?: number } = {},
  ): Promise<WatchEvent<ConfigMap>[]> {
    const events: WatchEvent<ConfigMap>[] = [];
    const watch = bed.client.watch(CONFIG_MAPS, {
      namespace: NAMESPACE,
      resourceVersion,
      timeoutSeconds: 10,
      ...options,
    });
    for await (const event of watch) {
      events.push(event);
      if (enough(events)) break;
    }
    return events;
  }

  const changes = (events: readonly WatchEvent<ConfigMap>[]) => events.filter((event) => event.type !== "BOOKMARK");

  it("delivers every change after the given version, in order", async () => {
    const from = await version();
    await create("one");
    await bed.client.patch(CONFIG_MAPS, { namespace: NAMESPACE, name: "one" }, "merge", { data: { a: "1" } });
    await bed.client.delete(CONFIG_MAPS, { namespace: NAMESPACE, name: "one" });
    const events = changes(await collect(from, (seen) => changes(seen).length === 3));
    expect(events.map((event) => event.type)).toEqual(["ADDED", "MODIFIED", "DELETED"]);
    const versions = events.map((event) => Number(event.object.metadata.resourceVersion));
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
  });

  it("begins with what there is when no version is given", async () => {
    await create("present");
    const events = await collect("0", (seen) =>
      seen.some((event) => (event.object as ConfigMap).metadata.name === "present"),
    );
    expect(events.every((event) => event.type === "ADDED" || event.type === "BOOKMARK")).toBe(true);
  });

  it("shows objects that come into a selector's view as added, and those that leave it as deleted", async () => {
    const from = await version();
    await create("moving");
    const patch = (labels: Record<string, string | null>) =>
      bed.client.patch(CONFIG_MAPS, { namespace: NAMESPACE, name: "moving" }, "merge", { metadata: { labels } });
    await patch({ seen: "yes" });
    await patch({ seen: null });
    const events = changes(await collect(from, (seen) => changes(seen).length === 2, { labelSelector: "seen=yes" }));
    expect(events.map((event) => event.type)).toEqual(["ADDED", "DELETED"]);
  });

  it("sends bookmarks whose version a later watch can resume from", async () => {
    const from = await version();
    const isNew = (event: WatchEvent<ConfigMap>) => event.type === "BOOKMARK";
    // Changes of other kinds move the version on, too.
    await bed.kubectl("create", "secret", "generic", "unrelated");
    const bookmark = (await collect(from, (seen) => seen.some(isNew))).find(isNew);
    const resumed = bookmark?.object.metadata.resourceVersion ?? "";
    expect(Number(resumed)).toBeGreaterThan(Number(from));
    await create("after-bookmark");
    const events = changes(await collect(resumed, (seen) => changes(seen).length === 1));
    expect(events[0]?.object.metadata).toMatchObject({ name: "after-bookmark" });
  });

  it("ends after the asked time", async () => {
    const begun = performance.now();
    await collect(await version(), () => false, { timeoutSeconds: 1 });
    expect(performance.now() - begun).toBeGreaterThan(900);
    expect(performance.now() - begun).toBeLessThan(3000);
  });

  it("answers 410 for a version that is forgotten, and for one that never was", async () => {
    const from = await version();
    for (let i = 0; i < 90; i++) await create(`many-${i}`);
    const tooOld = collect(from, () => false);
    await expect(tooOld).rejects.toMatchObject({ status: 410 });
    await expect(collect("999999999", () => false)).rejects.toThrow(KubeError);
  });

  it("answers 410 for the next page of a list that began too long ago", async () => {
    const page = async (query: string) =>
      JSON.parse(await bed.kubectl("get", "--raw", `/api/v1/namespaces/default/configmaps?${query}`));
    const first = await page("limit=5");
    expect(first.items).toHaveLength(5);
    const second = await page(`limit=5&continue=${first.metadata.continue}`);
    expect(second.items[0].metadata.name > first.items[4].metadata.name).toBe(true);
    for (let i = 0; i < 90; i++) await create(`more-${i}`);
    const late = await bed.try(
      "get",
      "--raw",
      `/api/v1/namespaces/default/configmaps?limit=5&continue=${second.metadata.continue}`,
    );
    expect(late.stderr).toContain("too old");
  });
});
