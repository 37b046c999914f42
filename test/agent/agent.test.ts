/** The real agent on one node: real pods, real BPF, a control plane and a Kubernetes API of the test. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AgentBed, type NodePod } from "../helpers/agent-bed.ts";
import { eventually } from "../helpers/eventually.ts";

let node: AgentBed;
let client: NodePod;
let server: NodePod;

const SERVE = `
const { createServer } = require("node:net");
createServer((c) => { c.on("error", () => {}); c.end("from " + c.remoteAddress + "\\n"); }).listen(8080, "::");
setTimeout(() => {}, 600000);`;
const ASK = `
const [ip, port] = process.argv.slice(-2);
const c = require("node:net").connect({ host: ip, port: Number(port) });
c.on("data", (d) => process.stdout.write(d));
c.on("error", (e) => { process.stdout.write(e.code); process.exit(1); });
c.setTimeout(8000, () => { process.stdout.write("timeout"); process.exit(1); });`;

beforeAll(async () => {
  node = await AgentBed.create("wagt", 61);
  client = node.addPod("client");
  server = node.addPod("server");
  node.publish(client);
  node.publish(server);
  node.bed.spawn(server, process.execPath, ["-e", SERVE]);
  await node.bed.listening(server, 8080);
});

afterAll(async () => {
  await node.dispose();
});

function ask(ip: string, port = 8080, from = client) {
  return node.bed.run(from, process.execPath, ["-e", ASK, "--", ip, String(port)]);
}

describe("enrolment", () => {
  test("pods of a labelled namespace are captured, annotated and given certificates", async () => {
    await node.agent.ready();
    await node.enrolled("client");
    await node.enrolled("server");
    await eventually("certificates", () => node.control.certificates.length >= 2);
    expect([...node.control.certificates].sort()).toEqual([
      "spiffe://cluster.local/ns/default/sa/client",
      "spiffe://cluster.local/ns/default/sa/server",
    ]);
  });

  test("two enrolled pods talk over HBONE, and both ends are told who", async () => {
    const { stdout } = await ask(server.ip);
    expect(stdout).toBe(`from ::ffff:${client.ip}\n`);
    const lines = await eventually("both access lines", () => {
      const complete = node.agent.access();
      return complete.length >= 2 && complete;
    });
    const outbound = lines.find(({ direction }) => direction === "outbound");
    const inbound = lines.find(({ direction }) => direction === "inbound");
    for (const line of [outbound, inbound]) {
      expect(line).toMatchObject({
        "src.workload": "client",
        "dst.workload": "server",
        "src.identity": "spiffe://cluster.local/ns/default/sa/client",
        "dst.identity": "spiffe://cluster.local/ns/default/sa/server",
        "dst.hbone_addr": `${server.ip}:8080`,
      });
    }
    expect(outbound?.["dst.addr"]).toBe(`${server.ip}:15008`);
  });
});
