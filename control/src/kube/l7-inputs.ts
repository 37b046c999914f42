/** The kinds of objects that waypoints' programs are made of, beside the model's. */
import {
  BACKEND_TLS_POLICIES,
  DESTINATION_RULES,
  ENVOY_FILTERS,
  REFERENCE_GRANTS,
  TELEMETRIES,
  VIRTUAL_SERVICES,
} from "#lib/kube/types.ts";
import { backendTlsPolicyFacts } from "../l7/backend-tls/policy.ts";
import { type EnvoyFilterFacts, envoyFilterFacts } from "../l7/envoy-filter/envoy-filter.ts";
import { referenceGrantFacts } from "../l7/gateway-api/reference-grants.ts";
import { type DestinationRuleFacts, destinationRuleFacts } from "../l7/istio/destination-rule.ts";
import type { VirtualServiceFacts } from "../l7/istio/virtual-service.ts";
import type { L7World } from "../l7/l7-world.ts";
import { type TelemetryFacts, telemetryFacts } from "../l7/telemetry/telemetry-facts.ts";
import { Accepted, type Verdict } from "../model/accepted.ts";
import { builtIn, type Input, istio } from "./inputs.ts";

/** Told of every version of an object that was read. */
export interface L7Verdicts {
  virtualService(verdict: Verdict<VirtualServiceFacts>): void;
  destinationRule(verdict: Verdict<DestinationRuleFacts>): void;
  telemetry(verdict: Verdict<TelemetryFacts>): void;
  envoyFilter(verdict: Verdict<EnvoyFilterFacts>): void;
}

export function l7Inputs(world: L7World, verdicts: L7Verdicts): Input[] {
  const { clusterDomain, rootNamespace } = world.model.settings;
  return [
    istio(
      VIRTUAL_SERVICES,
      new Accepted(
        world.virtualServices.all,
        (object, problems) => world.virtualServiceReader.read(object, problems),
        verdicts.virtualService,
      ),
    ),
    istio(
      DESTINATION_RULES,
      new Accepted(
        world.destinationRules.all,
        (object, problems) => destinationRuleFacts(object, clusterDomain, problems),
        verdicts.destinationRule,
      ),
    ),
    istio(
      TELEMETRIES,
      new Accepted(
        world.telemetry.all,
        (object, problems) => telemetryFacts(object, rootNamespace, problems),
        verdicts.telemetry,
      ),
    ),
    istio(
      ENVOY_FILTERS,
      new Accepted(
        world.envoyFilters.all,
        (object, problems) => envoyFilterFacts(object, rootNamespace, problems),
        verdicts.envoyFilter,
      ),
    ),
    { ...builtIn(BACKEND_TLS_POLICIES, world.backendTls.all, backendTlsPolicyFacts), optional: true },
    { ...builtIn(REFERENCE_GRANTS, world.grants.all, referenceGrantFacts), optional: true },
  ];
}
