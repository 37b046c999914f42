/** Services and ServiceEntries. */

import { AppProtocol } from "#proto/workload_pb.ts";
import { protocolName } from "../../model/app-protocol.ts";
import { keyOf } from "../../model/meta.ts";
import type { ServiceDefinition } from "../../model/service-definition.ts";
import { SYSTEM_NAMESPACES } from "../kinds.ts";
import type { Surroundings } from "../surroundings.ts";
import type { Check, Say } from "./check.ts";

export const checkService: Check = ({ key, own, around }, say) => {
  const definition = own.model.services.get(key);
  if (definition === undefined) return;
  checkWaypoint(definition, around, say);
  if (SYSTEM_NAMESPACES.has(definition.namespace)) return;
  for (const { number, name, appProtocol } of definition.ports) {
    if (appProtocol !== AppProtocol.UNKNOWN) continue;
    const what = name === "" ? `Port ${number} has no name` : `Port ${number} has the name "${name}"`;
    say(
      "IST0118",
      `${what}, which tells no protocol; say appProtocol or begin the name with one (http-${name || "web"})`,
      "spec.ports",
    );
  }
};

export const checkServiceEntry: Check = ({ key, own, around }, say) => {
  const facts = own.model.serviceEntries.get(key);
  if (facts === undefined) return;
  const [first] = facts.definitions;
  if (first === undefined) return;
  checkWaypoint(first, around, say);
  const isAddressed = first.addresses.length > 0 || facts.hostsToAllocate.length > 0;
  for (const { number, appProtocol } of isAddressed ? [] : first.ports) {
    if (appProtocol !== AppProtocol.TCP && appProtocol !== AppProtocol.UNKNOWN) continue;
    say(
      "IST0134",
      `Port ${number} is plain TCP, and without spec.addresses nobody can tell its connections from others`,
      "spec.addresses",
    );
  }
  checkProtocols(facts.definitions, key, around, say);
};

function checkWaypoint(definition: ServiceDefinition, { model }: Surroundings, say: Say): void {
  const { namespace, waypoint, canary } = definition;
  // What the namespace says is told of at the namespace.
  if (waypoint === undefined || waypoint === "none") return;
  const binding = model.waypoints.serviceBinding(namespace, definition);
  if (canary !== undefined && binding?.reason === "WaypointAccepted" && binding.canary === undefined)
    say("IST0133", `Label istio.io/use-waypoint-canary: ${binding.message}`, "metadata.labels");
  if (binding === undefined || binding.reason === "WaypointAccepted") return;
  if (binding.reason === "WaypointMissing")
    say("IST0101", `Referenced waypoint not found: "${waypoint}"; connections are refused`, "metadata.labels");
  else say("IST0133", `Label istio.io/use-waypoint: ${binding.message}`, "metadata.labels");
}

/** One host and port must mean one protocol, whoever looks. */
function checkProtocols(
  definitions: readonly ServiceDefinition[],
  key: string,
  { model }: Surroundings,
  say: Say,
): void {
  const byHost = new Map(definitions.map((definition) => [definition.hostname, definition]));
  for (const other of model.serviceEntries.values()) {
    if (keyOf(other) === key) continue;
    for (const { hostname, ports } of other.definitions) {
      for (const { number, appProtocol } of ports) {
        const own = byHost.get(hostname)?.ports.find((port) => port.number === number);
        if (own === undefined || own.appProtocol === appProtocol) continue;
        const text = `${hostname}:${number} is ${protocolName(own.appProtocol)} here and ${protocolName(appProtocol)} in ServiceEntry ${keyOf(other)}`;
        say("IST0177", text, "spec.ports");
      }
    }
  }
}
