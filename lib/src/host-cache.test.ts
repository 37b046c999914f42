import { expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { HostCache } from "./host-cache.ts";

test("an answer comes from memory, is fetched again when it expires, and a failure keeps the last good one", async () => {
  let now = 0;
  let answer: string[] | undefined = ["192.0.2.2", "192.0.2.1"];
  const changes: string[] = [];
  const cache = new HostCache({
    now: () => now,
    onChange: (hostname) => changes.push(hostname),
    resolve: async () => {
      if (answer === undefined) throw new Error("SERVFAIL");
      return { ips: [...answer], ttlSeconds: 30 };
    },
  });
  expect(cache.lookUp("a.example")).toBeUndefined();
  await eventually("an answer", () => changes.length === 1);
  expect(cache.lookUp("a.example")).toEqual(["192.0.2.1", "192.0.2.2"]);
  answer = ["192.0.2.3"];
  now = 29_000;
  expect(cache.lookUp("a.example")).toHaveLength(2);
  now = 31_000;
  cache.refresh(() => true);
  await eventually("the new answer", () => changes.length === 2);
  expect(cache.lookUp("a.example")).toEqual(["192.0.2.3"]);
  answer = undefined;
  now = 70_000;
  cache.refresh(() => true);
  expect(cache.lookUp("a.example")).toEqual(["192.0.2.3"]);
  cache.refresh(() => false);
  expect(cache.lookUp("a.example")).toBeUndefined();
});

test("a name that cannot be looked up has no address, and that is an answer", async () => {
  const changes: string[] = [];
  const cache = new HostCache({
    onChange: (hostname) => changes.push(hostname),
    resolve: () => Promise.reject(new Error("NXDOMAIN")),
  });
  cache.lookUp("a.example");
  await eventually("an answer", () => changes.length === 1);
  expect(cache.lookUp("a.example")).toEqual([]);
});
