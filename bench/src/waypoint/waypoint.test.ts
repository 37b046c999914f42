import { describe, expect, it } from "vitest";
import { cpuSecondsOf } from "./cpu.ts";
import { latencies, parseH2load, percentile } from "./load.ts";
import { type Rates, waypointFigures, waypointRates } from "./measure.ts";
import { portOf, SCENARIOS, scenariosOf } from "./scenarios.ts";

const GOOD = `finished in 3.00s, 41000.50 req/s, 2.62MB/s
requests: 123001 total, 123065 started, 123001 done, 123001 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 123003 2xx, 0 3xx, 0 4xx, 0 5xx
`;

describe("h2load", () => {
  it("is read, and a run with failures or other answers than 2xx is refused", () => {
    expect(parseH2load(GOOD)).toEqual({ value: 41000.5, work: 123001 });
    expect(() => parseH2load(GOOD.replace("0 errored", "3 errored"))).toThrow("3 errored");
    expect(() => parseH2load(GOOD.replace("0 5xx", "7 5xx"))).toThrow("7 5xx");
    expect(() => parseH2load("")).toThrow("no result");
  });

  it("has a log with microseconds per request", () => {
    expect(latencies("1000\t200\t1500\n1001\t200\t500\n")).toEqual([1.5, 0.5]);
  });
});

describe("percentile", () => {
  it("is the value that so many stay at or below", () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(percentile(values, 0.99)).toBe(99);
    expect(() => percentile([], 0.99)).toThrow("no values");
  });
});

describe("cpuSecondsOf", () => {
  it("adds user and system time, whatever the process is called", () => {
    expect(cpuSecondsOf(1, "7 (a) b) c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3")).toBe(2);
  });
});

describe("scenarios", () => {
  it("have a port each in every proxy", () => {
    const ports = SCENARIOS.flatMap((scenario) => scenario.proxies.map((proxy) => portOf(proxy, scenario)));
    expect(new Set(ports).size).toBe(ports.length);
    expect(scenariosOf("node").map(({ name }) => name)).toEqual(["http1"]);
  });
});

describe("figures", () => {
  it("are ratios per core, with what they are made of beside them", () => {
    const pair = { weft: { perSecond: 1, perCore: 60_000 }, envoy: { perSecond: 1, perCore: 20_000 } };
    const rates = Object.fromEntries(SCENARIOS.map(({ name }) => [name, pair])) as Rates;
    const results = { rates, p99: { weft: 1, envoy: 2 }, bytes: { weft: 2 ** 26, envoy: 2 ** 25 } };
    expect(waypointFigures(results)).toMatchObject({
      "waypoint.http1_vs_envoy": { value: 3, met: true },
      "waypoint.p99_vs_envoy": { value: 0.5, met: true },
      "waypoint.memory_vs_envoy": { value: 2, met: false },
      "waypoint.routes_1000_vs_1": { value: 1, met: true },
    });
    expect(waypointRates(results)).toMatchObject({
      "waypoint.tls.weft": { value: 60_000 },
      "waypoint.memory_mb.weft": { value: 64 },
    });
  });
});
