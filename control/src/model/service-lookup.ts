import type { ServiceDefinition } from "./service-definition.ts";

/** Services as the resources of users name them. */
export interface ServiceLookup {
  /** A Kubernetes Service. */
  service(namespace: string, name: string): ServiceDefinition | undefined;
  /** What a ServiceEntry defines, one for each of its hosts. */
  serviceEntry(namespace: string, name: string): readonly ServiceDefinition[];
  /** By host name as clients in `namespace` see it. */
  host(hostname: string, namespace: string): ServiceDefinition | undefined;
}
