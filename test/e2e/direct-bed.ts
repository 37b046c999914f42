/** One node with a real agent: two clients, and servers behind one service, all enrolled. */
import type { ChildProcess } from "node:child_process";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { eventually } from "#lib/eventually.ts";
import { AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import { Action, type MatchSchema, Scope } from "#proto/authorization_pb.ts";
import { WorkloadStatus } from "#proto/workload_pb.ts";
import { AgentBed, type NodePod } from "../helpers/agent-bed.ts";
import { authorization, serviceAddress } from "../helpers/mesh-fixtures.ts";
import { PodProgram, programArgv } from "./pod-program.ts";
import type { DialTarget } from "./programs/dial.ts";
import type { Held } from "./programs/holder.ts";
import type { Attempt } from "./programs/looper.ts";

export const SERVER_PORT = 8080;
const HOST = "web.default.svc.cluster.local";
const PATIENCE_MS = 20_000;

/** What the mesh is told of a server. */
export interface ServerState {
  readonly weight?: number;
  readonly ready?: boolean;
}

export class DirectBed {
  readonly node: AgentBed;
  readonly red: NodePod;
  readonly blue: NodePod;
  readonly servers: readonly NodePod[];
  /** The service's addresses. */
  readonly vip: string;
  readonly vip6: string;

  private constructor(node: AgentBed, subnet: number, servers: number) {
    this.node = node;
    this.red = node.addPod("red");
    this.blue = node.addPod("blue");
    this.servers = Array.from({ length: servers }, (_, i) => node.addPod(`server${i + 1}`));
    this.vip = `10.99.${subnet}.10`;
    this.vip6 = `fd99:${subnet}::10`;
  }

  static async create(tag: string, subnet: number, servers: number): Promise<DirectBed> {
    const bed = new DirectBed(await AgentBed.create(tag, subnet), subnet, servers);
    try {
      await bed.#deploy();
    } catch (error) {
      await bed.dispose();
      throw error;
    }
    return bed;
  }

  async #deploy(): Promise<void> {
    const { node, servers } = this;
    this.putService({});
    node.publish(this.red);
    node.publish(this.blue);
    for (const server of servers) {
      this.publish(server);
      this.#start(server, programArgv("greeter", String(SERVER_PORT), server.name));
    }
    await Promise.all(servers.map((server) => node.bed.listening(server, SERVER_PORT)));
    await Promise.all([this.red, this.blue, ...servers].map(({ name }) => node.enrolled(name)));
  }

  putService(more: NonNullable<Parameters<typeof serviceAddress>[0]["more"]>): void {
    const fixture = { name: "web", hostname: HOST, vips: [this.vip, this.vip6], ports: { 80: SERVER_PORT }, more };
    this.node.control.setAddress(`default/${HOST}`, serviceAddress(fixture));
  }

  /** Behind the service, with this weight; not ready: still known, but not to be chosen. */
  publish(server: NodePod, { weight = 1, ready = true }: ServerState = {}): void {
    this.node.publish(server, {
      services: { [`default/${HOST}`]: { 80: SERVER_PORT } },
      more: { capacity: weight, status: ready ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY },
    });
  }

  /** A DENY policy of the namespace: `client` may open connections to nobody in it. */
  deny(client: NodePod): void {
    const value = `cluster.local/ns/default/sa/${client.name}`;
    this.#deny(`no-${client.name}`, { principals: [{ matchType: { case: "exact", value } }] });
  }

  permit(client: NodePod): void {
    this.node.control.remove(AUTHORIZATION_TYPE, `default/no-${client.name}`);
  }

  /** What PeerAuthentication STRICT is made into: nobody without an identity. */
  setStrict(isStrict: boolean): void {
    if (isStrict) this.#deny("strict", { notPrincipals: [{ matchType: { case: "presence", value: {} } }] });
    else this.node.control.remove(AUTHORIZATION_TYPE, "default/strict");
  }

  #deny(name: string, match: MessageInitShape<typeof MatchSchema>): void {
    this.node.control.setAuthorization(
      authorization({
        namespace: "default",
        name,
        scope: Scope.NAMESPACE,
        action: Action.DENY,
        rules: [{ clauses: [{ matches: [match] }] }],
      }),
    );
  }

  target(host = this.vip, port = 80): DialTarget {
    return { id: "x", host, port, family: host.includes(":") ? 6 : 4, mapped: false, bytes: 64, looks: false };
  }

  /** Dials again and again until it is stopped, or so many times. */
  loop(client: NodePod, target: DialTarget, times?: number): PodProgram<Attempt> {
    const limit = times === undefined ? [] : [String(times)];
    return new PodProgram<Attempt>(this.#start(client, programArgv("looper", JSON.stringify(target), ...limit)));
  }

  /** Holds a connection, sending `chunk` bytes to and fro when there are any. */
  async hold(client: NodePod, host: string, port: number, chunk = 0): Promise<PodProgram<Held>> {
    const argv = programArgv("holder", host, String(port), String(chunk));
    const holder = new PodProgram<Held>(this.#start(client, argv));
    await holder.when("the connection is open", ({ state }) => state === "open");
    return holder;
  }

  /** Waits until connections of the client to the target need no agent. */
  async direct(client: NodePod, target: DialTarget): Promise<void> {
    await eventually(
      `${client.name} reaches ${target.host} directly`,
      async () => {
        const [attempt] = await this.times(client, target, 1);
        if (attempt?.direct !== true) throw new Error(JSON.stringify(attempt));
        return true;
      },
      PATIENCE_MS,
    );
  }

  async times(client: NodePod, target: DialTarget, times: number): Promise<readonly Attempt[]> {
    const loop = this.loop(client, target, times);
    await eventually("all attempts", () => loop.lines.length === times, PATIENCE_MS);
    return loop.stop();
  }

  #start(pod: NodePod, [program, ...args]: [string, ...string[]]): ChildProcess {
    return this.node.bed.spawn(pod, program, args);
  }

  /** Opens so many connections to the service, as fast as it goes; how many were answered. */
  async flood(client: NodePod, count: number): Promise<number> {
    const argv = programArgv("flooder", this.vip, "80", String(count));
    const flooder = new PodProgram<{ answered: number }>(this.#start(client, argv));
    return (await flooder.when("all connections", () => true, 60_000)).answered;
  }

  async dispose(): Promise<void> {
    await this.node.dispose();
  }
}
