/** A mesh of any size that does not exist, as workload discovery resources. */
import { create, toBinary } from "@bufbuild/protobuf";
import { podUid, serviceKey } from "#lib/xds/types.ts";
import { type Address, AddressSchema, TunnelProtocol, WorkloadType } from "#proto/workload_pb.ts";

/** Shape of a larger cluster: some pods per service, many services per namespace. */
const WORKLOADS_PER_SERVICE = 20;
const SERVICES_PER_NAMESPACE = 50;
const NODES = 500;
const PORT = 8080;

export interface NamedResource {
  readonly name: string;
  /** Encoded Address. */
  readonly bytes: Uint8Array;
}

/** `workloads` pods on nodes that are not ours, and the services that select them, service first. */
export function* syntheticMesh(workloads: number): Generator<NamedResource> {
  for (let i = 0; i < workloads; i++) {
    const service = Math.floor(i / WORKLOADS_PER_SERVICE);
    if (i % WORKLOADS_PER_SERVICE === 0) yield syntheticService(service);
    yield syntheticWorkload(i, service);
  }
}

function syntheticService(index: number): NamedResource {
  const { namespace, name, hostname } = serviceNames(index);
  const address = create(AddressSchema, {
    type: {
      case: "service",
      value: {
        name,
        namespace,
        hostname,
        addresses: [{ network: "", address: ipv4(172, index) }],
        ports: [{ servicePort: 80, targetPort: PORT }],
        canonical: true,
      },
    },
  });
  return { name: serviceKey(namespace, hostname), bytes: encode(address) };
}

function syntheticWorkload(index: number, service: number): NamedResource {
  const { namespace, name, hostname } = serviceNames(service);
  const pod = `${name}-6d4cf56db6-${index.toString(36).padStart(5, "0")}`;
  const uid = podUid("Kubernetes", namespace, pod);
  const address = create(AddressSchema, {
    type: {
      case: "workload",
      value: {
        uid,
        name: pod,
        namespace,
        addresses: [ipv4(100, index)],
        tunnelProtocol: TunnelProtocol.HBONE,
        serviceAccount: name,
        node: `node-${index % NODES}`,
        canonicalName: name,
        canonicalRevision: "v1",
        workloadType: WorkloadType.POD,
        workloadName: name,
        clusterId: "Kubernetes",
        services: { [serviceKey(namespace, hostname)]: { ports: [{ servicePort: 80, targetPort: PORT }] } },
        locality: { region: "region", zone: `zone-${index % 3}` },
      },
    },
  });
  return { name: uid, bytes: encode(address) };
}

function serviceNames(index: number): { namespace: string; name: string; hostname: string } {
  const namespace = `team-${Math.floor(index / SERVICES_PER_NAMESPACE)}`;
  const name = `service-${index}`;
  return { namespace, name, hostname: `${name}.${namespace}.svc.cluster.local` };
}

function ipv4(first: number, index: number): Uint8Array {
  return Uint8Array.of(first, (index >> 16) & 255, (index >> 8) & 255, index & 255);
}

function encode(address: Address): Uint8Array {
  return toBinary(AddressSchema, address);
}
