import { describe, expect, it } from "vitest";
import { AIMS, figure } from "./aims.ts";
import { busySeconds } from "./cpu-time.ts";
import { LOADS, type Load, parseIperf, parseWrk } from "./loads.ts";
import { residentBytes } from "./memory.ts";
import { type Counts, PATHS, strayed } from "./path-check.ts";
import { ratios, tables } from "./report.ts";
import { compare } from "./rounds.ts";
import { median } from "./stats.ts";

describe("median", () => {
  it("takes the middle, or the mean of the two middle values", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow("no values");
  });
});

describe("busySeconds", () => {
  it("counts user, nice, system, irq and softirq, not idle, iowait or steal", () => {
    expect(busySeconds("cpu  100 200 300 9999 9999 400 500 9999\ncpu0 1 1 1 1 1 1 1\n")).toBe(15);
  });
});

describe("residentBytes", () => {
  it("reads VmRSS, and says so when the process has ended", () => {
    expect(residentBytes(1, "Name:\tnode\nVmRSS:\t  2048 kB\n")).toBe(2048 * 1024);
    expect(() => residentBytes(7, "Name:\tnode\nState:\tZ (zombie)\n")).toThrow("process 7");
  });
});

describe("loads", () => {
  it("reads iperf3's receiver and names its error", () => {
    const output = JSON.stringify({ end: { sum_received: { bytes: 5e9, bits_per_second: 8e9 } } });
    expect(parseIperf(output)).toEqual({ value: 8, work: 5e9 });
    expect(() => parseIperf('{"error":"unable to connect"}')).toThrow("iperf3: unable to connect");
  });

  it("reads wrk and refuses a run with errors", () => {
    const good = "  52000 requests in 2.01s, 9 MB read\nRequests/sec:  26000.50\n";
    expect(parseWrk(good)).toEqual({ value: 26000.5, work: 52000 });
    expect(() => parseWrk(`  Socket errors: connect 0, read 5\n${good}`)).toThrow("read 5");
    expect(() => parseWrk(`  Non-2xx or 3xx responses: 4\n${good}`)).toThrow("Non-2xx");
  });

  it("every load has a figure with an aim on every path", () => {
    for (const path of Object.keys(PATHS)) {
      for (const load of LOADS) expect(AIMS).toHaveProperty([`${path}.${load.name}`]);
    }
  });
});

describe("compare", () => {
  const side = (serverIp: string) => ({ client: async () => "", serverIp });

  it("alternates the sides, turning the order over each round, and takes medians", async () => {
    const order: string[] = [];
    const load: Load = {
      name: "requests",
      unit: "requests/s",
      run: async (_client, ip) => {
        order.push(ip);
        return { value: ip === "plain" ? 100 : 40 + order.length, work: 10 };
      },
    };
    const result = await compare(load, side("plain"), { tunnel: side("mesh") }, { count: 3, seconds: 1 });
    expect(order).toEqual(["plain", "mesh", "mesh", "plain", "plain", "mesh"]);
    expect(result.paths.tunnel?.value).toBe(43);
  });

  it("fails when a round took another path", async () => {
    const load: Load = { name: "requests", unit: "requests/s", run: async () => ({ value: 1, work: 1 }) };
    const stray = { ...side("mesh"), onPath: () => Promise.reject(new Error("strayed")) };
    await expect(compare(load, side("plain"), { direct: stray }, { count: 1, seconds: 1 })).rejects.toThrow("strayed");
  });
});

describe("strayed", () => {
  const before: Counts = { captured_outbound: 5, direct: 5, redirected: 5, express: 5 };

  it("says nothing when exactly the path's counters have risen", () => {
    expect(strayed("direct", before, { ...before, direct: 6 })).toBeUndefined();
    expect(strayed("redirect", before, { ...before, direct: 6, redirected: 6 })).toBeUndefined();
  });

  it("names what rose and what did not", () => {
    expect(strayed("redirect", before, { ...before, direct: 9 })).toMatch(/redirect: .*direct \+4, redirected \+0/);
    expect(strayed("direct", before, { ...before, direct: 6, captured_outbound: 7 })).toContain("captured_outbound +2");
  });
});

describe("report", () => {
  const comparison = {
    load: "throughput",
    unit: "Gbit/s",
    plain: { value: 20, cpuPerWork: 0.5e-9 },
    paths: { tunnel: { value: 9, cpuPerWork: 2e-9 } },
  } as const;

  it("figures are ratios with aim and verdict", () => {
    expect(ratios([comparison])).toEqual({
      "tunnel.throughput": { value: 0.45, unit: "ratio to no mesh", aim: 0.5, met: false },
      "tunnel.cpu_per_gb": { value: 4, unit: "ratio to no mesh", aim: 3.3, met: false },
    });
    expect(figure("tunnel.pingpong", 2).met).toBe(true);
  });

  it("as good as without a mesh allows for noise, other aims do not", () => {
    expect(figure("direct.requests", 0.98).met).toBe(true);
    expect(figure("direct.pingpong", 1.02).met).toBe(true);
    expect(figure("direct.requests", 0.9).met).toBe(false);
    expect(figure("tunnel.requests", 0.449).met).toBe(false);
  });

  it("the table shows all sides and marks what was missed", () => {
    const text = tables([[comparison]], ratios([comparison]));
    expect(text).toMatch(/load\s+no mesh\s+tunnel\s+unit/);
    expect(text).toMatch(/throughput\s+20\s+9\s+Gbit\/s/);
    expect(text).toMatch(/tunnel.cpu_per_gb\s+4×\s+at most 3.3\s+MISSED/);
  });
});
