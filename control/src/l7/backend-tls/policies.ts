/** Which BackendTLSPolicy is in force for a port of a Service. */
import { Collection } from "../../model/collection.ts";
import { byAge } from "../../model/meta.ts";
import type { DefinitionPort, ServiceDefinition } from "../../model/service-definition.ts";
import { add, remove } from "../istio/virtual-service-index.ts";
import type { BackendTlsPolicyFacts, PolicyTargetRef } from "./policy.ts";

/** A Service that a policy is for. */
export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

export class BackendTlsPolicies {
  readonly all: Collection<BackendTlsPolicyFacts>;
  /** By `namespace/name` of a Service. */
  readonly #byService = new Map<string, Set<BackendTlsPolicyFacts>>();

  /** `onServices` is told of Services for which another policy, or none, may be in force, and of a policy that is gone. */
  constructor(onServices: (services: readonly ServiceName[], gone: BackendTlsPolicyFacts | undefined) => void) {
    this.all = new Collection((before, after) => {
      const services = new Map<string, ServiceName>();
      for (const [policy, change] of [[before, remove] as const, [after, add] as const]) {
        for (const service of policy === undefined ? [] : servicesOf(policy)) {
          const key = `${service.namespace}/${service.name}`;
          services.set(key, service);
          change(this.#byService, key, policy as BackendTlsPolicyFacts);
        }
      }
      onServices([...services.values()], after === undefined ? before : undefined);
    });
  }

  /** One that names the port counts before one that is for all of them, and the older of two such. */
  forPort({ source, namespace, name }: ServiceDefinition, port: DefinitionPort): BackendTlsPolicyFacts | undefined {
    if (source !== "Service") return undefined;
    return this.#winner({ namespace, name }, port.name) ?? this.#winner({ namespace, name }, undefined);
  }

  /** Who is in force where `target` of this policy says the same of the same; itself if it is. */
  inForce(policy: BackendTlsPolicyFacts, { name, sectionName }: PolicyTargetRef): BackendTlsPolicyFacts | undefined {
    return this.#winner({ namespace: policy.namespace, name }, sectionName);
  }

  of({ namespace, name }: ServiceName): Iterable<BackendTlsPolicyFacts> {
    return this.#byService.get(`${namespace}/${name}`) ?? [];
  }

  #winner(service: ServiceName, sectionName: string | undefined): BackendTlsPolicyFacts | undefined {
    const candidates = [...this.of(service)].filter(({ targets }) =>
      targets.some((target) => isService(target) && target.name === service.name && target.sectionName === sectionName),
    );
    return candidates.sort(byAge)[0];
  }
}

export function isService({ group, kind }: PolicyTargetRef): boolean {
  return group === "" && kind === "Service";
}

/** All that it names, each once. */
export function servicesOf({ namespace, targets }: BackendTlsPolicyFacts): ServiceName[] {
  return [...new Set(targets.filter(isService).map(({ name }) => name))].map((name) => ({ namespace, name }));
}
