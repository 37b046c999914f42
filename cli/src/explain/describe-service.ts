/** Everything that affects the traffic to a Service or to the host of a ServiceEntry. */
import { serviceKey } from "#lib/xds/types.ts";
import { labelsBehind, type Workloads, waypointOf } from "../../../control/src/analysis/surroundings.ts";
import { parentKey, serviceKindOf } from "../../../control/src/l7/gateway-api/parent-ref.ts";
import { ROUTE_KINDS } from "../../../control/src/l7/gateway-api/route-facts.ts";
import type { DestinationRuleFacts } from "../../../control/src/l7/istio/destination-rule.ts";
import type { HttpMatchFacts, HttpRuleFacts } from "../../../control/src/l7/istio/http-rule.ts";
import { hostCovers } from "../../../control/src/l7/istio/values.ts";
import { protocolName } from "../../../control/src/model/app-protocol.ts";
import { keyOfDefinition } from "../../../control/src/model/definition-index.ts";
import { keyOf } from "../../../control/src/model/meta.ts";
import { selects } from "../../../control/src/model/selector-index.ts";
import type { ServiceDefinition } from "../../../control/src/model/service-definition.ts";
import type { Effect } from "./effect.ts";
import { serviceTargets } from "./in-force.ts";
import { opinionAt, targetedPolicies } from "./l7-check.ts";
import type { MeshPicture } from "./picture.ts";

export function serviceFacts(picture: MeshPicture, service: ServiceDefinition): (readonly [string, string])[] {
  const { snapshot } = picture;
  const behind = labelsBehind(running(snapshot), service).length;
  const ready = [...snapshot.model.pods.inNamespace(service.namespace)].filter(
    (pod) => service.selector !== undefined && selects(service.selector, pod.labels) && pod.healthy,
  ).length;
  const ports = service.ports.map(({ number, target, name, appProtocol }) => {
    const named = name === "" ? "" : ` (${name})`;
    return `${number}${named} → ${target}, ${protocolName(appProtocol)}`;
  });
  return [
    ["Host", service.hostname],
    [
      "Addresses",
      service.addresses.map(({ ip, length }) => (length === undefined ? ip : `${ip}/${length}`)).join(", ") || "none",
    ],
    ["Ports", ports.join("; ") || "none"],
    ["Workloads", service.selector === undefined ? String(behind) : `${behind}, ${ready} of them ready`],
  ];
}

/** What would make pods is none. */
function running({ model }: MeshPicture["snapshot"]): Workloads {
  return { model, templates: [] };
}

/** With a waypoint, what it executes; without one, that nobody does. */
export function serviceEffects(picture: MeshPicture, service: ServiceDefinition): Effect[] {
  const { snapshot } = picture;
  const waypoint = waypointOf(snapshot, service);
  const idle = waypoint === undefined ? "no effect, for the service is behind no waypoint: " : "";
  return [
    ...waypointEffect(picture, service),
    ...routeEffects(picture, service),
    ...virtualServiceEffects(picture, service, waypoint, idle),
    ...destinationRuleEffects(picture, service, idle),
    ...policyEffects(picture, service),
    ...tokenEffects(picture, service),
    ...telemetryEffects(picture, service),
  ];
}

function waypointEffect({ snapshot }: MeshPicture, service: ServiceDefinition): Effect[] {
  const binding = snapshot.model.waypoints.binding("service", service.namespace, service.waypoint);
  return binding === undefined ? [] : [{ kind: "Gateway", name: binding.gateway, does: binding.message }];
}

function routeEffects({ snapshot }: MeshPicture, service: ServiceDefinition): Effect[] {
  const own = parentKey(service.source, service.namespace, service.name);
  return ROUTE_KINDS.flatMap((kind) =>
    [...snapshot.routes.collections[kind].values()].flatMap((route): Effect[] => {
      const isParent = route.parents.some((parent) => {
        const parentKind = serviceKindOf(parent);
        return parentKind !== undefined && parentKey(parentKind, parent.namespace, parent.name) === own;
      });
      if (!isParent) return [];
      const verdicts = snapshot.routes.verdictsOf(kind, keyOf(route)) ?? [];
      const conditions = verdicts.flatMap(({ conditions: each }) => each);
      const accepted = conditions.find(({ type }) => type === "Accepted")?.message ?? "";
      const bad = conditions.filter(({ type, status }) => type !== "Accepted" && status === "False");
      const does = [`${route.rules.length} rule(s): ${accepted}`, ...bad.map(({ message }) => message)].join("; ");
      return [{ kind, name: keyOf(route), does }];
    }),
  );
}

function virtualServiceEffects(
  { snapshot }: MeshPicture,
  service: ServiceDefinition,
  waypoint: string | undefined,
  idle: string,
): Effect[] {
  const { world } = snapshot;
  const exported = world.config.virtualServiceExportTo;
  const inForce = new Set(
    world.virtualServices.forService(service, waypoint?.split("/", 1)[0] ?? service.namespace, exported),
  );
  return [...world.virtualServices.all.values()]
    .filter(({ hosts }) => hosts.some((host) => hostCovers(host, service.hostname)))
    .map((facts) => {
      const rules = world.virtualServices.rulesOf(facts, exported);
      const text = [
        ...rules.map(ruleText),
        ...facts.tls.map(({ destinations }) => `TLS → ${destinations.map(targetText).join(", ")}`),
        ...facts.tcp.map(({ destinations }) => `TCP → ${destinations.map(targetText).join(", ")}`),
      ].join("; ");
      const outranked = inForce.has(facts) ? "" : "not in force for this service: ";
      return { kind: "VirtualService", name: keyOf(facts), does: `${idle || outranked}${text}` };
    });
}

function ruleText({ name, matches, action, traits }: HttpRuleFacts, index: number): string {
  const when = matches.length === 0 ? "everything" : matches.map(matchText).join(" or ");
  const extras = Object.keys(traits).filter((trait) => traits[trait as keyof typeof traits] !== undefined);
  const how = extras.length === 0 ? "" : ` with ${extras.join(", ")}`;
  return `${name === "" ? `#${index}` : name}: ${when} → ${actionText(action)}${how}`;
}

function matchText({ path, method, headers, authority, port }: HttpMatchFacts): string {
  const parts = [
    ...(method?.kind.case === undefined ? [] : [String(method.kind.value)]),
    ...(path?.kind.case === undefined ? [] : [`${path.kind.case} ${path.kind.value}`]),
    ...(authority?.kind.case === undefined ? [] : [`host ${authority.kind.value}`]),
    ...Object.entries(headers).map(([header, { kind }]) => `${header}: ${kind.case} ${kind.value}`),
    ...(port === undefined ? [] : [`port ${port}`]),
  ];
  return parts.join(", ") || "a match";
}

function actionText(action: HttpRuleFacts["action"]): string {
  switch (action.kind) {
    case "route":
      return action.destinations.map(targetText).join(", ");
    case "redirect":
      return "redirect";
    case "direct":
      return `answer ${action.direct.status}`;
    case "delegate":
      return `delegate ${serviceKey(action.namespace, action.name)}`;
  }
}

function targetText(target: {
  readonly host: string;
  readonly subset: string;
  readonly port?: number;
  readonly weight: number;
}): string {
  const subset = target.subset === "" ? "" : ` subset ${target.subset}`;
  const port = target.port === undefined ? "" : `:${target.port}`;
  return `${target.host}${port}${subset}${target.weight > 1 ? ` (weight ${target.weight})` : ""}`;
}

function destinationRuleEffects({ snapshot }: MeshPicture, service: ServiceDefinition, idle: string): Effect[] {
  return [...snapshot.world.destinationRules.all.values()]
    .filter(({ host }) => hostCovers(host, service.hostname))
    .map((facts) => ({
      kind: "DestinationRule",
      name: keyOf(facts),
      does: `${idle}${destinationRuleText(facts, snapshot, service)}`,
    }));
}

function destinationRuleText(
  { policy, subsets }: DestinationRuleFacts,
  snapshot: MeshPicture["snapshot"],
  service: ServiceDefinition,
): string {
  const behind = labelsBehind(running(snapshot), service);
  const parts = Object.entries(policy ?? {}).filter(([name, value]) => value !== undefined && name !== "ports");
  const texts = [
    ...(parts.length === 0 ? [] : [`sets ${parts.map(([name]) => name).join(", ")}`]),
    ...[...(policy?.ports.keys() ?? [])].map((port) => `sets port ${port}`),
    ...[...subsets].map(([name, { labels }]) => {
      const pairs = Object.entries(labels).map(([label, value]) => `${label}=${value}`);
      const count = behind.filter((each) => selects(labels, each)).length;
      return `subset ${name} (${pairs.join(",")}) has ${count} workload(s)`;
    }),
  ];
  return texts.join("; ") || "says nothing";
}

function policyEffects(picture: MeshPicture, service: ServiceDefinition): Effect[] {
  return targetedPolicies(picture, serviceTargets(picture, service)).map((each) => {
    const { action, name, scope, rules, dryRun } = opinionAt(each);
    const asks = rules.length === 0 ? "nothing" : rules.join("; or ");
    return {
      kind: "AuthorizationPolicy",
      name,
      does: `${dryRun ? "would " : ""}${action} at the waypoint, by ${scope}: ${asks}`,
    };
  });
}

function tokenEffects(picture: MeshPicture, service: ServiceDefinition): Effect[] {
  const { policies } = picture.snapshot;
  const names = new Set(serviceTargets(picture, service).flatMap((target) => policies.jwtFor(target)));
  return [...names].map((name) => {
    const issuers = policies.requestAuthentications.get(name)?.rules.map(({ rule }) => rule.issuer) ?? [];
    return {
      kind: "RequestAuthentication",
      name,
      does: `checks tokens of ${issuers.join(", ") || "nobody"}; requests without one pass`,
    };
  });
}

function telemetryEffects(picture: MeshPicture, service: ServiceDefinition): Effect[] {
  const { model, world } = picture.snapshot;
  if (model.bound.gatewayOfService(keyOfDefinition(service)) === undefined) return [];
  const targets = serviceTargets(picture, service).map(({ kind, namespace, name }) => `${kind}/${namespace}/${name}`);
  const root = model.settings.rootNamespace;
  return [...world.telemetry.all.values()].flatMap((facts): Effect[] => {
    if (facts.selective) return [];
    const byTarget = facts.targets?.some(({ kind, namespace, name }) =>
      targets.includes(`${kind}/${namespace}/${name}`),
    );
    const bySpace = facts.targets === undefined && (facts.namespace === service.namespace || facts.namespace === root);
    if (byTarget !== true && !bySpace) return [];
    const parts = (["metrics", "tracing", "logging"] as const).filter((part) => facts[part].length > 0);
    return [
      {
        kind: "Telemetry",
        name: keyOf(facts),
        does: `says something of ${parts.join(", ") || "nothing"} at the waypoint`,
      },
    ];
  });
}
