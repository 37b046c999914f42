/** Envoy at the other end of our tunnels, in both directions. */
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { type EnvoyTls, hboneClient, hboneServer, startEnvoy } from "../helpers/envoy.ts";
import { appPath, identityOf, MeshBed, type MeshPod } from "../helpers/mesh-bed.ts";
import { TestCa } from "../helpers/pki.ts";
import type { BedPod, RunResult } from "../helpers/pod-bed.ts";

const ECHO_PORT = 8080;
const ENVOY_PORT = 10000;
const MIB = 1024 * 1024;
const OUR_IDENTITIES = "spiffe://cluster.local/ns/default/sa/";
const envoyIdentity = identityOf("envoy");

let mesh: MeshBed;
let client: MeshPod;
let server: MeshPod;
/** On the same network, not enrolled: a node of somebody else's mesh, as far as we can tell. */
let peer: BedPod;

beforeAll(async () => {
  mesh = await MeshBed.create("wenv", 22);
  client = await mesh.addPod("client");
  server = await mesh.addPod("server");
  peer = mesh.bed.addPod("envoy");
  await mesh.startApp(server, "echo", ECHO_PORT);
  await mesh.startApp(peer, "echo", ECHO_PORT);
});

afterAll(async () => {
  await mesh?.dispose();
});

async function envoyTls(change: Partial<EnvoyTls> = {}): Promise<EnvoyTls> {
  return { svid: await mesh.ca.issue(envoyIdentity), root: mesh.ca.root, peerPrefix: OUR_IDENTITIES, ...change };
}

function exchange(pod: BedPod, host: string, port: number, bytes: number, connections: number): Promise<RunResult> {
  return mesh.bed.run(pod, process.execPath, [appPath("exchange"), host, ...[port, bytes, connections].map(String)]);
}

async function reason(name: string): Promise<number> {
  return (await mesh.engine.stats()).reasons[name] ?? 0;
}

async function restart(envoy: ChildProcess | undefined, config: object, port: number): Promise<ChildProcess> {
  if (envoy !== undefined) await ended(envoy);
  return startEnvoy(mesh.bed, peer, config, port);
}

async function ended(envoy: ChildProcess): Promise<void> {
  envoy.removeAllListeners("exit");
  envoy.kill("SIGKILL");
  await eventually("envoy to end", () => envoy.exitCode !== null || envoy.signalCode !== null);
}

describe("Envoy as HBONE client of our agent", () => {
  let envoy: ChildProcess | undefined;

  async function start(tls: Partial<EnvoyTls> = {}): Promise<void> {
    const authority = `${server.ip}:${ECHO_PORT}`;
    const config = hboneClient({ port: ENVOY_PORT, authority, agentIp: server.ip, tls: await envoyTls(tls) });
    envoy = await restart(envoy, config, ENVOY_PORT);
  }

  afterAll(async () => {
    if (envoy !== undefined) await ended(envoy);
  });

  test("bytes go both ways and each direction ends on its own", async () => {
    await start();
    expect((await exchange(peer, "127.0.0.1", ENVOY_PORT, 100, 1)).stdout).toBe("1/1\n");
    expect((await exchange(peer, "127.0.0.1", ENVOY_PORT, 8 * MIB, 2)).stdout).toBe("2/2\n");
  });

  test("the connection is known by Envoy's identity and baggage", async () => {
    const record = await eventually("a record", () =>
      mesh.engine.closed().find((r) => r.path === "inbound-hbone" && r.peerIdentity === envoyIdentity),
    );
    expect(record).toMatchObject({
      pod: server.id,
      authority: `${server.ip}:${ECHO_PORT}`,
      baggage: "k8s.namespace.name=envoy,service.name=client",
      established: true,
      reason: "none",
    });
    expect(record.source.ip).toBe(peer.ip);
    expect(record.destination).toEqual({ ip: server.ip, port: ECHO_PORT });
  });

  test("150 connections at once", async () => {
    expect((await exchange(peer, "127.0.0.1", ENVOY_PORT, 10_000, 150)).stdout).toBe("150/150\n");
  });

  test("a policy against its identity refuses it, and its removal lets it in again", async () => {
    const before = await reason("policy_denied");
    const match = {
      ...{ namespaces: [], notNamespaces: [], notPrincipals: [], sourceIps: [], notSourceIps: [], destinationIps: [] },
      ...{ notDestinationIps: [], destinationPorts: [], notDestinationPorts: [], serviceAccounts: [] },
      notServiceAccounts: [],
      principals: [{ kind: "exact" as const, value: envoyIdentity.replace("spiffe://", "") }],
    };
    await mesh.engine.apply([
      { op: "set-policy", name: "default/no-envoy", policy: { action: "deny", dryRun: false, rules: [[[match]]] } },
      { op: "set-pod-policies", pod: server.id, policies: ["default/no-envoy"] },
    ]);
    expect((await exchange(peer, "127.0.0.1", ENVOY_PORT, 100, 1)).stdout).toBe("0/1\n");
    expect(await reason("policy_denied")).toBe(before + 1);
    const denied = await eventually("a record of the denial", () =>
      mesh.engine.closed().find((r) => r.reason === "policy_denied"),
    );
    expect(denied).toMatchObject({ policy: "default/no-envoy", peerIdentity: envoyIdentity, established: false });

    await mesh.engine.apply([
      { op: "set-pod-policies", pod: server.id, policies: [] },
      { op: "remove-policy", name: "default/no-envoy" },
    ]);
    expect((await exchange(peer, "127.0.0.1", ENVOY_PORT, 100, 1)).stdout).toBe("1/1\n");
  });

  test("an Envoy of another trust domain is refused", async () => {
    const before = (await reason("tls_failure")) + (await reason("identity_error"));
    await start({ svid: await mesh.ca.issue("spiffe://elsewhere/ns/default/sa/envoy") });
    expect((await exchange(peer, "127.0.0.1", ENVOY_PORT, 100, 1)).stdout).toBe("0/1\n");
    expect((await reason("tls_failure")) + (await reason("identity_error"))).toBeGreaterThan(before);
  });

  test("an Envoy that expects somebody else refuses us, and we count it", async () => {
    const before = await reason("tls_failure");
    await start({ peerPrefix: "spiffe://cluster.local/ns/other/" });
    expect((await exchange(peer, "127.0.0.1", ENVOY_PORT, 100, 1)).stdout).toBe("0/1\n");
    await eventually("the failure to be counted", async () => (await reason("tls_failure")) > before);
  });
});

describe("Envoy as HBONE server for our agent", () => {
  let envoy: ChildProcess | undefined;
  let accessLog = "";

  async function start(tls: Partial<EnvoyTls> = {}): Promise<void> {
    envoy = await restart(envoy, hboneServer({ appPort: ECHO_PORT, tls: await envoyTls(tls) }), 15008);
    accessLog = "";
    envoy.stdout?.on("data", (chunk: Buffer) => {
      accessLog += chunk.toString();
    });
  }

  async function routeToEnvoy(identities: readonly string[]): Promise<void> {
    const destination = { ip: peer.ip, port: ECHO_PORT };
    const tunnel = { authority: `${peer.ip}:${ECHO_PORT}`, identities };
    const endpoints = [{ key: 1, weight: 1, dial: { ip: peer.ip, port: 15008 }, tunnel }];
    const route = { kind: "endpoints" as const, endpoints, serviceHost: "echo.default.svc.cluster.local" };
    await mesh.engine.apply([{ op: "set-route", pod: client.id, destination, route }]);
  }

  afterAll(async () => {
    if (envoy !== undefined) await ended(envoy);
  });

  test("bytes go both ways and each direction ends on its own", async () => {
    await start();
    await routeToEnvoy([envoyIdentity]);
    expect((await exchange(client, peer.ip, ECHO_PORT, 100, 1)).stdout).toBe("1/1\n");
    expect((await exchange(client, peer.ip, ECHO_PORT, 8 * MIB, 2)).stdout).toBe("2/2\n");
  });

  test("Envoy sees CONNECT as ambient has it: authority, baggage, forwarded, traceparent, our identity", async () => {
    const line = await eventually("an access log", () => accessLog.split("\n").find((text) => text !== ""), 15_000);
    expect(line).toMatch(new RegExp(`^CONNECT ${peer.ip}:${ECHO_PORT} 200 `));
    expect(line).toContain("[k8s.namespace.name=default,k8s.pod.name=client,service.name=client]");
    expect(line).toMatch(new RegExp(`\\[for="?${client.ip}:\\d+"?;host="?echo\\.default\\.svc\\.cluster\\.local"?\\]`));
    expect(line).toMatch(/\[00-[0-9a-f]{32}-[0-9a-f]{16}-00\]/);
    expect(line).toContain(client.identity);
  });

  test("150 connections at once, although Envoy takes 100 streams per tunnel", async () => {
    expect((await exchange(client, peer.ip, ECHO_PORT, 10_000, 150)).stdout).toBe("150/150\n");
  });

  test("an Envoy that is not who the route says is refused", async () => {
    const before = (await reason("tls_failure")) + (await reason("identity_error"));
    await routeToEnvoy([identityOf("somebody-else")]);
    expect((await exchange(client, peer.ip, ECHO_PORT, 100, 1)).stdout).toBe("0/1\n");
    expect((await reason("tls_failure")) + (await reason("identity_error"))).toBeGreaterThan(before);
    await routeToEnvoy([envoyIdentity]);
    expect((await exchange(client, peer.ip, ECHO_PORT, 100, 1)).stdout).toBe("1/1\n");
  });

  test("an Envoy with a certificate of a CA that nobody trusts is refused", async () => {
    const before = (await reason("tls_failure")) + (await reason("identity_error"));
    await start({ svid: await (await TestCa.create("other root")).issue(envoyIdentity) });
    expect((await exchange(client, peer.ip, ECHO_PORT, 100, 1)).stdout).toBe("0/1\n");
    expect((await reason("tls_failure")) + (await reason("identity_error"))).toBeGreaterThan(before);
  });
});
