import { describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { WorkQueue } from "./work-queue.ts";

describe("WorkQueue", () => {
  it("works each key off once however often it was added, and again when it was added meanwhile", async () => {
    const stop = new AbortController();
    const done: string[] = [];
    const gate = Promise.withResolvers<void>();
    const queue = new WorkQueue({
      work: async (key) => {
        await gate.promise;
        done.push(key);
      },
      concurrency: 2,
      onError: () => {},
    });
    queue.add("a");
    queue.add("a");
    const running = queue.run(stop.signal);
    queue.add("a");
    queue.add("b");
    queue.add("c");
    gate.resolve();
    await eventually("all", () => done.length === 4);
    expect(done.sort()).toEqual(["a", "a", "b", "c"]);
    stop.abort();
    await running;
  });

  it("never runs a key twice at a time, nor more keys than allowed", async () => {
    const stop = new AbortController();
    const busy = new Set<string>();
    let most = 0;
    let count = 0;
    const queue = new WorkQueue({
      work: async (key) => {
        expect(busy.has(key)).toBe(false);
        busy.add(key);
        most = Math.max(most, busy.size);
        await new Promise((resolve) => setImmediate(resolve));
        busy.delete(key);
        count++;
      },
      concurrency: 3,
      onError: (_, error) => expect.fail(String(error)),
    });
    const running = queue.run(stop.signal);
    for (let i = 0; i < 50; i++) queue.add(`k${i % 10}`);
    await eventually("all", () => count >= 10 && busy.size === 0);
    expect(most).toBeLessThanOrEqual(3);
    stop.abort();
    await running;
  });

  it("tries a key again after an error, while others go on", async () => {
    const stop = new AbortController();
    const done: string[] = [];
    let failures = 2;
    const queue = new WorkQueue({
      work: async (key) => {
        if (key === "bad" && failures-- > 0) throw new Error("not yet");
        done.push(key);
      },
      concurrency: 1,
      onError: () => {},
      backoffMs: [1, 2],
    });
    queue.add("bad");
    queue.add("good");
    const running = queue.run(stop.signal);
    await eventually("both", () => done.length === 2);
    expect(done).toEqual(["good", "bad"]);
    stop.abort();
    await running;
  });
});
