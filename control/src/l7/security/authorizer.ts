/** External authorizers as `meshConfig.extensionProviders` names them. */
import { create } from "@bufbuild/protobuf";
import {
  type ExternalAuthorizer,
  ExternalAuthorizerSchema,
  type StringMatch,
  StringMatchSchema,
} from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import type { ServiceLookup } from "../../model/service-lookup.ts";
import type { ClusterNamer } from "../destination.ts";
import { type ProviderService, providerDefinition, readProviderService } from "../provider-service.ts";

export interface AuthorizerProvider {
  readonly name: string;
  readonly service: ProviderService;
  /** All but the cluster. */
  readonly authorizer: ExternalAuthorizer;
}

/** Istio's default: in effect none. */
const DEFAULT_TIMEOUT_MS = 600_000;
const MAX_BODY_BYTES = 0xffff_ffff;
/** What an HTTP authorizer is shown of a request in any case. */
const ALWAYS_SHOWN = ["authorization"];

/** Of one entry of the list. Undefined when it is a provider of another sort, or makes no sense. */
export function readAuthorizerProvider(entry: Fields): AuthorizerProvider | undefined {
  const name = entry.string("name") ?? "";
  const grpc = entry.object("envoyExtAuthzGrpc");
  const fields = grpc ?? entry.object("envoyExtAuthzHttp");
  if (fields === undefined || name === "") return undefined;
  const service = readProviderService(fields);
  const body = fields.object("includeRequestBodyInCheck");
  const authorizer = create(ExternalAuthorizerSchema, {
    provider: name,
    grpc: grpc !== undefined,
    authority: service?.host ?? "",
    timeoutMs: BigInt(goDurationMs(fields, "timeout") ?? DEFAULT_TIMEOUT_MS),
    failOpen: flag(fields, "failOpen"),
    statusOnError: statusOf(fields),
    bodyMaxBytes: body?.integer("maxRequestBytes", 0, MAX_BODY_BYTES) ?? 0,
    bodyAllowPartial: body !== undefined && flag(body, "allowPartialMessage"),
    bodyAsBytes: body !== undefined && flag(body, "packAsBytes"),
    ...(grpc === undefined ? httpFields(fields) : {}),
  });
  return service && { name, service, authorizer };
}

function httpFields(fields: Fields) {
  const old = fields.strings("includeHeadersInCheck");
  return {
    pathPrefix: fields.string("pathPrefix") ?? "",
    includeRequestHeaders: headerMatches([...ALWAYS_SHOWN, ...fields.strings("includeRequestHeadersInCheck"), ...old]),
    addRequestHeaders: { ...fields.map("includeAdditionalHeadersInCheck") },
    headersToUpstreamOnAllow: headerMatches(fields.strings("headersToUpstreamOnAllow")),
    headersToDownstreamOnDeny: headerMatches(fields.strings("headersToDownstreamOnDeny")),
    headersToDownstreamOnAllow: headerMatches(fields.strings("headersToDownstreamOnAllow")),
  };
}

function headerMatches(patterns: readonly string[]): StringMatch[] {
  return patterns.map((pattern) => {
    const text = pattern.toLowerCase();
    const kind = text.startsWith("*")
      ? ({ case: "suffix", value: text.slice(1) } as const)
      : text.endsWith("*")
        ? ({ case: "prefix", value: text.slice(0, -1) } as const)
        : ({ case: "exact", value: text } as const);
    return create(StringMatchSchema, { kind, ignoreCase: true });
  });
}

function flag(fields: Fields, name: string): boolean {
  const value = fields.raw(name);
  if (value !== undefined && typeof value !== "boolean") fields.problem(name, "must be true or false");
  return value === true;
}

/** A status code, written as a text. */
function statusOf(fields: Fields): number {
  const text = fields.raw("statusOnError");
  if (text === undefined) return 0;
  const status = Number(text);
  if (Number.isInteger(status) && status >= 200 && status <= 599) return status;
  fields.problem("statusOnError", "must be a status code");
  return 0;
}

/** The authorizers among the mesh's providers. Each is read once; what else is in the list is not ours. */
export function authorizersOf(
  providers: () => ReadonlyMap<string, Fields>,
): (name: string) => AuthorizerProvider | undefined {
  const read = new WeakMap<Fields, AuthorizerProvider | "none">();
  return (name) => {
    const fields = providers().get(name);
    if (fields === undefined) return undefined;
    let found = read.get(fields);
    if (found === undefined) {
      found = readAuthorizerProvider(fields) ?? "none";
      read.set(fields, found);
    }
    return found === "none" ? undefined : found;
  };
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Such as `10s` or `1.5m`: MeshConfig's durations. */
function goDurationMs(fields: Fields, name: string): number | undefined {
  const text = fields.string(name);
  if (text === undefined) return undefined;
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) {
    fields.problem(name, `"${text}" is no duration`);
    return undefined;
  }
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    total += Number(number) * (UNITS_MS[unit ?? ""] ?? 0);
  }
  return Math.round(total);
}

/** Undefined: there is no such service, so nobody can be asked. */
export function resolvedAuthorizer(
  { service, authorizer }: AuthorizerProvider,
  services: ServiceLookup,
  clusterDomain: string,
  cluster: ClusterNamer,
): ExternalAuthorizer | undefined {
  const definition = providerDefinition(service, services, clusterDomain);
  if (definition === undefined) return undefined;
  const { namespace, hostname } = definition;
  const name = cluster({ namespace, hostname, port: service.port, ...(authorizer.grpc ? { grpc: true } : {}) });
  return { ...authorizer, cluster: name };
}
