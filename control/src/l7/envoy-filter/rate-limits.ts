/** What the patches that are for a port make of its chain and of its routes. */
import { create } from "@bufbuild/protobuf";
import {
  type GlobalRateLimit,
  GlobalRateLimitSchema,
  type RateLimits,
  RateLimitsSchema,
  type Route,
} from "#proto/l7_pb.ts";
import type { ProviderService } from "../provider-service.ts";
import type { LimitPatch } from "./envoy-filter.ts";
import type { RateLimitService } from "./global-rate-limit.ts";

export interface PortLimits {
  readonly chain: RateLimits | undefined;
  /** Undefined: no route has limits of its own. */
  readonly ofRoute: ((route: Route) => Route) | undefined;
}

export const NO_LIMITS: PortLimits = { chain: undefined, ofRoute: undefined };

export type LimiterNamer = (service: ProviderService) => string;

/** Later patches win over earlier ones of the same sort; `cluster` is asked for the ones of services. */
export function limitsOfPort(patches: readonly LimitPatch[], port: number, cluster: LimiterNamer): PortLimits {
  const here = patches.filter(({ scope }) => scope.port === undefined || scope.port === port);
  if (here.length === 0) return NO_LIMITS;
  const ofChain = here.filter(({ scope }) => scope.route === undefined);
  const ofRoutes = here.filter(({ scope }) => scope.route !== undefined);
  const services = here.flatMap(({ service }) => (service === undefined ? [] : [service]));
  const asked = new Map(services.map((service) => [service, cluster(service.service)]));
  // A route's own descriptors are in the place of its host's, so that each route must be told when one has some.
  const perRoute = ofRoutes.some(({ descriptors }) => descriptors !== undefined);
  const chain = message(ofChain, perRoute ? [] : ofChain, asked);
  if (ofRoutes.length === 0) return { chain, ofRoute: undefined };
  return {
    chain,
    ofRoute: (route) => {
      const own = ofRoutes.filter(({ scope }) => scope.route?.name === undefined || scope.route.name === route.name);
      const described = own.some(({ descriptors }) => descriptors !== undefined);
      const rateLimits = message(own, described ? own : perRoute ? ofChain : [], asked);
      return rateLimits === undefined ? route : { ...route, rateLimits };
    },
  };
}

function message(
  locals: readonly LimitPatch[],
  described: readonly LimitPatch[],
  asked: ReadonlyMap<RateLimitService, string>,
): RateLimits | undefined {
  const local = locals.findLast((each) => each.local !== undefined)?.local;
  const descriptors = described.flatMap((each) => each.descriptors ?? []);
  const global =
    descriptors.length === 0 ? [] : [...asked].map(([service, name]) => globalOf(service, name, descriptors));
  if (local === undefined && global.length === 0) return undefined;
  return create(RateLimitsSchema, { ...(local === undefined ? {} : { local }), global });
}

function globalOf(
  { domain, authority, timeoutMs, failClosed }: RateLimitService,
  cluster: string,
  descriptors: GlobalRateLimit["descriptors"],
): GlobalRateLimit {
  return create(GlobalRateLimitSchema, {
    cluster,
    domain,
    authority,
    timeoutMs: BigInt(timeoutMs),
    failClosed,
    descriptors,
  });
}
