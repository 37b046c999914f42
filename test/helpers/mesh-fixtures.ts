/** Workloads, services and policies as a control plane sends them, with defaults for what a test does not care about. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ipToBytes } from "#lib/address.ts";
import { Action, type Authorization, AuthorizationSchema, Scope } from "#proto/authorization_pb.ts";
import { type Address, AddressSchema, ServiceSchema, TunnelProtocol, WorkloadSchema } from "#proto/workload_pb.ts";
import { convertAuthorization } from "../../agent/src/policy/authorization.ts";
import type { StoredPolicy } from "../../agent/src/state/policy-store.ts";

export interface WorkloadFixture {
  readonly name: string;
  readonly namespace?: string;
  readonly ips?: readonly string[];
  readonly hbone?: boolean;
  /** `namespace/hostname` to service port and target port. */
  readonly services?: Readonly<Record<string, Readonly<Record<number, number>>>>;
  readonly more?: MessageInitShape<typeof WorkloadSchema>;
}

export interface ServiceFixture {
  readonly name: string;
  readonly namespace?: string;
  readonly hostname?: string;
  readonly vips?: readonly string[];
  readonly ports?: Readonly<Record<number, number>>;
  readonly more?: MessageInitShape<typeof ServiceSchema>;
}

export function uidOf(name: string, namespace = "default"): string {
  return `Kubernetes//Pod/${namespace}/${name}`;
}

export function workloadAddress(fixture: WorkloadFixture): Address {
  const { name, namespace = "default", ips = [], hbone = true, services = {}, more = {} } = fixture;
  const value = create(WorkloadSchema, {
    uid: uidOf(name, namespace),
    name,
    namespace,
    addresses: ips.map(ipToBytes),
    tunnelProtocol: hbone ? TunnelProtocol.HBONE : TunnelProtocol.NONE,
    serviceAccount: name,
    workloadName: name,
    canonicalName: name,
    canonicalRevision: "v1",
    workloadType: 2,
    node: "node-1",
    clusterId: "Kubernetes",
    services: Object.fromEntries(Object.entries(services).map(([key, ports]) => [key, { ports: portList(ports) }])),
    ...more,
  });
  return create(AddressSchema, { type: { case: "workload", value } });
}

export function serviceAddress(fixture: ServiceFixture): Address {
  const { name, namespace = "default", vips = [], ports = { 80: 8080 }, more = {} } = fixture;
  const value = create(ServiceSchema, {
    name,
    namespace,
    hostname: fixture.hostname ?? `${name}.${namespace}.svc.cluster.local`,
    addresses: vips.map((text) => {
      const [ip = "", length] = text.split("/");
      return { address: ipToBytes(ip), ...(length === undefined ? {} : { length: Number(length) }) };
    }),
    ports: portList(ports),
    canonical: true,
    ...more,
  });
  return create(AddressSchema, { type: { case: "service", value } });
}

export function authorization(fixture: MessageInitShape<typeof AuthorizationSchema>): Authorization {
  return create(AuthorizationSchema, fixture);
}

/** As the agent holds it: a DENY policy of namespace `default` on one of its accounts, of the whole namespace by default. */
export function denial(
  name: string,
  account: string,
  more: { readonly dryRun?: boolean; readonly scope?: Scope } = {},
): StoredPolicy {
  const principals = [{ matchType: { case: "exact" as const, value: `cluster.local/ns/default/sa/${account}` } }];
  return convertAuthorization(
    authorization({
      namespace: "default",
      name,
      scope: Scope.NAMESPACE,
      action: Action.DENY,
      rules: [{ clauses: [{ matches: [{ principals }] }] }],
      ...more,
    }),
  );
}

function portList(ports: Readonly<Record<number, number>>): { servicePort: number; targetPort: number }[] {
  return Object.entries(ports).map(([servicePort, targetPort]) => ({ servicePort: Number(servicePort), targetPort }));
}
