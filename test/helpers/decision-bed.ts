/** The agent's decisions on a fake engine that evaluates policies, and on a fake kernel that outlives it. */
import { LogRoot } from "#lib/log.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import type { Address } from "#proto/workload_pb.ts";
import { Decisions } from "../../agent/src/decisions.ts";
import { EnginePort } from "../../agent/src/engine-port.ts";
import { type LocalPod, LocalPods } from "../../agent/src/enroll/local-pods.ts";
import type { Command, Policy, PolicyAnswer, PolicyPeer, SocketAddress } from "../../agent/src/native.ts";
import { MeshState } from "../../agent/src/state/mesh-state.ts";
import { Attributor } from "../../agent/src/telemetry/attribution.ts";
import { FakeEngine } from "./fake-addon.ts";
import { FakeKernel } from "./fake-kernel.ts";
import { put } from "./mesh-state.ts";

/** Knows DENY by exact principal, on trial or not; that is enough to tell right from wrong here. */
export class JudgingEngine extends FakeEngine {
  readonly policies = new Map<string, Policy>();
  readonly podPolicies = new Map<number, readonly string[]>();
  /** Called before a batch takes effect. */
  beforeApply: (commands: readonly Command[]) => void = () => undefined;

  override apply(commands: readonly Command[]): void {
    this.beforeApply(commands);
    super.apply(commands);
    for (const command of commands) {
      if (command.op === "set-policy") this.policies.set(command.name, command.policy);
      if (command.op === "remove-policy") this.policies.delete(command.name);
      if (command.op === "set-pod-policies") this.podPolicies.set(command.pod, command.policies);
    }
  }

  override evaluate(pod: number, peer: PolicyPeer): PolicyAnswer {
    const dryRun: string[] = [];
    let denied: string | undefined;
    for (const name of this.podPolicies.get(pod) ?? ["/unknown pod"]) {
      const policy = this.policies.get(name);
      if (policy === undefined) return { allowed: false, policy: name, dryRun: [] };
      if (!matches(policy, peer.identity)) continue;
      if (policy.dryRun) dryRun.push(name);
      else denied ??= name;
    }
    return denied === undefined ? { allowed: true, dryRun } : { allowed: false, policy: denied, dryRun };
  }
}

function matches({ rules }: Policy, identity: string | undefined): boolean {
  const principal = identity?.slice("spiffe://".length);
  return rules.some((clauses) =>
    clauses.every((all) => all.some(({ principals }) => principals.some(({ value }) => value === principal))),
  );
}

export class DecisionBed {
  readonly kernel: FakeKernel;
  readonly engine = new JudgingEngine();
  readonly state = new MeshState({ nodeName: "node-1", clusterId: "Kubernetes" });
  readonly pods: LocalPods;
  readonly decisions: Decisions;
  readonly lines: string[] = [];

  /** Not synced, and without pods. */
  constructor(kernel = new FakeKernel()) {
    this.kernel = kernel;
    this.pods = new LocalPods(this.state);
    const log = new LogRoot({
      format: "plain",
      filter: "info",
      destination: { write: (line) => this.lines.push(line), flushSync: () => undefined },
    });
    this.decisions = new Decisions({
      state: this.state,
      pods: this.pods,
      engine: this.engine,
      port: new EnginePort(this.engine, log.logger("agent")),
      plane: kernel,
      attributor: new Attributor(this.state, this.pods, ""),
      lookUpHost: () => undefined,
      network: "",
      clusterId: "Kubernetes",
      nodeName: "node-1",
      log,
    });
    this.state.onChange(({ keys }) => this.decisions.meshChanged(keys));
  }

  /** Synced, with the pods that were there at the start. */
  start(pods: readonly LocalPod[], addresses: readonly Address[] = []): this {
    for (const pod of pods) this.enroll(pod);
    this.decisions.direct.podsKnown();
    for (const address of addresses) put(this.state, address);
    this.state.markSynced(ADDRESS_TYPE);
    this.state.markSynced(AUTHORIZATION_TYPE);
    this.state.commit();
    return this;
  }

  /** In the enroller's order. */
  enroll(pod: LocalPod): void {
    this.pods.add(pod);
    this.decisions.podAdded(pod);
    this.kernel.capture({ netnsPath: `/fake/${pod.cookie}`, express: pod.express });
    this.pods.capture(pod);
    this.decisions.podCaptured(pod);
  }

  leave(pod: LocalPod, kept = false): void {
    if (!kept) this.kernel.release(pod.cookie);
    this.pods.letGo(pod);
    this.decisions.podLetGo(pod, kept);
    this.decisions.podRemoved(pod);
    this.pods.delete(pod.id);
  }

  put(address: Address): void {
    put(this.state, address);
    this.state.commit();
  }

  /** A connection of the pod that the kernel knows no route for. */
  miss(pod: LocalPod, destination: SocketAddress): void {
    this.decisions.routesMissed([{ pod: pod.id, destination }]);
  }

  close(): void {
    this.decisions.direct.close();
  }
}
