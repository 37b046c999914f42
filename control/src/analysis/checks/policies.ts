/** AuthorizationPolicy, RequestAuthentication, PeerAuthentication, Telemetry and EnvoyFilter. */
import type { IstioObject } from "#lib/kube/types.ts";
import type { Target } from "../../l7/security/policy-target.ts";
import { GATEWAY_NAME_LABEL } from "../../model/gateway.ts";
import type { Labels } from "../../model/meta.ts";
import { selects } from "../../model/selector-index.ts";
import { type Surroundings, waypointOf, workloadsIn } from "../surroundings.ts";
import type { Check, Say } from "./check.ts";

export const checkAuthorizationPolicy: Check = ({ key, own, around }, say) => {
  const facts = own.model.authorizationPolicies.get(key);
  if (facts !== undefined && !facts.targeted) {
    checkSelector(facts.namespace, facts.selector, around, say);
    const isWhole = facts.unsupported === "";
    if (!isWhole && facts.authorization === undefined) say("IST0167", `The policy has no effect: ${facts.unsupported}`);
    else if (!isWhole) say("IST0133", capital(facts.unsupported));
  }
  const targeted = own.policies.authorizationPolicies.get(key);
  if (targeted === undefined) return;
  checkTargets(targeted.targets, around, say);
  if (targeted.provider !== "" && around.authorizer(targeted.provider) === undefined) {
    const text = `Referenced extension provider not found: "${targeted.provider}"; what matches the policy is denied`;
    say("IST0101", text, "spec.provider");
  }
};

/** The object as written: without targetRefs nobody reads it. */
export function checkRequestAuthentication(object: IstioObject): Check {
  return ({ key, own, around }, say) => {
    const facts = own.policies.requestAuthentications.get(key);
    if (facts !== undefined) checkTargets(facts.targets, around, say);
    else if (!hasTargets(object)) {
      const text =
        "Tokens are checked by waypoints alone, and they take policies by targetRefs: the policy has no effect";
      say("IST0167", text);
    }
  };
}

export const checkEnvoyFilter: Check = ({ key, own, around }, say) => {
  checkTargets(own.world.envoyFilters.all.get(key)?.targets ?? [], around, say);
};

export const checkPeerAuthentication: Check = ({ key, own, around }, say) => {
  const facts = own.model.peerAuthentications.get(key);
  if (facts === undefined) return;
  checkSelector(facts.namespace, facts.selector, around, say);
  const disabled = [...facts.portModes].filter(([, mode]) => mode === "DISABLE").map(([port]) => ` on port ${port}`);
  for (const where of [...(facts.mode === "DISABLE" ? [""] : []), ...disabled]) {
    say("IST0133", `Mutual TLS cannot be refused${where}: mode DISABLE is as PERMISSIVE`, "spec");
  }
};

export const checkTelemetry: Check = ({ key, own, around }, say) => {
  const facts = own.world.telemetry.all.get(key);
  if (facts === undefined) return;
  if (facts.selective) {
    say(
      "IST0167",
      "Telemetry with a selector is for sidecars; waypoints take it by targetRefs: it has no effect",
      "spec.selector",
    );
  }
  checkTargets(facts.targets ?? [], around, say);
  const { extensionProviders } = around.world.config;
  const named = [
    ...facts.metrics.flatMap(({ providers }) => providers),
    ...facts.logging.flatMap(({ providers }) => providers),
    ...facts.tracing.flatMap(({ provider }) => (provider === undefined ? [] : [provider])),
  ];
  for (const name of new Set(named)) {
    if (extensionProviders.has(name) || BUILT_IN_PROVIDERS.has(name)) continue;
    say("IST0157", `meshConfig.extensionProviders has no provider "${name}"`);
  }
};

/** Those that need no entry in the mesh's configuration. */
const BUILT_IN_PROVIDERS = new Set(["envoy", "prometheus"]);

function checkSelector(namespace: string, selector: Labels | undefined, around: Surroundings, say: Say): void {
  if (selector === undefined) return;
  const isRoot = namespace === around.model.settings.rootNamespace;
  const selected = [...workloadsIn(around, isRoot ? undefined : namespace)].filter(({ labels }) =>
    selects(selector, labels),
  );
  const text = Object.entries(selector)
    .map(([label, value]) => `${label}=${value}`)
    .join(",");
  if (selected.length === 0) {
    say("IST0127", `No workload matches the selector: ${text}`, "spec.selector");
    return;
  }
  const waypoint = selected.find(({ labels }) => labels[GATEWAY_NAME_LABEL] !== undefined);
  if (waypoint === undefined) return;
  const gateway = waypoint.labels[GATEWAY_NAME_LABEL];
  say(
    "IST0166",
    `The selector matches pods of waypoint ${waypoint.namespace}/${gateway}, which take policies by targetRefs alone`,
    "spec.selector",
  );
}

function checkTargets(targets: readonly Target[], around: Surroundings, say: Say): void {
  for (const target of targets) {
    const what = `${target.kind} ${target.namespace === "" ? target.name : `${target.namespace}/${target.name}`}`;
    switch (stateOf(target, around)) {
      case "missing":
        say("IST0101", `Referenced target not found: ${what}`, "spec.targetRefs");
        break;
      case "unbound":
        say("IST0167", `${what} is behind no waypoint: nobody executes the policy for it`, "spec.targetRefs");
        break;
      case "bound":
    }
  }
}

function stateOf({ kind, namespace, name }: Target, around: Surroundings): "missing" | "unbound" | "bound" {
  const { model } = around;
  if (kind === "Gateway") return model.waypoints.isWaypoint(namespace, name) ? "bound" : "missing";
  if (kind === "GatewayClass") return model.waypoints.controllerOf(name) === undefined ? "missing" : "bound";
  const { service, serviceEntry } = model.serviceLookup;
  const single = kind === "Service" ? service(namespace, name) : undefined;
  const definitions = kind === "Service" ? (single === undefined ? [] : [single]) : serviceEntry(namespace, name);
  if (definitions.length === 0) return "missing";
  return definitions.some((definition) => waypointOf(around, definition) !== undefined) ? "bound" : "unbound";
}

function hasTargets({ spec }: IstioObject): boolean {
  const { targetRef, targetRefs } = (spec ?? {}) as { targetRef?: unknown; targetRefs?: unknown };
  return targetRef !== undefined || (Array.isArray(targetRefs) && targetRefs.length > 0);
}

function capital(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
