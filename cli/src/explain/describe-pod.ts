/** Everything that affects the traffic of a pod. */
import type { Pod } from "#lib/kube/types.ts";
import { formatSpiffeId } from "#lib/spiffe.ts";
import { keyOfDefinition } from "../../../control/src/model/definition-index.ts";
import type { MeshModel } from "../../../control/src/model/mesh-model.ts";
import { keyOf, type Labels } from "../../../control/src/model/meta.ts";
import { effectiveMode, oldest, type PeerAuthenticationFacts } from "../../../control/src/model/peer-authentication.ts";
import { selects } from "../../../control/src/model/selector-index.ts";
import type { ServiceDefinition } from "../../../control/src/model/service-definition.ts";
import { waypointWish } from "../../../control/src/model/waypoints.ts";
import { serviceEffects } from "./describe-service.ts";
import type { Effect } from "./effect.ts";
import { policiesAtAgent } from "./in-force.ts";
import { addressesOf, type Enrolment, type MeshPicture } from "./picture.ts";

export function podFactsText(picture: MeshPicture, pod: Pod): (readonly [string, string])[] {
  const { namespace = "" } = pod.metadata;
  const serviceAccount = pod.spec?.serviceAccountName || "default";
  const { trustDomain } = picture.settings;
  return [
    ["Node", pod.spec?.nodeName ?? "none yet"],
    ["Addresses", addressesOf(pod).join(", ") || "none yet"],
    ["Mesh", enrolmentText(picture.enrolment(pod))],
    ["Identity", formatSpiffeId({ trustDomain, namespace, serviceAccount })],
    ["Mutual TLS", modeText(picture.snapshot.model, pod)],
  ];
}

export function enrolmentText(enrolment: Enrolment): string {
  switch (enrolment.state) {
    case "captured":
      return "in the mesh, captured by its node's agent";
    case "waiting":
      return "to be in the mesh, but not captured yet: see the log of its node's agent";
    case "outside":
      return `outside: ${enrolment.why}`;
  }
}

function modeText({ peerAuthentications, settings }: MeshModel, pod: Pod): string {
  const found = peerAuthenticationsOf(peerAuthentications.values(), settings.rootNamespace, pod);
  let mode = effectiveMode(found.mesh, "PERMISSIVE");
  for (const facts of [found.namespace, found.workload]) mode = effectiveMode(facts, mode);
  const { workload } = found;
  const ports = [...(workload?.portModes ?? [])].map(([port, own]) => `port ${port} ${own}`);
  const text = mode === "STRICT" ? "STRICT: who has no identity is refused" : "PERMISSIVE: plaintext is taken too";
  return [text, ...ports].join("; ");
}

interface PeerAuthentications {
  readonly mesh: PeerAuthenticationFacts | undefined;
  readonly namespace: PeerAuthenticationFacts | undefined;
  readonly workload: PeerAuthenticationFacts | undefined;
}

/** Of each level the oldest counts alone. */
function peerAuthenticationsOf(all: Iterable<PeerAuthenticationFacts>, root: string, pod: Pod): PeerAuthentications {
  const { namespace = "", labels = {} } = pod.metadata;
  const list = [...all];
  const whole = (where: string) =>
    oldest(list.filter((each) => each.namespace === where && each.selector === undefined));
  const selecting = list.filter(
    (each) => each.namespace === namespace && each.selector !== undefined && selects(each.selector, labels),
  );
  return {
    mesh: whole(root),
    namespace: namespace === root ? undefined : whole(namespace),
    workload: oldest(selecting),
  };
}

export function podEffects(picture: MeshPicture, pod: Pod): Effect[] {
  const { snapshot } = picture;
  const { namespace = "", labels = {} } = pod.metadata;
  const services = servicesOf(snapshot.model, namespace, labels);
  const ofServices = services.flatMap((service) => [
    serviceEffect(picture, service),
    ...serviceEffects(picture, service),
  ]);
  return distinct([
    ...namespaceEffect(picture, namespace),
    ...peerEffects(picture, pod),
    ...policyEffects(picture, pod),
    ...waypointEffect(picture, namespace, labels),
    ...ofServices,
  ]);
}

export function servicesOf(model: MeshModel, namespace: string, labels: Labels): ServiceDefinition[] {
  const entries = [...model.serviceEntries.inNamespace(namespace)].flatMap(({ definitions }) => definitions);
  return [...model.services.inNamespace(namespace), ...entries].filter(
    ({ selector }) => selector !== undefined && selects(selector, labels),
  );
}

function serviceEffect({ snapshot }: MeshPicture, service: ServiceDefinition): Effect {
  const ports = service.ports.map(({ number, target }) => `${number} → ${target}`).join(", ");
  const gateway = snapshot.model.bound.gatewayOfService(keyOfDefinition(service));
  const way = gateway === undefined ? "" : `, by way of waypoint ${gateway}`;
  return {
    kind: service.source,
    name: keyOf(service),
    does: `sends traffic for ${service.hostname} here (${ports})${way}`,
  };
}

function namespaceEffect({ snapshot }: MeshPicture, namespace: string): Effect[] {
  const labels = snapshot.model.namespaces.get(`/${namespace}`)?.labels ?? {};
  const said = Object.entries(labels).filter(([label]) => label.startsWith("istio.io/") || label === "istio-injection");
  if (said.length === 0) return [];
  return [
    {
      kind: "Namespace",
      name: namespace,
      does: `says ${said.map(([label, value]) => `${label}=${value}`).join(", ")}`,
    },
  ];
}

function peerEffects({ snapshot }: MeshPicture, pod: Pod): Effect[] {
  const { peerAuthentications, settings } = snapshot.model;
  const { mesh, namespace, workload } = peerAuthenticationsOf(
    peerAuthentications.values(),
    settings.rootNamespace,
    pod,
  );
  const levels = [
    ["the mesh", mesh],
    ["the namespace", namespace],
    ["selected workloads", workload],
  ] as const;
  return levels.flatMap(([level, facts]) => {
    if (facts === undefined) return [];
    const ports = [...facts.portModes].map(([port, mode]) => `, port ${port} ${mode}`).join("");
    return [{ kind: "PeerAuthentication", name: keyOf(facts), does: `sets mode ${facts.mode} for ${level}${ports}` }];
  });
}

/** What PeerAuthentication becomes is told of as such. */
function policyEffects(picture: MeshPicture, pod: Pod): Effect[] {
  const view = picture.agent(pod.spec?.nodeName ?? "");
  const workload = picture.workloadOf(pod, view);
  if (workload === undefined) return [];
  return policiesAtAgent(picture, view, workload)
    .filter(({ remark }) => !remark.startsWith("PeerAuthentication"))
    .map(({ action, name, scope, rules, remark, dryRun }) => {
      const asks = rules.length === 0 ? "nothing" : rules.join("; or ");
      const note = remark === "" ? "" : ` (${remark})`;
      return {
        kind: "AuthorizationPolicy",
        name,
        does: `${dryRun ? "would " : ""}${action} at the agent, for ${scope}: ${asks}${note}`,
      };
    });
}

function waypointEffect({ snapshot }: MeshPicture, namespace: string, labels: Labels): Effect[] {
  const binding = snapshot.model.waypoints.binding("workload", namespace, waypointWish(labels, namespace));
  if (binding === undefined) return [];
  return [{ kind: "Gateway", name: binding.gateway, does: `for what dials the pod's own address: ${binding.message}` }];
}

function distinct(effects: readonly Effect[]): Effect[] {
  return [...new Map(effects.map((effect) => [JSON.stringify(effect), effect])).values()];
}
