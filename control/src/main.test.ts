import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { NAMESPACES } from "#lib/kube/types.ts";
import { ANYWHERE } from "../../test/helpers/control-ports.ts";
import { FakeKube } from "../../test/helpers/fake-kube.ts";

const LAUNCHER = fileURLToPath(new URL("../bin/weft-control", import.meta.url));

describe("weft-control", () => {
  let kube: FakeKube;
  let dir: string;
  let child: ChildProcess | undefined;
  let output: string;

  beforeEach(async () => {
    kube = await FakeKube.start();
    kube.put(NAMESPACES, { metadata: { name: "istio-system" } });
    dir = mkdtempSync(join(tmpdir(), "weft-control-"));
    const clusters = `[{name: c, cluster: {server: "${kube.url}"}}]`;
    const kubeconfig = `current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: ${clusters}\nusers: [{name: u, user: {}}]\n`;
    writeFileSync(join(dir, "config"), kubeconfig);
  });

  afterEach(async () => {
    if (child?.exitCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await kube.stop();
    rmSync(dir, { recursive: true });
  });

  function run(env: Record<string, string> = {}): ChildProcess {
    output = "";
    child = spawn(LAUNCHER, {
      env: {
        PATH: process.env.PATH ?? "",
        KUBECONFIG: join(dir, "config"),
        ...ANYWHERE,
        ...env,
      },
    });
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (text) => (output += text));
    return child;
  }

  it("serves, and on SIGTERM stops in order with exit code 0", async () => {
    const process = run();
    await eventually("serving", () => output.includes('"serving"'), 15_000);
    process.kill("SIGTERM");
    expect(await once(process, "exit")).toEqual([0, null]);
    expect(output).toContain('"stopped"');
  });

  it("stops at once while it waits for the API", async () => {
    await kube.stop();
    const process = run();
    await eventually("waiting", () => output.includes("cannot read"), 15_000);
    process.kill("SIGTERM");
    expect(await once(process, "exit")).toEqual([0, null]);
    kube = await FakeKube.start();
  });

  it.each([
    [{ LOG_LEVEL: "loud" }, 'weft-control: environment variable LOG_LEVEL="loud": expected one of'],
    [{ KUBECONFIG: "/nowhere/config" }, "weft-control: /nowhere/config: no such file"],
  ])("says in one line what is wrong with %j", async (env, message) => {
    const [code] = await once(run(env), "exit");
    expect([code, output.trim().split("\n").length]).toEqual([1, 1]);
    expect(output).toContain(message);
  });

  it.each(["SECURE_GRPC_ADDR", "HTTP_ADDR", "MONITORING_ADDR", "HTTPS_ADDR"])(
    "names the port of %s when it is taken",
    async (name) => {
      const holder = net.createServer().listen(0, "127.0.0.1");
      await once(holder, "listening");
      const { port } = holder.address() as net.AddressInfo;
      const [code] = await once(run({ [name]: `127.0.0.1:${port}` }), "exit");
      holder.close();
      expect(code).toBe(1);
      expect(output).toContain(`weft-control: cannot listen on 127.0.0.1:${port}: another process listens there`);
    },
  );
});
