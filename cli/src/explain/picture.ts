/**
 * The mesh as its parts see it: what the control plane derives of the cluster's objects, and what an agent knows of
 * that. Nothing is asked of a running part, so that objects that are only in files can be among them.
 */

import { parseIp } from "#lib/address.ts";
import { eligibility, REDIRECTION } from "#lib/eligibility.ts";
import type { KubeObject, Pod } from "#lib/kube/types.ts";
import { formatSpiffeId } from "#lib/spiffe.ts";
import { podUid } from "#lib/xds/types.ts";
import { LocalPods } from "../../../agent/src/enroll/local-pods.ts";
import { decodeAuthorization } from "../../../agent/src/policy/authorization.ts";
import { decodeAddress } from "../../../agent/src/state/decode.ts";
import { MeshState } from "../../../agent/src/state/mesh-state.ts";
import type { Workload } from "../../../agent/src/state/model.ts";
import { groupOf } from "../../../control/src/analysis/kinds.ts";
import { MeshSnapshot } from "../../../control/src/analysis/mesh-snapshot.ts";
import type { MeshSettings } from "../../../control/src/model/settings.ts";

/** Whether a pod is in the mesh, and if not, why. */
export type Enrolment =
  | { readonly state: "captured" }
  /** It should be, and is not. */
  | { readonly state: "waiting" }
  | { readonly state: "outside"; readonly why: string };

export class MeshPicture {
  readonly settings: MeshSettings;
  readonly snapshot: MeshSnapshot;
  readonly objects: readonly KubeObject[];
  readonly #pods = new Map<string, Pod>();
  readonly #agents = new Map<string, AgentView>();

  constructor(objects: readonly KubeObject[], settings: MeshSettings) {
    this.settings = settings;
    this.objects = objects;
    this.snapshot = new MeshSnapshot(objects, settings);
    for (const object of objects) {
      if (object.kind === "Pod" && groupOf(object) === "") this.#pods.set(keyOf(object), object as Pod);
    }
  }

  pods(): IterableIterator<Pod> {
    return this.#pods.values();
  }

  pod(namespace: string, name: string): Pod | undefined {
    return this.#pods.get(`${namespace}/${name}`);
  }

  enrolment(pod: Pod): Enrolment {
    const namespace = pod.metadata.namespace ?? "";
    const namespaceLabels = this.snapshot.model.namespaces.get(`/${namespace}`)?.labels;
    const verdict = eligibility({ pod, namespaceLabels, excludedNamespaces: [] });
    if (!verdict.eligible) return { state: "outside", why: verdict.why };
    return pod.metadata.annotations?.[REDIRECTION] === "enabled" ? { state: "captured" } : { state: "waiting" };
  }

  /** What the agent of a node knows, and the pods that it captures there. */
  agent(node: string): AgentView {
    const known = this.#agents.get(node);
    if (known !== undefined) return known;
    const view = this.#agentView(node);
    this.#agents.set(node, view);
    return view;
  }

  /** Undefined while it has no address. */
  workloadOf(pod: Pod, { state }: AgentView): Workload | undefined {
    const { namespace = "", name } = pod.metadata;
    return state.workloads.get(podUid(this.settings.clusterId, namespace, name));
  }

  #agentView(node: string): AgentView {
    const { model } = this.snapshot;
    const state = new MeshState({ nodeName: node, clusterId: this.settings.clusterId });
    for (const { message } of model.addresses.values()) {
      const decoded = decodeAddress(message, state.interner);
      if (decoded.kind === "workload") state.setWorkload(decoded.workload);
      else state.setService(decoded.service);
    }
    for (const { message } of model.authorizations.values()) state.setPolicy(decodeAuthorization(message));
    state.commit();
    return { state, pods: this.#captured(node, state) };
  }

  #captured(node: string, state: MeshState): LocalPods {
    const pods = new LocalPods(state);
    let id = 0;
    for (const pod of this.#pods.values()) {
      if (pod.spec?.nodeName !== node || this.enrolment(pod).state !== "captured") continue;
      id++;
      const { namespace = "", name, uid = "" } = pod.metadata;
      const serviceAccount = pod.spec.serviceAccountName || "default";
      const { trustDomain } = this.settings;
      const local = {
        id,
        cookie: BigInt(id),
        uid,
        namespace,
        name,
        serviceAccount,
        addresses: addressesOf(pod),
        identity: formatSpiffeId({ trustDomain, namespace, serviceAccount }),
        dns: true,
        express: false,
      };
      pods.add(local);
      pods.capture(local);
    }
    return pods;
  }
}

/** The mesh as one node's agent has it. */
export interface AgentView {
  readonly state: MeshState;
  readonly pods: LocalPods;
}

export function addressesOf(pod: Pod): string[] {
  const listed = pod.status?.podIPs?.map(({ ip }) => ip) ?? [];
  const texts = listed.length > 0 ? listed : [pod.status?.podIP ?? ""];
  return texts.map(parseIp).filter((ip) => ip !== undefined);
}

export function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}
