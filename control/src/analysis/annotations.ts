/** Annotations under names of Istio's, of the Gateway API's controllers for it, and ours. */

import { CANARY_WEIGHT, percentOf } from "../model/waypoints.ts";

export interface KnownAnnotation {
  /** Kinds that it counts on; "*": any. */
  readonly on: readonly string[];
  /** Why a value makes no sense; absent: any does. */
  readonly problem?: (value: string) => string | undefined;
  /** What to use in its place. */
  readonly deprecated?: string;
}

const WORKLOADS = ["Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"];
const DISTRIBUTIONS = ["PreferClose", "PreferSameZone", "PreferSameNode", "Any"];

export const ANNOTATIONS: ReadonlyMap<string, KnownAnnotation> = new Map([
  ["istio.io/dry-run", { on: ["AuthorizationPolicy"], problem: oneOf("true", "false") }],
  ["ambient.istio.io/redirection", { on: ["Pod"], problem: oneOf("enabled", "pending") }],
  ["ambient.istio.io/dns-capture", { on: WORKLOADS, problem: oneOf("true", "false") }],
  ["ambient.istio.io/bypass-inbound-capture", { on: WORKLOADS, problem: oneOf("true", "false") }],
  [
    "ambient.istio.io/xfcc-include-client-identity",
    { on: ["Gateway", "Service", "Pod"], problem: oneOf("true", "false") },
  ],
  [CANARY_WEIGHT, { on: ["Service", "ServiceEntry", "Namespace"], problem: notPercent }],
  ["networking.istio.io/exportTo", { on: ["Service"] }],
  [
    "networking.istio.io/traffic-distribution",
    { on: ["Service", "ServiceEntry", "Namespace", "WorkloadEntry"], problem: oneOf(...DISTRIBUTIONS) },
  ],
  ["networking.istio.io/address-type", { on: ["Gateway"] }],
  ["networking.istio.io/service-type", { on: ["Gateway"], deprecated: "spec.infrastructure" }],
  ["gateway.istio.io/name-override", { on: ["Gateway"] }],
  ["gateway.istio.io/service-account", { on: ["Gateway"] }],
  ["gateway.istio.io/controller-version", { on: ["*"] }],
  ["galley.istio.io/analyze-suppress", { on: ["*"] }],
  ["weft.dev/express", { on: WORKLOADS, problem: oneOf("enabled") }],
  ["proxy.istio.io/config", { on: [...WORKLOADS, "Gateway"] }],
  ["proxy.istio.io/overrides", { on: ["Pod"] }],
  [
    "sidecar.istio.io/inject",
    { on: WORKLOADS, problem: oneOf("true", "false"), deprecated: "the label of the same name" },
  ],
  ["sidecar.istio.io/status", { on: ["Pod"] }],
  ["inject.istio.io/templates", { on: WORKLOADS }],
  ["prometheus.istio.io/merge-metrics", { on: WORKLOADS, problem: oneOf("true", "false") }],
]);

/** Families of names for sidecars, which are not told apart here: nothing of ours reads them. */
export const SIDECAR_FAMILIES = [
  "sidecar.istio.io/",
  "traffic.sidecar.istio.io/",
  "readiness.status.sidecar.istio.io/",
  "status.sidecar.istio.io/",
];

/** Whose names are looked at. */
export function isMeshAnnotation(name: string): boolean {
  const domain = name.split("/", 1)[0] ?? "";
  return domain === "istio.io" || domain.endsWith(".istio.io") || domain === "weft.dev" || domain.endsWith(".weft.dev");
}

function notPercent(value: string): string | undefined {
  return percentOf(value) === undefined ? `"${value}" is no whole number from 0 to 100` : undefined;
}

function oneOf(...values: readonly string[]): (value: string) => string | undefined {
  return (value) => (values.includes(value) ? undefined : `"${value}" is none of ${values.join(", ")}`);
}
