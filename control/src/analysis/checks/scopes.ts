/** Namespaces and pods: who is in the mesh. */
import { DATAPLANE_MODE, eligibility } from "#lib/eligibility.ts";
import type { Pod } from "#lib/kube/types.ts";
import { waypointWish } from "../../model/waypoints.ts";
import { SYSTEM_NAMESPACES } from "../kinds.ts";
import type { Check } from "./check.ts";

export const checkNamespace: Check = ({ key, own, around }, say) => {
  const facts = own.model.namespaces.get(key);
  if (facts === undefined) return;
  const { name, labels } = facts;
  const mode = labels[DATAPLANE_MODE];
  const wantsSidecars = labels["istio-injection"] === "enabled" || labels["istio.io/rev"] !== undefined;
  const { rootNamespace } = around.model.settings;
  if (mode === undefined && !wantsSidecars && name !== rootNamespace && !SYSTEM_NAMESPACES.has(name)) {
    const how = `kubectl label namespace ${name} ${DATAPLANE_MODE}=ambient`;
    say(
      "IST0102",
      `The namespace is not in the mesh. Run '${how}' to bring it in, or with =none to say that it stays out`,
    );
  }
  if (mode === "ambient" && labels["istio-injection"] === "enabled") {
    say(
      "IST0123",
      `Labels istio-injection=enabled and ${DATAPLANE_MODE}=ambient are both there: pods with a sidecar stay out of the mesh`,
      "metadata.labels",
    );
  }
  const waypoint = waypointWish(labels, name);
  if (waypoint === undefined || waypoint === "none") return;
  if (!around.model.waypoints.isWaypoint(...splitKey(waypoint))) {
    say(
      "IST0101",
      `Referenced waypoint not found: "${waypoint}"; connections to the namespace's services are refused`,
      "metadata.labels",
    );
  }
};

/** `pod` as the API has it: what the model keeps of it does not say all. */
export function checkPod(pod: Pod): Check {
  return ({ key, own, around }, say) => {
    const facts = own.model.pods.get(key);
    if (facts === undefined || facts.tunnel !== "none" || pod.status?.phase !== "Running") return;
    const namespaceLabels = around.model.namespaces.get(`/${facts.namespace}`)?.labels;
    if (!eligibility({ pod, namespaceLabels, excludedNamespaces: [] }).eligible) return;
    say("IST0103", `The pod is meant to be in the mesh, but the agent of node ${facts.node} has not captured it`);
  };
}

function splitKey(key: string): [namespace: string, name: string] {
  const slash = key.indexOf("/");
  return [key.slice(0, slash), key.slice(slash + 1)];
}
