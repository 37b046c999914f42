/** Which policies are in force where, whoever asks. */

import type { Workload } from "../../../agent/src/state/model.ts";
import type { Target } from "../../../control/src/l7/security/policy-target.ts";
import { keyOfDefinition } from "../../../control/src/model/definition-index.ts";
import type { ServiceDefinition } from "../../../control/src/model/service-definition.ts";
import type { PolicyOpinion } from "./checkpoint.ts";
import { opinionOf, policiesOf } from "./l4-check.ts";
import { opinionAt, targetedPolicies } from "./l7-check.ts";
import type { AgentView, MeshPicture } from "./picture.ts";

/** Nobody: only what a policy is, not what it says of somebody. */
const NOBODY = { sourceIp: "0.0.0.0", destinationIp: "0.0.0.0", port: 0 };

/** Of the agent at a workload. */
export function policiesAtAgent(picture: MeshPicture, view: AgentView, workload: Workload): PolicyOpinion[] {
  return policiesOf(view, workload).map((policy) => ({ ...opinionOf(picture, policy, NOBODY), rule: undefined }));
}

/** Of the waypoint that a service is behind; empty when it is behind none. */
export function policiesAtWaypoint(picture: MeshPicture, service: ServiceDefinition): PolicyOpinion[] {
  return targetedPolicies(picture, serviceTargets(picture, service)).map(opinionAt);
}

/** What policies may be for, to be in force for a service: in the waypoint's order. */
export function serviceTargets({ snapshot }: MeshPicture, service: ServiceDefinition): Target[] {
  const { model } = snapshot;
  const gateway = model.bound.gatewayOfService(keyOfDefinition(service));
  if (gateway === undefined) return [];
  const { source, namespace, name } = service;
  return [...gatewayTargets(snapshot, gateway), { kind: source, namespace, name }];
}

export function gatewayTargets({ model }: MeshPicture["snapshot"], gateway: string): Target[] {
  const [namespace = "", name = ""] = gateway.split("/");
  const gatewayClass = model.gateways.get(gateway)?.className ?? "";
  return [
    { kind: "Gateway", namespace, name },
    { kind: "GatewayClass", namespace: "", name: gatewayClass },
  ];
}
