/** A VirtualService's tcp and tls rules as the routes of one port. */
import { create } from "@bufbuild/protobuf";
import { type TcpRoute, TcpRouteSchema, type TlsRoute, TlsRouteSchema } from "#proto/l7_pb.ts";
import { countsInMesh } from "./http-routes.ts";
import type { HostPort } from "./istio/http-rule.ts";
import type { StreamMatchFacts, StreamRuleFacts } from "./istio/virtual-service.ts";

export interface StreamContext {
  readonly port: number;
  readonly origin: string;
  cluster(target: HostPort): string;
}

export function compileTcpRule(rule: StreamRuleFacts, context: StreamContext): TcpRoute[] {
  if (rule.matches.length === 0) return [tcpRoute(rule, undefined, context)];
  return matchesOf(rule, context.port).map((match) => tcpRoute(rule, match, context));
}

export function compileTlsRule(rule: StreamRuleFacts, context: StreamContext): TlsRoute[] {
  return matchesOf(rule, context.port).map((match) =>
    create(TlsRouteSchema, { sni: [...match.sni], route: tcpRoute(rule, match, context) }),
  );
}

function matchesOf(rule: StreamRuleFacts, port: number): StreamMatchFacts[] {
  return rule.matches.filter((match) => countsInMesh(match) && (match.port ?? port) === port);
}

function tcpRoute(rule: StreamRuleFacts, match: StreamMatchFacts | undefined, context: StreamContext): TcpRoute {
  return create(TcpRouteSchema, {
    destinations: (match?.subnets ?? []).map(({ ip, length }) => ({ ip, length })),
    clusters: rule.destinations.map((destination) => ({
      cluster: context.cluster(destination),
      weight: destination.weight,
    })),
    origin: context.origin,
    sourceNamespace: match === undefined || match.gateways.length > 0 ? "" : (match.sourceNamespace ?? ""),
  });
}
