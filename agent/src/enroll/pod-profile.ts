/** What the engine says of a pod and answers for it: its `baggage`, and the service names that lead to its ports. */
import { joinHostPort } from "#lib/address.ts";
import type { Command, PodId } from "../native.ts";
import { targetPort } from "../route/compile.ts";
import type { MeshView } from "../state/mesh-state.ts";
import type { Workload } from "../state/model.ts";

/** Comma-joined in ambient's order, empty values left out. */
export function baggageOf(workload: Workload): string {
  const members: readonly (readonly [string, string])[] = [
    ["k8s.cluster.name", workload.clusterId],
    ["k8s.namespace.name", workload.namespace],
    [`k8s.${workload.workloadType}.name`, workload.workloadName],
    ["service.name", workload.canonicalName],
    ["service.version", workload.canonicalRevision],
    ["cloud.region", workload.locality.region],
    ["cloud.availability_zone", workload.locality.zone],
  ];
  return members
    .filter(([, value]) => value !== "")
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

/** `host:servicePort` to the pod's own port, for every service of the workload. */
export function hostsOf(workload: Workload, view: MeshView): Record<string, number> {
  const hosts: Record<string, number> = {};
  for (const membership of workload.services) {
    const service = view.services.get(membership.service);
    if (service === undefined) continue;
    for (const [port, declared] of service.ports) {
      const target = targetPort(workload, service.key, port, declared);
      if (target !== undefined) hosts[joinHostPort(service.hostname, port)] = target;
    }
  }
  return hosts;
}

interface Pushed {
  baggage: string;
  hosts: string;
}

/** Tells the engine of changes only. */
export class ProfileSync {
  readonly #view: MeshView;
  readonly #workloadOf: (pod: PodId) => Workload | undefined;
  readonly #pushed = new Map<PodId, Pushed>();

  constructor(view: MeshView, workloadOf: (pod: PodId) => Workload | undefined) {
    this.#view = view;
    this.#workloadOf = workloadOf;
  }

  addPod(pod: PodId): Command[] {
    this.#pushed.set(pod, { baggage: "", hosts: "{}" });
    return this.change();
  }

  removePod(pod: PodId): void {
    this.#pushed.delete(pod);
  }

  change(): Command[] {
    const commands: Command[] = [];
    for (const [pod, pushed] of this.#pushed) {
      const workload = this.#workloadOf(pod);
      if (workload === undefined) continue;
      const baggage = baggageOf(workload);
      if (baggage !== pushed.baggage) commands.push({ op: "set-pod-baggage", pod, baggage });
      const hosts = hostsOf(workload, this.#view);
      const text = JSON.stringify(hosts);
      if (text !== pushed.hosts) commands.push({ op: "set-pod-hosts", pod, hosts });
      pushed.baggage = baggage;
      pushed.hosts = text;
    }
    return commands;
  }
}
