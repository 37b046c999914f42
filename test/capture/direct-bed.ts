/** A client and a server, both enrolled on this node, between which BPF decides by itself. */
import { eventually } from "#lib/eventually.ts";
import type { BedPod } from "../helpers/pod-bed.ts";
import { CaptureBed } from "./capture-bed.ts";
import type { FakeAgent, FakeEndpoint } from "./fake-agent.ts";
import type { WeftEvent } from "./weft-event.ts";

/** Nobody has these addresses but services. */
export const VIP4 = "10.99.3.3";
export const VIP6 = "fd99::3";

export class DirectBed {
  readonly capture: CaptureBed;
  client: BedPod;
  server: BedPod;
  agent: FakeAgent;
  /** Netns cookies. */
  clientId = "";
  serverId = "";

  static async create(subnet: number, options: { maxFlows?: number } = {}): Promise<DirectBed> {
    const capture = await CaptureBed.create(subnet);
    const bed = new DirectBed(capture, await capture.startAgent(options));
    await bed.enroll();
    return bed;
  }

  private constructor(capture: CaptureBed, agent: FakeAgent) {
    this.capture = capture;
    this.agent = agent;
    this.client = capture.addPod();
    this.server = capture.addPod();
  }

  /** New pods and a new agent, which knows nothing of those before. */
  async renew(options: { maxFlows?: number } = {}): Promise<void> {
    await this.capture.reset();
    this.agent = await this.capture.startAgent(options);
    this.client = this.capture.addPod();
    this.server = this.capture.addPod();
    await this.enroll();
  }

  async enroll(): Promise<void> {
    this.clientId = await this.agent.capture(this.client);
    this.serverId = await this.agent.capture(this.server);
  }

  /** The client may connect to this port of the server, by service and by pod address, in both families. */
  async allow(port: number): Promise<void> {
    await this.route(port);
    await this.agent.setVerdict(this.clientId, this.serverId, port, true);
  }

  async route(port: number): Promise<void> {
    const { ip, ip6 } = this.server;
    for (const asked of [VIP4, ip]) await this.agent.setRoute(this.clientId, asked, port, [this.endpoint(ip, port)]);
    for (const asked of [VIP6, ip6]) await this.agent.setRoute(this.clientId, asked, port, [this.endpoint(ip6, port)]);
  }

  endpoint(ip: string, port: number): FakeEndpoint {
    return { ip, port, pod: this.serverId, key: 5 };
  }

  /** Runs Python in the client. */
  app(code: string): Promise<unknown> {
    return this.capture.app(this.client, code);
  }

  /** Waits for so many records of connections that have ended, and for the maps to be empty of them. In order of opening. */
  async ended(count: number): Promise<WeftEvent[]> {
    const events: WeftEvent[] = [];
    await eventually(`${count} records`, async () => {
      events.push(...(await this.agent.events()));
      return events.length >= count;
    });
    await eventually("an empty flow map", () => this.capture.entries("weft_flows") === 0);
    return events.sort((a, b) => Number(a.openedNs - b.openedNs));
  }

  dispose(): Promise<void> {
    return this.capture.dispose();
  }
}
