/** Which service a queried name means, for a client of a namespace: search domains, Kubernetes short names, wildcards. */
import type { MeshView } from "../state/mesh-state.ts";
import type { Service } from "../state/model.ts";
import { preferred } from "../state/service-store.ts";

export interface NameQuery {
  /** Lower case, without the last dot. */
  readonly name: string;
  readonly clientNamespace: string;
  readonly clusterDomain: string;
  readonly preferredNamespace?: string | undefined;
}

export interface NameMatch {
  readonly service: Service;
  /** The asked name without the search domain that was stripped from it; undefined when none was. */
  readonly alias: string | undefined;
}

/** One name to look for, and whether it came from stripping a search domain. */
interface Candidate {
  readonly name: string;
  readonly stripped: string | undefined;
}

export function findService(view: MeshView, query: NameQuery): NameMatch | undefined {
  for (const candidate of candidates(query)) {
    const exact = choose(view, candidate.name, query);
    if (exact !== undefined) return { service: exact, alias: candidate.stripped };
    for (const wildcard of wildcards(candidate.name)) {
      const service = choose(view, wildcard, query);
      if (service !== undefined) return { service, alias: undefined };
    }
  }
  return undefined;
}

function choose(view: MeshView, hostname: string, query: NameQuery): Service | undefined {
  const suffix = `.svc.${query.clusterDomain}`;
  const answerable = view.services
    .byHostname(hostname)
    .filter((service) => service.vips.some(({ length }) => length === undefined) || hostname.endsWith(suffix));
  return preferred(answerable, query.clientNamespace, query.preferredNamespace);
}

/** The name as asked, its Kubernetes expansions, then the same for each search domain taken off. */
export function* candidates({ name, clientNamespace, clusterDomain }: NameQuery): Generator<Candidate> {
  for (const expanded of expansions(name, clientNamespace, clusterDomain)) {
    yield { name: expanded, stripped: undefined };
  }
  const searchDomains = [`${clientNamespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
  for (const domain of searchDomains) {
    if (!name.endsWith(`.${domain}`)) continue;
    const stripped = name.slice(0, -(domain.length + 1));
    for (const expanded of expansions(stripped, clientNamespace, clusterDomain)) {
      yield { name: expanded, stripped };
    }
  }
}

function expansions(name: string, namespace: string, domain: string): string[] {
  const labels = name.split(".");
  const service = labels.at(-1) === "svc";
  switch (labels.length) {
    case 1:
      return [name, `${name}.${namespace}.svc.${domain}`];
    case 2:
      return [name, `${name}.svc.${domain}`, `${name}.${namespace}.svc.${domain}`];
    case 3:
      return service ? [name, `${name}.${domain}`, `${name}.svc.${domain}`] : [name, `${name}.svc.${domain}`];
    case 4:
      return service ? [name, `${name}.${domain}`] : [name];
    default:
      return [name];
  }
}

/** `*.b.c`, then `*.c`, for `a.b.c`. */
function* wildcards(name: string): Generator<string> {
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) yield `*${name.slice(dot)}`;
}
