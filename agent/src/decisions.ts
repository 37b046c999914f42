/**
 * What follows from the mesh and from this node's pods, brought to the engine and to BPF in the order that keeps both
 * right: what BPF decided by policies that change counts no more before the engine hears of them; routes come after the
 * policies; nobody waits for BPF to be told something new.
 */
import type { LogRoot } from "#lib/log.ts";
import { DirectPath } from "./direct/direct-path.ts";
import type { EnginePort } from "./engine-port.ts";
import { keysOfPod, type LocalPod, type LocalPods } from "./enroll/local-pods.ts";
import { type NodePlace, newbornWorkload } from "./enroll/newborn-workload.ts";
import { ProfileSync } from "./enroll/pod-profile.ts";
import type { BpfPlane, Command, Engine, PodId } from "./native.ts";
import { PolicySync } from "./policy/policy-sync.ts";
import type { HostLookup } from "./route/compile.ts";
import { RouteBook, type RouteRequest } from "./route/route-book.ts";
import type { MeshState } from "./state/mesh-state.ts";
import type { Workload } from "./state/model.ts";
import type { Attributor } from "./telemetry/attribution.ts";

export interface DecisionsOptions extends NodePlace {
  readonly state: MeshState;
  readonly pods: LocalPods;
  readonly engine: Pick<Engine, "evaluate">;
  readonly port: EnginePort;
  readonly plane: BpfPlane;
  readonly attributor: Attributor;
  readonly lookUpHost: HostLookup;
  readonly log: LogRoot;
}

export class Decisions {
  readonly direct: DirectPath;
  readonly routes: RouteBook;
  readonly #policies: PolicySync;
  readonly #profiles: ProfileSync;
  readonly #port: EnginePort;

  constructor(options: DecisionsOptions) {
    const { state, pods, port } = options;
    this.#port = port;
    this.#policies = new PolicySync({ policies: state.policies, workloadOf: pods.workloadOf });
    this.#profiles = new ProfileSync(state, pods.workloadOf);
    this.direct = new DirectPath({
      ...options,
      policies: this.#policies,
      compile: (requests) => this.#compile(requests),
    });
    this.routes = new RouteBook({
      view: state,
      workloadOf: sourceOf(options),
      keyOf: pods.keyOf,
      lookUpHost: options.lookUpHost,
      // BPF has to know of policies what only the control plane can tell.
      localSource: (pod) => (pods.workloadOf(pod) === undefined ? undefined : this.direct.localSource(pod)),
      onDirect: this.direct.setRoute,
    });
  }

  /** What the control plane has told us has changed, policies too. */
  meshChanged(keys: ReadonlySet<string>): void {
    this.#decide(this.#policies.change());
    this.#port.push(this.#profiles.change());
    this.reroute(keys);
    this.direct.settle();
  }

  /** Routes that rest on these keys. */
  reroute(keys: Iterable<string>): void {
    this.#port.push(this.routes.change(keys));
    this.direct.flush();
  }

  /** The engine has connections that wait for these routes. */
  routesMissed(requests: readonly RouteRequest[]): void {
    this.#compile(requests);
    this.direct.flush();
  }

  podAdded(pod: LocalPod): void {
    this.#decide(this.#policies.addPod(pod.id));
    this.#port.push(this.#profiles.addPod(pod.id));
  }

  podCaptured(pod: LocalPod): void {
    this.reroute(keysOfPod(pod));
    this.direct.captured(pod);
  }

  /** `kept`: the kernel goes on capturing it. */
  podLetGo(pod: LocalPod, kept: boolean): void {
    this.reroute(keysOfPod(pod));
    this.direct.letGo(pod, kept);
  }

  podRemoved(pod: LocalPod): void {
    this.routes.forgetPod(pod.id);
    this.#profiles.removePod(pod.id);
    this.#port.push(this.#policies.removePod(pod.id));
  }

  #compile(requests: readonly RouteRequest[]): void {
    this.#port.push(requests.flatMap(({ pod, destination }) => this.routes.miss(pod, destination)));
  }

  #decide(commands: readonly Command[]): void {
    this.direct.expire(this.#policies.affectedBy(commands));
    this.#port.push(commands);
  }
}

function sourceOf({ state, pods, ...place }: DecisionsOptions): (pod: PodId) => Workload | undefined {
  return (id) => {
    const pod = pods.get(id);
    if (pod === undefined || !state.synced) return undefined;
    return pods.find(pod) ?? newbornWorkload(pod, place);
  };
}
