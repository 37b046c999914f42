/** What BPF would do by what it has been told: routes, verdicts with their epochs, and who is open. */
import type {
  BpfPlane,
  DirectCommand,
  DirectConnection,
  DirectEndpoint,
  NetnsCookie,
  SocketAddress,
  VerdictKey,
} from "../../agent/src/native.ts";
import { directEvents, type EventFixture } from "./direct-event.ts";
import { FakeBpf } from "./fake-addon.ts";

interface KernelPod {
  epoch: number;
  open: boolean;
}

interface KernelRoute {
  readonly pod: NetnsCookie;
  readonly destination: SocketAddress;
  readonly endpoints: readonly DirectEndpoint[];
}

/** Survives the agent: a new one is given the same. */
export class FakeKernel extends FakeBpf implements BpfPlane {
  readonly pods = new Map<NetnsCookie, KernelPod>();
  readonly routesHeld = new Map<string, KernelRoute>();
  readonly verdicts = new Map<string, { readonly key: VerdictKey; readonly epoch: number; readonly allow: boolean }>();
  /** Connections that are open, and those that were ended. */
  open: EventFixture[] = [];
  ended: DirectConnection[] = [];
  plainForMs: number[] = [];

  override capture(pod: Parameters<FakeBpf["capture"]>[0]): bigint {
    const cookie = super.capture(pod);
    if (!this.pods.has(cookie)) this.pods.set(cookie, { epoch: 0, open: false });
    return cookie;
  }

  override release(cookie: bigint): void {
    super.release(cookie);
    this.pods.delete(cookie);
    for (const [id, route] of this.routesHeld) if (route.pod === cookie) this.routesHeld.delete(id);
    for (const [id, { key }] of this.verdicts) {
      if (key.source === cookie || key.destination === cookie) this.verdicts.delete(id);
    }
  }

  override direct(commands: readonly DirectCommand[]): string[] {
    super.direct(commands);
    return commands.flatMap((command) => this.#carryOut(command) ?? []);
  }

  override routes(): KernelRoute[] {
    return [...this.routesHeld.values()];
  }

  override directConnections(): Uint8Array {
    return directEvents(...this.open);
  }

  override endDirect(connections: readonly DirectConnection[]): number {
    this.ended.push(...connections);
    this.open = this.open.filter(
      ({ source }) => !connections.some((gone) => gone.source.ip === source?.ip && gone.source.port === source.port),
    );
    return connections.length;
  }

  override permitPlain(forMs: number): void {
    this.plainForMs.push(forMs);
  }

  /** What a connection may be sent to; undefined: it asks the agent. */
  endpoints(pod: NetnsCookie, destination: SocketAddress): readonly DirectEndpoint[] | undefined {
    return this.routesHeld.get(routeId(pod, destination))?.endpoints;
  }

  /** A verdict that counts; undefined: it asks the agent. */
  verdict(key: VerdictKey): boolean | undefined {
    const held = this.verdicts.get(verdictId(key));
    return held !== undefined && held.epoch === this.pods.get(key.destination)?.epoch ? held.allow : undefined;
  }

  #carryOut(command: DirectCommand): string | undefined {
    switch (command.op) {
      case "set-route":
        this.routesHeld.set(routeId(command.pod, command.destination), command);
        return undefined;
      case "remove-route":
        this.routesHeld.delete(routeId(command.pod, command.destination));
        return undefined;
      case "set-verdict": {
        const { verdict: key, allow } = command;
        const epoch = this.pods.get(key.destination)?.epoch;
        if (epoch === undefined) return `verdict on pod ${key.source} to pod ${key.destination}: not captured`;
        this.verdicts.set(verdictId(key), { key, epoch, allow });
        return undefined;
      }
      case "remove-verdict":
        this.verdicts.delete(verdictId(command.verdict));
        return undefined;
      case "expire-verdicts":
        return this.#change(command.pod, (pod) => {
          pod.epoch++;
        });
      case "set-open":
        return this.#change(command.pod, (pod) => {
          pod.open = command.open;
        });
    }
  }

  #change(cookie: NetnsCookie, change: (pod: KernelPod) => void): string | undefined {
    const pod = this.pods.get(cookie);
    if (pod === undefined) return `pod ${cookie} is not captured`;
    change(pod);
    return undefined;
  }
}

function routeId(pod: NetnsCookie, { ip, port }: SocketAddress): string {
  return `${pod}|${ip}|${port}`;
}

function verdictId({ source, destination, port, family }: VerdictKey): string {
  return `${source}|${destination}|${port}|${family}`;
}
