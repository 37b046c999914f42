/** MeshConfig, from the ConfigMap `istio`: what waypoints need of it. Fields of other parts of Istio are left alone. */
import { parse } from "yaml";
import { type LocalitySetting, PathNormalization, type RetryPolicy } from "#proto/l7_pb.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import {
  type LogSink,
  type MeshTracing,
  readMeshFormat,
  readMeshTracing,
  readTelemetryProvider,
  type TelemetryProvider,
} from "../telemetry/provider.ts";
import { readRetries } from "./http-traits.ts";
import { readLocality, readTrafficPolicy, type TrafficPolicyFacts } from "./traffic-policy.ts";
import { EVERYWHERE, readDuration } from "./values.ts";

export interface MeshConfigFacts {
  readonly trustDomain: string | undefined;
  readonly trustDomainAliases: readonly string[];
  readonly pathNormalization: PathNormalization;
  /** Null: off. */
  readonly locality: LocalitySetting | null;
  readonly connectTimeoutMs: number;
  readonly h2Upgrade: boolean;
  /** Undefined: the built-in one; null: never. */
  readonly retry: RetryPolicy | null | undefined;
  readonly trafficPolicy: TrafficPolicyFacts | undefined;
  readonly virtualServiceExportTo: readonly string[];
  readonly destinationRuleExportTo: readonly string[];
  readonly trustedProxies: number;
  /** The format counts for the built-in provider `envoy` too; undefined: the default text. */
  readonly accessLog: { readonly file: string; readonly format: LogSink["format"] };
  readonly meshTracing: MeshTracing;
  readonly outboundMode: "ALLOW_ANY" | "REGISTRY_ONLY";
  readonly defaultProviders: {
    readonly tracing: string;
    readonly accessLogging: readonly string[];
    readonly metrics: readonly string[];
  };
  /** By name, as written. */
  readonly extensionProviders: ReadonlyMap<string, Fields>;
  /** Those of them that take logs, spans or metrics. */
  readonly telemetryProviders: ReadonlyMap<string, TelemetryProvider>;
}

const NORMALIZATIONS = {
  DEFAULT: PathNormalization.BASE,
  NONE: PathNormalization.NONE,
  BASE: PathNormalization.BASE,
  MERGE_SLASHES: PathNormalization.MERGE_SLASHES,
  DECODE_AND_MERGE_SLASHES: PathNormalization.DECODE_AND_MERGE_SLASHES,
} as const;

/** Of the value of the key `mesh`. Empty: Istio's defaults. */
export function meshConfigFacts(text: string, problems: Problem[]): MeshConfigFacts {
  const fields = new Fields(parsed(text, problems), "mesh", problems);
  const normalization = fields
    .object("pathNormalization")
    ?.oneOf("normalization", Object.keys(NORMALIZATIONS) as (keyof typeof NORMALIZATIONS)[]);
  const locality = fields.object("localityLbSetting");
  const retries = fields.object("defaultHttpRetryPolicy");
  const policy = fields.object("defaultTrafficPolicy");
  const defaults = fields.object("defaultProviders");
  const mode = fields.object("outboundTrafficPolicy")?.oneOf("mode", ["REGISTRY_ONLY", "ALLOW_ANY"]);
  const topology = fields.object("defaultConfig")?.object("gatewayTopology");
  const providers = new Map<string, Fields>();
  for (const provider of fields.objects("extensionProviders")) {
    const name = provider.string("name") ?? "";
    if (name === "") provider.problem("name", "is required");
    else if (providers.has(name)) provider.problem("name", `${name} is there twice`);
    else providers.set(name, provider);
  }
  const telemetryProviders = new Map<string, TelemetryProvider>();
  for (const [name, provider] of providers) {
    const read = readTelemetryProvider(provider);
    if (read !== undefined) telemetryProviders.set(name, read);
  }
  const exported = (name: string) => (fields.has(name) ? fields.strings(name) : [EVERYWHERE]);
  return {
    trustDomain: fields.string("trustDomain") || undefined,
    trustDomainAliases: fields.strings("trustDomainAliases"),
    pathNormalization: NORMALIZATIONS[normalization ?? "DEFAULT"],
    locality:
      locality === undefined
        ? readLocality(new Fields({}, "mesh.localityLbSetting", problems))
        : readLocality(locality),
    connectTimeoutMs: readDuration(fields, "connectTimeout") ?? 0,
    h2Upgrade: fields.oneOf("h2UpgradePolicy", ["DO_NOT_UPGRADE", "UPGRADE"]) === "UPGRADE",
    retry: retries && readRetries(retries),
    trafficPolicy: policy && readTrafficPolicy(policy),
    virtualServiceExportTo: exported("defaultVirtualServiceExportTo"),
    destinationRuleExportTo: exported("defaultDestinationRuleExportTo"),
    trustedProxies: topology?.integer("numTrustedProxies", 0, 1_000) ?? 0,
    accessLog: {
      file: fields.string("accessLogFile") ?? "",
      format: readMeshFormat(fields),
    },
    meshTracing: readMeshTracing(fields),
    outboundMode: mode ?? "ALLOW_ANY",
    defaultProviders: {
      tracing: defaults?.strings("tracing")[0] ?? "",
      accessLogging: defaults?.strings("accessLogging") ?? [],
      metrics: defaults?.strings("metrics") ?? [],
    },
    extensionProviders: providers,
    telemetryProviders,
  };
}

function parsed(text: string, problems: Problem[]): unknown {
  try {
    return parse(text) ?? {};
  } catch (error) {
    problems.push({ field: "mesh", reason: `is no YAML: ${error instanceof Error ? error.message : error}` });
    return {};
  }
}
