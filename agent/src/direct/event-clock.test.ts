import { expect, test } from "vitest";
import { EventClock } from "./event-clock.ts";

function clockAt() {
  const now = { unixMs: 1_700_000_000_000, monotonicMs: 5000.25, bootMs: 5000 };
  const clock = new EventClock({
    unixMs: () => now.unixMs,
    monotonicMs: () => now.monotonicMs,
    bootMs: () => now.bootMs,
  });
  return { now, clock };
}

test("a time since boot becomes Unix time, without the jitter of clocks that are read one after the other", () => {
  const { now, clock } = clockAt();
  const offset = clock.offsetMs();
  expect(offset + 5000.25).toBe(now.unixMs);
  now.unixMs += 101;
  now.monotonicMs += 100;
  now.bootMs += 100;
  expect(clock.offsetMs()).toBe(offset);
});

test("a clock that is set, and a machine that slept, are followed", () => {
  const { now, clock } = clockAt();
  const offset = clock.offsetMs();
  now.unixMs += 3_600_000;
  expect(clock.offsetMs() - offset).toBe(3_600_000);
  now.unixMs += 60_000;
  now.bootMs += 60_000;
  // The 60 s are in both.
  expect(clock.offsetMs() - offset).toBeCloseTo(3_600_000, 0);
});
