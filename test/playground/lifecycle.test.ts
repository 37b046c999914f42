import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { playgroundCgroup, tearDown } from "../../playground/src/down.ts";
import type { NetworkPlan } from "../../playground/src/network/plan.ts";
import { stateDir } from "../../playground/src/state.ts";
import { run } from "../../playground/src/system/command.ts";
import { AS_NOBODY } from "../helpers/nobody.ts";
import { Bed, service, webDeployment } from "./bed.ts";

const WEFT = resolve(import.meta.dirname, "../../cli/bin/weft");

/** What of a playground would show in the machine's own network; other tests may change the rest meanwhile. */
async function machine(plans: readonly NetworkPlan[]): Promise<Record<string, unknown>> {
  const ranges = plans.flatMap(({ podRange, serviceRange, fabric }) =>
    [podRange.v4, podRange.v6, serviceRange.v4, serviceRange.v6, fabric.v4, fabric.v6].map(
      (each) => each.split("/")[0] ?? "",
    ),
  );
  const routes = await run("ip", ["route", "show", "table", "all"]);
  const links = await run("ip", ["-o", "link"]);
  return {
    links: links.split("\n").filter((line) => /^\d+: (fabric|n\d+|veth[0-9a-f]{8})[@:]/.test(line)),
    routes: ranges.filter((each) => routes.includes(each)),
    nft: (await run("nft", ["list", "tables"])).includes("weft-playground"),
    forwarding: readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8"),
    forwarding6: readFileSync("/proc/sys/net/ipv6/conf/all/forwarding", "utf8"),
  };
}

/** Traces of the playgrounds of this file. */
function traces(name: string): string[] {
  const found: string[] = [];
  if (existsSync(playgroundCgroup(name))) found.push("cgroup");
  if (existsSync(stateDir(name))) found.push("state");
  if (readFileSync("/proc/self/mounts", "utf8").includes(`/weft-playground/${name}/`)) found.push("mounts");
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      // A killed process shows until its parent has taken notice.
      const isDead = /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
      if (!isDead && readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`/weft-${name}/`))
        found.push(`process ${pid}`);
    } catch {
      // It has just ended.
    }
  }
  return found;
}

function weft(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(WEFT, args, { stdio: ["ignore", "pipe", "pipe"], timeout: 30_000 });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (data) => {
    stdout += data;
  });
  child.stderr.on("data", (data) => {
    stderr += data;
  });
  return new Promise((done) => child.on("close", (code) => done({ code, stdout, stderr })));
}

describe("a playground's life", () => {
  const names = ["t-life-a", "t-life-b"];
  afterEach(async () => {
    for (const name of names) await tearDown(name);
  });

  it("runs beside another one, with addresses of its own, and touches nothing of the machine", async () => {
    const before = await machine([]);
    const beds = await Promise.all(names.map((name) => Bed.start(name)));
    expect(beds[0]?.playground.plan.podRange.v4).not.toBe(beds[1]?.playground.plan.podRange.v4);
    for (const bed of beds) {
      await bed.apply(webDeployment("web", 2) + service("web", "web"));
      await bed.kubectl("rollout", "status", "deployment/web", "--timeout=20s");
      expect(await bed.kubectl("exec", "deployment/web", "--", "curl", "-s", "-m", "5", "http://web/")).toMatch(
        /^web-/,
      );
    }
    expect(await machine(beds.map((bed) => bed.playground.plan))).toEqual(before);
    await Promise.all(beds.map((bed) => bed.stop()));
    expect(await machine(beds.map((bed) => bed.playground.plan))).toEqual(before);
    for (const name of names) expect(traces(name)).toEqual([]);
  });

  it("is undone by `down` after its process was killed", async () => {
    const child = spawn(WEFT, ["playground", "up", "--no-mesh", "--name", "t-life-a"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const up = new Promise<void>((done) => child.stdout.on("data", (data) => String(data).includes("is up") && done()));
    await up;
    const status = await weft("playground", "status", "--name", "t-life-a");
    expect(status.stdout).toMatch(/node1 +10\./);
    child.kill("SIGKILL");
    // What is left then are the sleeping holders of three network namespaces.
    await eventually("API server and kubelets have ended with it", () => {
      return traces("t-life-a").filter((trace) => trace.startsWith("process")).length <= 3;
    });
    const down = await weft("playground", "down", "--name", "t-life-a");
    expect(down.stdout).toContain("is gone");
    expect(traces("t-life-a")).toEqual([]);
  });

  it("takes the place of one of its name that was left behind", async () => {
    const child = spawn(WEFT, ["playground", "up", "--no-mesh", "--name", "t-life-a"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = new Promise((done) => child.on("exit", done));
    await new Promise<void>((done) => child.stdout.on("data", (data) => String(data).includes("is up") && done()));
    child.kill("SIGKILL");
    await exited;
    const bed = await Bed.start("t-life-a");
    expect(bed.reports.join()).toContain("left behind");
    expect(await bed.kubectl("get", "nodes")).toContain("node1");
    await bed.stop();
    expect(traces("t-life-a")).toEqual([]);
  });

  it("ends orderly on SIGINT, and refuses a name that is taken", async () => {
    const child = spawn(WEFT, ["playground", "up", "--no-mesh", "--name", "t-life-b"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise<void>((done) => child.stdout.on("data", (data) => String(data).includes("is up") && done()));
    const second = await weft("playground", "up", "--no-mesh", "--name", "t-life-b");
    expect(second.code).toBe(1);
    expect(second.stderr).toContain('a playground "t-life-b" exists');
    const ended = new Promise<number | null>((done) => child.on("exit", done));
    child.kill("SIGINT");
    expect(await ended).toBe(0);
    expect(traces("t-life-b")).toEqual([]);
  });

  it("has a command line that says what is wrong with it", async () => {
    expect((await weft("playground", "--help")).stdout).toMatch(/\n {2}up +start a cluster/);
    expect(await weft("nonsense")).toMatchObject({ code: 2, stderr: expect.stringContaining('no command "nonsense"') });
    expect(await weft("playground", "up", "--nodes", "x")).toMatchObject({ code: 2 });
    expect(await weft("playground", "up", "--name", "A_B")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("no name for a playground"),
    });
    expect(await weft("playground", "status", "--name", "t-none")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no playground "t-none"'),
    });
    const nobody = await run("setpriv", [...AS_NOBODY, WEFT, "playground", "up"]).catch(String);
    expect(nobody).toContain("a playground needs root; run: sudo weft playground up");
  });
});
