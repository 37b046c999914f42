/**
 * Endpoints that are known by host name. The engine is given addresses: each name is replaced by what it resolves to
 * now, and the resource is given again when that changes.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { HostCache, type HostCacheOptions } from "#lib/host-cache.ts";
import { type Endpoint, EndpointSchema, type Endpoints, EndpointsSchema } from "#proto/l7_pb.ts";

export interface NamedHostsOptions {
  /** These Endpoints resources have other addresses now. */
  readonly onChange: (clusters: readonly string[]) => void;
  readonly resolve?: NonNullable<HostCacheOptions["resolve"]>;
  readonly now?: () => number;
}

const ENDPOINTS_FIELD = 2;
const HOSTNAME_FIELD = 2;

export class NamedHosts {
  readonly #hosts: HostCache;
  /** Only resources that have a host name in them. */
  readonly #named = new Map<string, Endpoints>();

  constructor({ onChange, resolve, now }: NamedHostsOptions) {
    this.#hosts = new HostCache({
      ...(resolve === undefined ? {} : { resolve }),
      ...(now === undefined ? {} : { now }),
      onChange: (hostname) => {
        const clusters = [...this.#named.values()].filter((one) => one.endpoints.some((e) => e.hostname === hostname));
        if (clusters.length > 0) onChange(clusters.map(({ cluster }) => cluster));
      },
    });
  }

  /** What the engine is to be given for this resource. */
  put(name: string, bytes: Uint8Array): Uint8Array {
    if (!hasHostnames(bytes)) {
      this.#named.delete(name);
      return bytes;
    }
    // A view into a response would keep all of it.
    this.#named.set(name, fromBinary(EndpointsSchema, bytes.slice()));
    return this.resolved(name) ?? bytes;
  }

  /** The resource with today's addresses; undefined when it has no host names. */
  resolved(name: string): Uint8Array | undefined {
    const resource = this.#named.get(name);
    if (resource === undefined) return undefined;
    const endpoints = resource.endpoints.flatMap((endpoint) => this.#addresses(endpoint));
    return toBinary(EndpointsSchema, create(EndpointsSchema, { cluster: resource.cluster, endpoints }));
  }

  remove(name: string): void {
    this.#named.delete(name);
  }

  /** To be called now and then: follows the name servers. */
  refresh(): void {
    if (this.#named.size === 0) return;
    const inUse = new Set([...this.#named.values()].flatMap(({ endpoints }) => endpoints.map((e) => e.hostname)));
    this.#hosts.refresh((hostname) => inUse.has(hostname));
  }

  #addresses(endpoint: Endpoint): Endpoint[] {
    if (endpoint.hostname === "") return [endpoint];
    const ips = this.#hosts.lookUp(endpoint.hostname) ?? [];
    return ips.map((ip) => create(EndpointSchema, { ...endpoint, ip, hostname: "" }));
  }
}

/** Without decoding: nearly all resources have none, and some have thousands of endpoints. */
function hasHostnames(bytes: Uint8Array): boolean {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (field !== ENDPOINTS_FIELD || wire !== WireType.LengthDelimited) {
      reader.skip(wire, field);
      continue;
    }
    const end = reader.uint32() + reader.pos;
    while (reader.pos < end) {
      const [inner, innerWire] = reader.tag();
      if (inner === HOSTNAME_FIELD) return true;
      reader.skip(innerWire, inner);
    }
  }
  return false;
}
