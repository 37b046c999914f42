import { expect, test } from "vitest";
import { Drain, terminationDeadlineMs } from "./drain.ts";
import { Readiness } from "./readiness.ts";

test("ready when every named task is done, and again not when one is added", async () => {
  const readiness = new Readiness();
  const first = readiness.task("first");
  const second = readiness.task("second");
  expect(readiness.pending()).toEqual(["first", "second"]);
  const waited = readiness.whenReady();
  first();
  first();
  expect(readiness.ready).toBe(false);
  second();
  await waited;
  expect(readiness.ready).toBe(true);
  readiness.task("draining");
  expect(readiness.pending()).toEqual(["draining"]);
});

test("a drain starts once, with its first reason", async () => {
  const drain = new Drain();
  drain.start("SIGTERM");
  drain.start("again");
  expect(await drain.started).toBe("SIGTERM");
  expect(drain.signal.reason).toMatchObject({ message: "draining: SIGTERM" });
});

test("the deadline leaves the process some seconds of its pod's grace", () => {
  expect([undefined, 30, 11, 10, 2, 1, 0].map((grace) => terminationDeadlineMs(undefined, grace))).toEqual([
    5000, 25_000, 6000, 9000, 1000, 1000, 1000,
  ]);
});
