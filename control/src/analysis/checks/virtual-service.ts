import { serviceKey } from "#lib/xds/types.ts";
import type { HostPort, HttpRuleFacts } from "../../l7/istio/http-rule.ts";
import { hostCovers, isVisible } from "../../l7/istio/values.ts";
import { MESH_GATEWAY, type VirtualServiceFacts } from "../../l7/istio/virtual-service.ts";
import { keyOfDefinition } from "../../model/definition-index.ts";
import type { ServiceDefinition } from "../../model/service-definition.ts";
import { findService, type Surroundings, waypointOf } from "../surroundings.ts";
import type { Check, Say } from "./check.ts";
import { unreachableHttp, unreachableStreams } from "./unreachable-rules.ts";

export const checkVirtualService: Check = ({ key, own, around }, say) => {
  const facts = own.world.virtualServices.all.get(key);
  // What could not be read is told of as invalid.
  if (facts === undefined) return;
  checkGateways(facts, around, say);
  for (const [index, rule] of facts.http.entries()) checkHttpRule(facts, rule, `spec.http[${index}]`, around, say);
  for (const part of ["tls", "tcp"] as const) {
    for (const [index, { destinations }] of facts[part].entries()) {
      for (const each of destinations) checkDestination(facts, each, `spec.${part}[${index}].route`, around, say);
    }
    unreachableStreams(facts[part], `spec.${part}`, say);
  }
  unreachableHttp(facts.http, say);
  if (facts.hosts.length > 0 && facts.gateways.includes(MESH_GATEWAY)) checkEffect(facts, around, say);
};

function checkGateways({ gateways }: VirtualServiceFacts, { ingressGateways }: Surroundings, say: Say): void {
  for (const [index, gateway] of gateways.entries()) {
    if (gateway === MESH_GATEWAY || ingressGateways === undefined || ingressGateways.has(gateway)) continue;
    say("IST0101", `Referenced gateway not found: "${gateway}"`, `spec.gateways[${index}]`);
  }
}

function checkHttpRule(
  facts: VirtualServiceFacts,
  { action, traits, matches }: HttpRuleFacts,
  field: string,
  around: Surroundings,
  say: Say,
): void {
  if (action.kind === "delegate") checkDelegate(facts, action, field, around, say);
  const targets = action.kind === "route" ? action.destinations : [];
  for (const target of targets) checkDestination(facts, target, `${field}.route`, around, say);
  for (const mirror of traits.mirrors ?? []) checkDestination(facts, mirror, `${field}.mirror`, around, say);
  for (const [index, match] of matches.entries()) {
    if (Object.keys(match.sourceLabels).length === 0) continue;
    const text = "A waypoint cannot tell the labels of a client: a match with sourceLabels never holds there";
    say("IST0133", text, `${field}.match[${index}].sourceLabels`);
  }
}

function checkDelegate(
  facts: VirtualServiceFacts,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  field: string,
  { world }: Surroundings,
  say: Say,
): void {
  const delegate = world.virtualServices.all.get(serviceKey(namespace, name));
  if (delegate === undefined) {
    say("IST0101", `Referenced delegate not found: "${namespace}/${name}"`, `${field}.delegate`);
  } else if (delegate.hosts.length > 0) {
    say("IST0133", `${namespace}/${name} has hosts of its own and cannot be a delegate: the rule is left out`, field);
  } else if (!isVisible(delegate, facts.namespace, world.config.virtualServiceExportTo)) {
    say("IST0133", `${namespace}/${name} is not exported to namespace ${facts.namespace}: the rule is left out`, field);
  }
}

function checkDestination(
  facts: VirtualServiceFacts,
  { host, subset, port }: HostPort,
  field: string,
  around: Surroundings,
  say: Say,
): void {
  const service = findService(around, host, facts.namespace);
  if (service === undefined) {
    say("IST0101", `Referenced host not found: "${host}"`, field);
    return;
  }
  const { ports } = service;
  if (port === undefined && ports.length > 1) {
    const numbers = ports.map(({ number }) => number).join(", ");
    say("IST0112", `The destination "${host}" has several ports (${numbers}); the rule must choose one`, field);
  } else if (port !== undefined && !ports.some(({ number }) => number === port)) {
    say("IST0101", `Referenced port not found: "${host}:${port}"`, field);
  }
  if (subset !== "" && !hasSubset(facts, service, host, subset, around)) {
    say("IST0101", `Referenced host+subset in destinationrule not found: "${host}+${subset}"`, field);
  }
}

/** As any client may see it: the waypoint's namespace is the VirtualService's or the service's. */
function hasSubset(
  facts: VirtualServiceFacts,
  service: ServiceDefinition,
  host: string,
  subset: string,
  { model, world }: Surroundings,
): boolean {
  const root = model.settings.rootNamespace;
  return [facts.namespace, service.namespace].some((client) => {
    const rule = world.destinationRules.forHost(
      host,
      { client, service: service.namespace, root },
      world.config.destinationRuleExportTo,
    );
    return rule?.subsets.has(subset) === true;
  });
}

/** Whether any waypoint executes it, and whether what it needs of the services behind it is there. */
function checkEffect(facts: VirtualServiceFacts, around: Surroundings, say: Say): void {
  const services = servicesOf(facts, around);
  const [first] = services;
  if (first === undefined) {
    say(
      "IST0167",
      `No service has a host of this VirtualService (${facts.hosts.join(", ")}): it has no effect`,
      "spec.hosts",
    );
    return;
  }
  const bound = services.filter((service) => waypointOf(around, service) !== undefined);
  if (bound.length === 0) {
    const text = `No service of this VirtualService is behind a waypoint, and nobody else executes it; label ${first.source} ${first.namespace}/${first.name} istio.io/use-waypoint`;
    say("IST0167", text, "spec.hosts");
    return;
  }
  const counts = bound.some((service) => {
    const waypointNamespace = waypointOf(around, service)?.split("/", 1)[0];
    return facts.namespace === service.namespace || facts.namespace === waypointNamespace;
  });
  if (!counts) {
    say(
      "IST0167",
      "At a waypoint VirtualServices count from the service's namespace or the waypoint's: this one has no effect",
    );
  }
  checkClaims(facts, bound, around, say);
}

function servicesOf({ hosts }: VirtualServiceFacts, { model }: Surroundings): ServiceDefinition[] {
  const exact = new Set(hosts);
  const wildcards = hosts.filter((host) => host.startsWith("*"));
  const isMeant = ({ hostname }: ServiceDefinition) =>
    exact.has(hostname) || wildcards.some((host) => hostCovers(host, hostname));
  const entries = [...model.serviceEntries.values()].flatMap(({ definitions }) => definitions);
  return [...model.services.values(), ...entries].filter(isMeant);
}

function checkClaims(
  facts: VirtualServiceFacts,
  services: readonly ServiceDefinition[],
  { policies, model }: Surroundings,
  say: Say,
): void {
  const without = services.find((service) => {
    const [namespace = "", name = ""] = model.bound.gatewayOfService(keyOfDefinition(service))?.split("/") ?? [];
    const targets = [
      { kind: service.source, namespace: service.namespace, name: service.name },
      { kind: "Gateway" as const, namespace, name },
      {
        kind: "GatewayClass" as const,
        namespace: "",
        name: model.gateways.get(`${namespace}/${name}`)?.className ?? "",
      },
    ];
    return targets.every((target) => policies.jwtFor(target).length === 0);
  });
  if (without === undefined) return;
  for (const [index, { matches }] of facts.http.entries()) {
    if (!matches.some(({ claims }) => claims.length > 0)) continue;
    const what = `${without.source} ${without.namespace}/${without.name}`;
    say(
      "IST0149",
      `The rule matches claims of tokens, but no RequestAuthentication is for ${what}`,
      `spec.http[${index}]`,
    );
  }
}
