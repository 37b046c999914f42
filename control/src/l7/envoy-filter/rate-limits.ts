/** What the patches that are for a port make of its chain and of its routes. */
import { create } from "@bufbuild/protobuf";
import {
  type GlobalRateLimit,
  GlobalRateLimitSchema,
  type LocalRateLimit,
  type RateLimitDescriptor,
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
  const byDescriptor = here.some(({ local }) => (local?.descriptors.length ?? 0) > 0);
  const chainLocal = ofChain.findLast(({ local }) => local !== undefined);
  const chain = message(chainLocal?.local, descriptorsOf(perRoute ? [] : ofChain), asked, (described) =>
    byDescriptor ? actionsOf(chainLocal, described) : [],
  );
  if (ofRoutes.length === 0) return { chain, ofRoute: undefined };
  return {
    chain,
    ofRoute: (route) => {
      const own = ofRoutes.filter(({ scope }) => scope.route?.name === undefined || scope.route.name === route.name);
      const described = own.some(({ descriptors }) => descriptors !== undefined);
      const local = own.findLast((each) => each.local !== undefined);
      const rateLimits = message(
        local?.local,
        descriptorsOf(described ? own : perRoute ? ofChain : []),
        asked,
        (descriptors) => (byDescriptor ? actionsOf(local ?? chainLocal, descriptors) : []),
      );
      return rateLimits === undefined ? route : { ...route, rateLimits };
    },
  };
}

function descriptorsOf(patches: readonly LimitPatch[]): RateLimitDescriptor[] {
  return patches.flatMap(({ descriptors }) => descriptors ?? []);
}

/** What a filter says itself is in the place of what hosts and routes say. */
function actionsOf(
  filter: LimitPatch | undefined,
  described: readonly RateLimitDescriptor[],
): readonly RateLimitDescriptor[] {
  const own = filter?.localActions ?? [];
  return own.length > 0 ? own : described;
}

function message(
  local: LocalRateLimit | undefined,
  descriptors: RateLimitDescriptor[],
  asked: ReadonlyMap<RateLimitService, string>,
  localActions: (descriptors: readonly RateLimitDescriptor[]) => readonly RateLimitDescriptor[],
): RateLimits | undefined {
  const global =
    descriptors.length === 0 ? [] : [...asked].map(([service, name]) => globalOf(service, name, descriptors));
  const localDescriptors = [...localActions(descriptors)];
  if (local === undefined && global.length + localDescriptors.length === 0) return undefined;
  return create(RateLimitsSchema, { ...(local === undefined ? {} : { local }), global, localDescriptors });
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
