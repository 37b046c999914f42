import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { playgroundCgroup, tearDown } from "../../playground/src/down.ts";
import { stateDir } from "../../playground/src/state.ts";
import { run } from "../../playground/src/system/command.ts";
import { eventually } from "../helpers/eventually.ts";
import { Bed, service, webDeployment } from "./bed.ts";

const WEFT = resolve(import.meta.dirname, "../../cli/bin/weft");

/** Everything of this machine that a playground could leave something in. */
async function machine(): Promise<Record<string, unknown>> {
  return {
    links: (await run("ip", ["-o", "link"])).split("\n").length,
    routes: await run("ip", ["route", "show", "table", "all"]),
    nft: await run("nft", ["list", "ruleset"]),
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
    const before = await machine();
    const beds = await Promise.all(names.map((name) => Bed.start(name)));
    expect(beds[0]?.playground.plan.podRange.v4).not.toBe(beds[1]?.playground.plan.podRange.v4);
    for (const bed of beds) {
      await bed.apply(webDeployment("web", 2) + service("web", "web"));
      await bed.kubectl("rollout", "status", "deployment/web", "--timeout=20s");
      expect(await bed.kubectl("exec", "deployment/web", "--", "curl", "-s", "-m", "2", "http://web/")).toMatch(
        /^web-/,
      );
    }
    expect(await machine()).toEqual(before);
    await Promise.all(beds.map((bed) => bed.stop()));
    expect(await machine()).toEqual(before);
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
    expect((await weft("--help")).stdout).toContain("playground up");
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
    const nobody = await run("setpriv", ["--reuid=65534", "--clear-groups", WEFT, "playground", "up"]).catch(String);
    expect(nobody).toContain("a playground needs root: sudo weft playground up");
  });
});
