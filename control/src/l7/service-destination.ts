/** The Destination of a service: what happens on each of its ports. */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  Chain_Protocol,
  ChainSchema,
  DestinationPortSchema,
  DestinationSchema,
  type RetryPolicy,
  type Route,
  type TcpRoute,
  type TlsRoute,
  VirtualHostSchema,
} from "#proto/l7_pb.ts";
import { AppProtocol } from "#proto/workload_pb.ts";
import { keyOf } from "../model/meta.ts";
import type { DefinitionPort, ServiceDefinition } from "../model/service-definition.ts";
import type { ClusterNamer, Destination } from "./destination.ts";
import type { PortLimits } from "./envoy-filter/rate-limits.ts";
import type { HttpCandidate } from "./gateway-api/http-routing.ts";
import type { MeshRouting } from "./gateway-api/mesh-routes.ts";
import type { RoutingContext } from "./gateway-api/routing-context.ts";
import { compileHttpRule, matchesOf } from "./http-routes.ts";
import { isCatchAll } from "./istio/http-match.ts";
import type { HostPort, HttpRuleFacts } from "./istio/http-rule.ts";
import type { VirtualServiceFacts } from "./istio/virtual-service.ts";
import type { NamedCluster } from "./program-clusters.ts";
import { type EncodedRoutes, encodeHostRoutes, encodeRoutes, type RouteGroupSink } from "./route-groups.ts";
import { type CachedRule, RuleCache, type RuleInputs, type RunContent } from "./rule-cache.ts";
import { compileTcpRule, compileTlsRule } from "./stream-routes.ts";
import { Rope } from "./wire.ts";

/** Servers speak first there: nobody may wait for a client's first bytes. */
const SERVER_FIRST_PORTS = new Set([25, 53, 3_306, 27_017]);
const DESTINATION_PORTS = 6;
const PORT_CHAIN = 2;
const CHAIN_HTTP = 2;
const ROUTES_HOSTS = 1;
const NOTHING: RuleInputs = { clusters: [], key: "", encode: () => ({ messages: [], digest: "" }) };

export interface DestinationContext {
  readonly virtualServices: readonly VirtualServiceFacts[];
  rulesOf(facts: VirtualServiceFacts): readonly HttpRuleFacts[];
  readonly retry: RetryPolicy | null;
  readonly policies: readonly string[];
  readonly jwt: readonly string[];
  /** Empty: the waypoint's. */
  readonly telemetry: string;
  limits(port: number): PortLimits;
  gatewayRouting(port: number): MeshRouting | undefined;
  name(target: HostPort, listenerPort: number, tcp: boolean): NamedCluster;
  nameOf(destination: Destination): NamedCluster;
  /** Notes that the destination sends requests there. */
  use(cluster: NamedCluster): void;
  hashes(target: HostPort): boolean;
  /** Another object once `name`, `nameOf`, `hashes` or the services behind routes may be others. */
  readonly naming: object;
  readonly cache: RuleCache;
  readonly groups: RouteGroupSink;
}

export function encodeServiceDestination(
  name: string,
  definition: ServiceDefinition,
  context: DestinationContext,
): Uint8Array {
  const head = toBinary(
    DestinationSchema,
    create(DestinationSchema, {
      name,
      namespace: definition.namespace,
      hostname: definition.hostname,
      serviceName: definition.name,
      addresses: definition.addresses.filter(({ length }) => length === undefined).map(({ ip }) => ip),
    }),
  );
  const rope = new Rope().bytes(head);
  for (const port of definition.ports) {
    const entry = new Rope()
      .bytes(toBinary(DestinationPortSchema, create(DestinationPortSchema, { port: port.number })))
      .field(PORT_CHAIN, encodeChain(definition, port, context));
    rope.field(DESTINATION_PORTS, entry);
  }
  return rope.finish();
}

/** By what the port is declared to speak. */
export function protocolOf(port: Pick<DefinitionPort, "number" | "appProtocol">): Chain_Protocol {
  switch (port.appProtocol) {
    case AppProtocol.HTTP11:
    case AppProtocol.HTTP2:
    case AppProtocol.GRPC:
      return Chain_Protocol.HTTP;
    case AppProtocol.TLS:
      return Chain_Protocol.TLS;
    case AppProtocol.TCP:
      return Chain_Protocol.TCP;
    default:
      return SERVER_FIRST_PORTS.has(port.number) ? Chain_Protocol.TCP : Chain_Protocol.SNIFF;
  }
}

interface RoutesContext extends DestinationContext {
  encode(routes: readonly Route[]): EncodedRoutes;
}

function encodeChain(definition: ServiceDefinition, port: DefinitionPort, context: DestinationContext): Rope {
  const routing = context.gatewayRouting(port.number);
  const declared = protocolOf(port);
  // Whoever attaches an HTTP route to a port says that it is one of HTTP.
  const protocol = routing?.family === "http" && declared !== Chain_Protocol.SNIFF ? Chain_Protocol.HTTP : declared;
  const speaksHttp = protocol === Chain_Protocol.HTTP || protocol === Chain_Protocol.SNIFF;
  const speaksStreams = protocol !== Chain_Protocol.HTTP;
  const limits = context.limits(port.number);
  const chain = create(ChainSchema, {
    protocol,
    tls: speaksStreams ? tlsRoutes(port, routing, context) : [],
    tcp: speaksStreams ? tcpRoutes(definition, port, routing, context) : [],
    policies: [...context.policies],
    jwt: [...context.jwt],
    telemetry: context.telemetry,
    ...(limits.chain === undefined || !speaksHttp ? {} : { rateLimits: limits.chain }),
  });
  const rope = new Rope().bytes(toBinary(ChainSchema, chain));
  if (!speaksHttp) return rope;
  const host = new Rope().bytes(
    toBinary(VirtualHostSchema, create(VirtualHostSchema, { name: `inbound|http|${port.number}`, domains: ["*"] })),
  );
  // What has limits of its own is not as it is elsewhere, and nothing of it is kept.
  const routes: RoutesContext =
    limits.ofRoute === undefined
      ? { ...context, encode: encodeRoutes }
      : {
          ...context,
          cache: new RuleCache(),
          encode: (all) => encodeRoutes(all.map(limits.ofRoute as (route: Route) => Route)),
        };
  encodeHostRoutes(host, [...httpRoutes(definition, port, routing, routes)], context.groups);
  return rope.field(CHAIN_HTTP, new Rope().field(ROUTES_HOSTS, host));
}

function* httpRoutes(
  definition: ServiceDefinition,
  port: DefinitionPort,
  routing: MeshRouting | undefined,
  context: RoutesContext,
): Generator<EncodedRoutes> {
  if (routing?.family === "http") {
    for (const route of routing.routes) {
      const cached = encodeCandidate(route, routing.context, context);
      for (const each of cached.clusters) context.use(each);
      yield cached.encoded;
    }
    return;
  }
  let some = false;
  for (const facts of context.virtualServices) {
    const rules = context.rulesOf(facts);
    const run = context.cache.run(facts, port.number, rules, context.naming, () =>
      encodeRun(rules, port, `VirtualService/${keyOf(facts)}`, context),
    );
    for (const each of run.clusters) context.use(each);
    yield* run.encoded;
    if (run.ends) return;
    some ||= run.encoded.length > 0;
  }
  if (some) return;
  const own = ruleEncoder(port, "", context)(defaultRule(definition.hostname));
  for (const each of own.clusters) context.use(each);
  yield own.encoded;
}

/** The rules of one VirtualService, up to one that lets nothing past. */
function encodeRun(
  rules: readonly HttpRuleFacts[],
  port: DefinitionPort,
  origin: string,
  context: RoutesContext,
): RunContent {
  const encoded: EncodedRoutes[] = [];
  const clusters = new Map<string, NamedCluster>();
  const encode = ruleEncoder(port, origin, context);
  for (const rule of rules) {
    const cached = encode(rule);
    if (cached.encoded.messages.length === 0) continue;
    encoded.push(cached.encoded);
    for (const each of cached.clusters) clusters.set(each.name, each);
    if (cached.ends) return { encoded, clusters: [...clusters.values()], ends: true };
  }
  return { encoded, clusters: [...clusters.values()], ends: false };
}

/** Of a rule that says nothing of the port, there are no messages. */
function ruleEncoder(
  port: DefinitionPort,
  origin: string,
  context: RoutesContext,
): (rule: HttpRuleFacts) => CachedRule {
  const place = `${port.number} ${origin}`;
  const inputsOf = (rule: HttpRuleFacts): RuleInputs => {
    const matches = matchesOf(rule, port.number);
    if (matches === undefined || rule.action.kind === "delegate") return NOTHING;
    const targets: readonly HostPort[] = [
      ...(rule.action.kind === "route" ? rule.action.destinations : []),
      ...(rule.traits.mirrors ?? []),
    ];
    const named = new Map(targets.map((target) => [target, context.name(target, port.number, false)]));
    const only = rule.action.kind === "route" && rule.action.destinations.length === 1 ? targets[0] : undefined;
    const hashes = only !== undefined && context.hashes(only);
    return {
      clusters: [...named.values()],
      ends: matches.length === 0 || matches.some(isCatchAll),
      key: `${hashes} ${[...named.values()].map(({ name }) => name).join(" ")}`,
      encode: () => {
        const cluster = (target: HostPort) => named.get(target)?.name ?? "";
        return context.encode(
          compileHttpRule(rule, { port: port.number, origin, retry: context.retry, cluster, hashes: () => hashes }),
        );
      },
    };
  };
  return (rule) => context.cache.rule(rule, place, context.naming, () => inputsOf(rule));
}

/** One route of the Gateway API. */
function encodeCandidate(route: HttpCandidate, routing: RoutingContext, context: RoutesContext): CachedRule {
  return context.cache.rule(route.source, route.place, context.naming, () => {
    const clusters: NamedCluster[] = [];
    const cluster: ClusterNamer = (destination) => {
      const named = context.nameOf(destination);
      clusters.push(named);
      return named.name;
    };
    // Which of its backends are there shows in what comes of it alone.
    const encoded = context.encode([route.compile({ ...routing, cluster })]);
    return { clusters, key: encoded.digest, encode: () => encoded };
  });
}

/** Everything to the service itself. */
function defaultRule(host: string): HttpRuleFacts {
  const destination = { host, subset: "", weight: 1 };
  return { name: "default", matches: [], action: { kind: "route", destinations: [destination] }, traits: {} };
}

function tlsRoutes(port: DefinitionPort, routing: MeshRouting | undefined, context: DestinationContext): TlsRoute[] {
  if (routing !== undefined) return routing.family === "tls" ? [...routing.routes] : [];
  return context.virtualServices.flatMap((facts) =>
    facts.tls.flatMap((rule) => compileTlsRule(rule, streamContext(facts, port, context))),
  );
}

function tcpRoutes(
  definition: ServiceDefinition,
  port: DefinitionPort,
  routing: MeshRouting | undefined,
  context: DestinationContext,
): TcpRoute[] {
  if (routing?.family === "tcp") return [...routing.routes];
  const routes = context.virtualServices.flatMap((facts) =>
    facts.tcp.flatMap((rule) => compileTcpRule(rule, streamContext(facts, port, context))),
  );
  if (routes.length > 0) return routes;
  const own = { host: definition.hostname, subset: "", port: port.number };
  const cluster = clusterName(own, port, context);
  return compileTcpRule(
    { matches: [], destinations: [{ ...own, weight: 1 }] },
    { port: port.number, origin: "", cluster: () => cluster },
  );
}

function streamContext(facts: VirtualServiceFacts, port: DefinitionPort, context: DestinationContext) {
  return {
    port: port.number,
    origin: `VirtualService/${keyOf(facts)}`,
    cluster: (target: HostPort) => clusterName(target, port, context),
  };
}

function clusterName(target: HostPort, port: DefinitionPort, context: DestinationContext): string {
  const cluster = context.name(target, port.number, true);
  context.use(cluster);
  return cluster.name;
}
