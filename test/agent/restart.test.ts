/** What outlives an agent, and what does not. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { PODS } from "#lib/kube/types.ts";
import { Action, Scope } from "#proto/authorization_pb.ts";
import { ASK, HOLD, SERVE } from "../helpers/agent-apps.ts";
import { AgentBed, type NodePod } from "../helpers/agent-bed.ts";
import { authorization } from "../helpers/mesh-fixtures.ts";

/** Would deny everybody. */
const TRIAL = authorization({
  name: "trial",
  namespace: "default",
  scope: Scope.NAMESPACE,
  action: Action.DENY,
  dryRun: true,
  rules: [{ clauses: [{ matches: [{ destinationPorts: [8080, 8081] }] }] }],
});

let node: AgentBed;
let client: NodePod;
let server: NodePod;

beforeAll(async () => {
  node = await AgentBed.create("wrst", 62);
  client = node.addPod("client");
  server = node.addPod("server");
  node.publish(client);
  node.publish(server);
  node.bed.spawn(server, process.execPath, ["-e", SERVE]);
  await node.bed.listening(server, 8080);
  await node.bed.listening(server, 8081);
  await node.enrolled("client");
  await node.enrolled("server");
});

afterAll(async () => {
  await node.dispose();
});

async function ask(ip = server.ip): Promise<string> {
  return (await node.bed.run(client, process.execPath, ["-e", ASK, "--", ip, "8080"])).stdout;
}

const served = () => `from ::ffff:${client.ip}\n`;

test("with the agent killed a pod reaches what BPF decides by itself, else nothing; the next agent takes it over", async () => {
  expect(await ask()).toBe(served());
  await eventually("a connection that needs no agent", async () => {
    await ask();
    return node.agent.access().some(({ direction }) => direction === "direct");
  });
  await node.agent.stop("SIGKILL");
  expect(await ask()).toBe(served());
  // Nobody has asked for this one yet.
  expect(await ask(server.ip6)).toMatch(/ECONNREFUSED|ECONNRESET/);
  await node.restart();
  await node.agent.ready();
  expect(await ask()).toBe(served());
  await eventually("traffic again", async () => (await ask(server.ip6)) === `from ${client.ip6}\n`);
});

test("a pod that left while no agent ran is let go of, one whose label went too", async () => {
  // What ends now would be told by the next agent.
  const { length } = node.agent.access();
  await ask();
  await eventually("its line", () => node.agent.access().length > length);
  await node.agent.stop("SIGTERM");
  node.setLabels("server", { "istio.io/dataplane-mode": "none" });
  node.publish(server, { hbone: false });
  node.kube.remove(PODS, "default", "client");
  const restartedAt = new Date().toISOString();
  await node.restart();
  await node.agent.ready();
  await eventually("the annotation is gone", () => node.redirection("server") === undefined);
  // Both captures are gone: the client goes out and the server takes it in, with no agent between.
  await eventually("untouched traffic", async () => (await ask()) === served());
  // But for lines of what had ended before, which nobody had told.
  expect(node.agent.access().filter(({ time = "" }) => String(time) > restartedAt)).toEqual([]);
  node.setLabels("server", {});
  node.publish(server);
  node.putPod(client);
  await node.enrolled("client");
  await node.enrolled("server");
});

test("an agent without its control plane holds captured pods closed until it hears", async () => {
  await node.agent.stop("SIGTERM");
  node.control.hold();
  await node.restart();
  expect((await node.agent.get("ready", "/healthz/ready")).text).toMatch(/^not ready, pending: .*xds Address/);
  const asked = ask();
  node.control.resume();
  expect(await asked).toBe(served());
  await node.agent.ready();
});

test("a control plane that goes away changes nothing for what is known", async () => {
  node.control.stop();
  expect(await ask()).toBe(served());
  await node.control.listen();
});

test("a live connection through the agent lasts until the deadline of the drain, which may be asked for over HTTP", async () => {
  // A policy on trial must be reported for each connection, which only the agent does.
  node.control.setAuthorization(TRIAL);
  node.agent.forgetLines();
  await eventually("connections by the agent", async () => {
    await ask();
    return node.agent.access().some(({ direction }) => direction === "inbound");
  });
  const held = node.bed.spawn(client, process.execPath, ["-e", HOLD, "--", server.ip, "8081"]);
  let said = "";
  held.stdout?.on("data", (text: Buffer) => {
    said += text.toString();
  });
  await eventually("a live connection", () => said.includes("open"));
  const asked = performance.now();
  expect((await node.agent.get("admin", "/quitquitquit", "POST")).status).toBe(200);
  await eventually("the deadline", () => said.includes("closed"));
  expect(performance.now() - asked).toBeGreaterThan(900);
  expect(await node.agent.ended()).toBe(0);
  await node.restart();
  await node.agent.ready();
});

test("the end by signal is orderly, and cleanup leaves nothing", async () => {
  expect(await node.agent.stop()).toBe(0);
  expect(existsSync(node.pinDir)).toBe(true);
  const bin = fileURLToPath(new URL("../../agent/bin/weft-agent", import.meta.url));
  const env = { ...process.env, WEFT_BPFFS_DIR: node.pinDir };
  expect(execFileSync(bin, ["cleanup"], { env, encoding: "utf8" })).toBe(`removed everything below ${node.pinDir}\n`);
  expect(existsSync(node.pinDir)).toBe(false);
  expect(execFileSync(bin, ["cleanup"], { env, encoding: "utf8" })).toBe(`nothing below ${node.pinDir}\n`);
  expect(await ask()).toBe(served());
});
