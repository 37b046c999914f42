/** The service behind a provider of MeshConfig: whom a waypoint asks, or tells, beside the traffic itself. */
import type { Fields } from "../model/fields.ts";
import type { ServiceDefinition } from "../model/service-definition.ts";
import type { ServiceLookup } from "../model/service-lookup.ts";

export interface ProviderService {
  readonly host: string;
  /** Empty: whoever has the host. */
  readonly namespace: string;
  readonly port: number;
}

/** `service` is a host or `namespace/host`. Undefined: one of both fields is missing or makes no sense. */
export function readProviderService(fields: Fields): ProviderService | undefined {
  const service = fields.string("service") ?? "";
  const slash = service.indexOf("/");
  const port = fields.integer("port", 1, 65_535);
  const host = service.slice(slash + 1).toLowerCase();
  if (host === "") fields.problem("service", "is required");
  if (port === undefined && !fields.has("port")) fields.problem("port", "is required");
  if (host === "" || port === undefined) return undefined;
  return { host, namespace: slash > 0 ? service.slice(0, slash) : "", port };
}

/** Undefined: there is no such service, or it has no such port. `name.namespace` and `name.namespace.svc` will do. */
export function providerDefinition(
  { host, namespace, port }: ProviderService,
  services: ServiceLookup,
  clusterDomain: string,
): ServiceDefinition | undefined {
  const names = [host];
  if (host.endsWith(".svc")) names.push(`${host}.${clusterDomain}`);
  else if (/^[^.]+\.[^.]+$/.test(host)) names.push(`${host}.svc.${clusterDomain}`);
  for (const name of names) {
    const definition = services.host(name, namespace);
    if (definition?.ports.some(({ number }) => number === port)) return definition;
  }
  return undefined;
}

export function describeProviderService({ host, port }: ProviderService): string {
  return `service ${host} with port ${port}`;
}
