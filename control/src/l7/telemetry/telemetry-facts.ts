/** Telemetry: `v1` and `v1alpha1` have one shape. What is for clients is checked, and left out: waypoints are servers. */
import type { IstioObject } from "#lib/kube/types.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { type Meta, metaOf } from "../../model/meta.ts";
import { isHeaderName } from "../istio/values.ts";
import { readTargets, type Target } from "../security/policy-target.ts";
import { checkExpression, checkFilter, checkText } from "./checks.ts";

export interface MetricOverrideFacts {
  readonly metric: string;
  readonly disabled: boolean | undefined;
  readonly upsertTags: Readonly<Record<string, string>>;
  readonly removeTags: readonly string[];
}

export interface MetricsFacts {
  readonly providers: readonly string[];
  readonly overrides: readonly MetricOverrideFacts[];
}

export interface CustomTagFacts {
  readonly name: string;
  readonly value: { readonly case: "literal" | "environment" | "header" | "formatter"; readonly value: string };
  readonly defaultValue: string;
}

/** Undefined: as the outer one has it. */
export interface TracingFacts {
  readonly provider: string | undefined;
  readonly sampling: number | undefined;
  readonly disableSpans: boolean | undefined;
  readonly disablePropagation: boolean | undefined;
  readonly useRequestId: boolean | undefined;
  readonly istioTags: boolean | undefined;
  readonly tags: readonly CustomTagFacts[] | undefined;
}

export interface LoggingFacts {
  readonly providers: readonly string[];
  readonly disabled: boolean;
  readonly filter: string | undefined;
}

export interface TelemetryFacts extends Meta {
  /** Undefined: for the whole namespace. */
  readonly targets: readonly Target[] | undefined;
  /** Only for some workloads, which waypoints are none of. */
  readonly selective: boolean;
  readonly metrics: readonly MetricsFacts[];
  readonly tracing: readonly TracingFacts[];
  readonly logging: readonly LoggingFacts[];
}

const METRICS = [
  "ALL_METRICS",
  "REQUEST_COUNT",
  "REQUEST_DURATION",
  "REQUEST_SIZE",
  "RESPONSE_SIZE",
  "TCP_OPENED_CONNECTIONS",
  "TCP_CLOSED_CONNECTIONS",
  "TCP_SENT_BYTES",
  "TCP_RECEIVED_BYTES",
  "GRPC_REQUEST_MESSAGES",
  "GRPC_RESPONSE_MESSAGES",
] as const;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

export function telemetryFacts(
  object: IstioObject,
  rootNamespace: string,
  problems: Problem[],
): TelemetryFacts | undefined {
  const meta = metaOf(object);
  const before = problems.length;
  const fields = new Fields(object.spec, "spec", problems);
  const targets = readTargets(fields, meta.namespace, rootNamespace);
  const selector = fields.object("selector");
  selector?.map("matchLabels");
  selector?.refuseUnknown();
  const facts = {
    ...meta,
    targets,
    selective: selector !== undefined,
    metrics: fields.objects("metrics").map(readMetrics),
    tracing: fields.objects("tracing").flatMap(readTracing),
    logging: fields.objects("accessLogging").flatMap(readLogging),
  };
  fields.refuseUnknown();
  return problems.length > before ? undefined : facts;
}

function readProviders(fields: Fields): string[] {
  return fields.objects("providers").flatMap((provider) => {
    const name = provider.string("name") ?? "";
    provider.refuseUnknown();
    if (name === "") provider.problem("name", "is required");
    return name === "" ? [] : [name];
  });
}

function isOurs(match: Fields | undefined): boolean {
  return match?.oneOf("mode", ["CLIENT_AND_SERVER", "SERVER", "CLIENT"]) !== "CLIENT";
}

function readMetrics(fields: Fields): MetricsFacts {
  const providers = readProviders(fields);
  const overrides = fields.objects("overrides").flatMap(readOverride);
  // How often open TCP connections are counted; ours are counted when they are asked for.
  fields.string("reportingInterval");
  fields.refuseUnknown();
  return { providers, overrides };
}

function readOverride(fields: Fields): MetricOverrideFacts[] {
  const match = fields.object("match");
  const ours = isOurs(match);
  const standard = match?.oneOf("metric", METRICS);
  const custom = match?.string("customMetric");
  if (standard !== undefined && custom !== undefined) match?.problem("customMetric", "must not be set beside metric");
  match?.refuseUnknown();
  const upsertTags: Record<string, string> = Object.create(null);
  const removeTags: string[] = [];
  const tags = fields.object("tagOverrides");
  for (const name of tags?.names() ?? []) {
    const tag = tags?.object(name);
    if (tag === undefined) continue;
    const operation = tag.oneOf("operation", ["UPSERT", "REMOVE"]) ?? "UPSERT";
    const value = tag.string("value") ?? "";
    tag.refuseUnknown();
    if (!LABEL_NAME.test(name)) tags?.problem(name, "is no name of a label");
    if (operation === "REMOVE") {
      if (value !== "") tag.problem("value", "must be empty where the tag is removed");
      removeTags.push(name);
    } else if (value === "") {
      tag.problem("value", "is required");
    } else {
      checkExpression(tag, "value", value);
      upsertTags[name] = value;
    }
  }
  const facts = { metric: standard ?? custom ?? "", disabled: fields.boolean("disabled"), upsertTags, removeTags };
  fields.refuseUnknown();
  return ours ? [facts] : [];
}

function readTracing(fields: Fields): TracingFacts[] {
  const match = fields.object("match");
  const ours = isOurs(match);
  match?.refuseUnknown();
  const tags = fields.object("customTags");
  const facts: TracingFacts = {
    provider: readProviders(fields)[0],
    sampling: fields.number("randomSamplingPercentage", 0, 100),
    disableSpans: fields.boolean("disableSpanReporting"),
    disablePropagation: fields.boolean("disableContextPropagation"),
    useRequestId: fields.boolean("useRequestIdForTraceSampling"),
    istioTags: fields.boolean("enableIstioTags"),
    tags: tags?.names().flatMap((name) => readTag(name, tags)),
  };
  fields.refuseUnknown();
  return ours ? [facts] : [];
}

function readTag(name: string, tags: Fields): CustomTagFacts[] {
  const tag = tags.object(name);
  const literal = tag?.object("literal");
  const environment = tag?.object("environment");
  const header = tag?.object("header");
  const formatter = tag?.object("formatter");
  tag?.refuseUnknown();
  const set = [literal, environment, header, formatter].filter((each) => each !== undefined);
  const [source] = set;
  if (source === undefined || set.length > 1) {
    tags.problem(name, "must have one of literal, environment, header and formatter");
    return [];
  }
  const key = literal !== undefined || formatter !== undefined ? "value" : "name";
  const value = source.string(key) ?? "";
  const defaultValue = key === "name" ? (source.string("defaultValue") ?? "") : "";
  source.refuseUnknown();
  if (value === "") source.problem(key, "is required");
  if (header !== undefined && !isHeaderName(value)) header.problem("name", `"${value}" is no name of a header`);
  if (formatter !== undefined) checkText(formatter, "value", value);
  if (literal !== undefined) return [{ name, value: { case: "literal", value }, defaultValue }];
  if (environment !== undefined) return [{ name, value: { case: "environment", value }, defaultValue }];
  if (header !== undefined) return [{ name, value: { case: "header", value: value.toLowerCase() }, defaultValue }];
  return [{ name, value: { case: "formatter", value }, defaultValue }];
}

function readLogging(fields: Fields): LoggingFacts[] {
  const match = fields.object("match");
  const ours = isOurs(match);
  match?.refuseUnknown();
  const filter = fields.object("filter");
  const expression = filter?.string("expression");
  filter?.refuseUnknown();
  if (filter !== undefined && expression !== undefined) checkFilter(filter, "expression", expression);
  const facts = {
    providers: readProviders(fields),
    disabled: fields.boolean("disabled") ?? false,
    filter: expression,
  };
  fields.refuseUnknown();
  return ours ? [facts] : [];
}
