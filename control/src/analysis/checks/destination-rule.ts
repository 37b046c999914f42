import type { DestinationRuleFacts } from "../../l7/istio/destination-rule.ts";
import type { TrafficBlocks, TrafficPolicyFacts } from "../../l7/istio/traffic-policy.ts";
import { hostCovers } from "../../l7/istio/values.ts";
import { selects } from "../../model/selector-index.ts";
import { findService, labelsBehind, type Surroundings, waypointOf } from "../surroundings.ts";
import type { Check, Say } from "./check.ts";

export const checkDestinationRule: Check = ({ key, own, around }, say) => {
  const facts = own.world.destinationRules.all.get(key);
  if (facts === undefined) return;
  checkTls(facts.policy, "spec.trafficPolicy", say);
  for (const [index, { policy }] of [...facts.subsets.values()].entries()) {
    checkTls(policy, `spec.subsets[${index}].trafficPolicy`, say);
  }
  if (facts.selective) {
    say(
      "IST0133",
      "workloadSelector picks clients with sidecars: waypoints leave this DestinationRule out",
      "spec.workloadSelector",
    );
  }
  if (facts.host.startsWith("*")) checkWildcard(facts, around, say);
  else checkHost(facts, around, say);
};

function checkTls(policy: TrafficPolicyFacts | undefined, field: string, say: Say): void {
  if (policy === undefined) return;
  if (isUnverified(policy))
    say("IST0128", "The server's certificate is not verified: insecureSkipVerify is set", `${field}.tls`);
  for (const [port, blocks] of policy.ports) {
    if (!isUnverified(blocks)) continue;
    say(
      "IST0129",
      `The server's certificate is not verified on port ${port}: insecureSkipVerify is set`,
      `${field}.portLevelSettings`,
    );
  }
}

function isUnverified({ tls }: TrafficBlocks): boolean {
  return tls?.kind === "tls" && tls.tls.skipVerify;
}

function checkWildcard({ host }: DestinationRuleFacts, { model }: Surroundings, say: Say): void {
  const entries = [...model.serviceEntries.values()].flatMap(({ definitions }) => definitions);
  const known = [...model.services.values(), ...entries].some(({ hostname }) => hostCovers(host, hostname));
  if (!known) say("IST0174", `No service has a host that "${host}" covers`, "spec.host");
}

function checkHost(facts: DestinationRuleFacts, around: Surroundings, say: Say): void {
  const service = findService(around, facts.host, facts.namespace);
  if (service === undefined) {
    say("IST0174", `No service has the host "${facts.host}"`, "spec.host");
    return;
  }
  if (waypointOf(around, service) === undefined) {
    const text = `${service.source} ${service.namespace}/${service.name} is behind no waypoint, and nobody else executes a DestinationRule; label it istio.io/use-waypoint`;
    say("IST0167", text, "spec.host");
  }
  const behind = labelsBehind(around, service);
  // Without any workload the service is down, which is not the fault of its subsets.
  if (behind.length === 0) return;
  for (const [index, [name, { labels }]] of [...facts.subsets].entries()) {
    if (behind.some((each) => selects(labels, each))) continue;
    const text = Object.entries(labels)
      .map(([label, value]) => `${label}=${value}`)
      .join(",");
    say(
      "IST0173",
      `Subset "${name}" of "${facts.host}" selects no workload: none has ${text}`,
      `spec.subsets[${index}]`,
    );
  }
}
