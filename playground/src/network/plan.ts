/** Which addresses a playground uses. Each playground has a number of its own, and its ranges follow from it. */

export interface AddressPair {
  readonly v4: string;
  readonly v6: string;
}

/** Numbers are below this: the second byte of three IPv4 ranges has room for so many. */
export const MAX_PLAYGROUNDS = 64;
/** Nodes count from 1; a node's number is the third byte of its pod range. */
export const MAX_NODES = 100;
/** Pods per node: the last byte of the node's range without network, gateway and broadcast. */
export const MAX_PODS_PER_NODE = 250;

export interface NetworkPlan {
  readonly index: number;
  readonly podRange: AddressPair;
  readonly serviceRange: AddressPair;
  /** Where the API server and the cluster DNS listen. */
  readonly fabric: AddressPair;
  readonly kubernetesService: AddressPair;
  readonly dnsService: AddressPair;
  /** Address of node `n` (from 1) on the fabric. */
  node(n: number): AddressPair;
  /** The range of pods of node `n`. */
  nodePods(n: number): AddressPair;
  /** Address of the `k`-th pod (from 2) of node `n`; `k` = 1 is the node itself. */
  pod(n: number, k: number): AddressPair;
  /** The `k`-th address of the service range. */
  service(k: number): AddressPair;
}

/** Prefix lengths of the fabric, where nodes see one another directly. */
export const FABRIC_BITS = { v4: 16, v6: 64 } as const;
/** Host part of IPv4 VIPs; both families allocate from the same numbers. */
export const SERVICE_COUNT = 65_000;

export function networkPlan(index: number): NetworkPlan {
  if (!Number.isInteger(index) || index < 0 || index >= MAX_PLAYGROUNDS) {
    throw new RangeError(`a playground's number is 0 to ${MAX_PLAYGROUNDS - 1}, not ${index}`);
  }
  const pods4 = `10.${64 + index}`;
  const services4 = `10.${128 + index}`;
  const nodes4 = `10.${192 + index}`;
  const site = `fd57:${(0x100 + index).toString(16)}`;
  const service = (k: number): AddressPair => ({
    v4: `${services4}.${k >> 8}.${k & 255}`,
    v6: `${site}:2::${k.toString(16)}`,
  });
  const pod = (n: number, k: number): AddressPair => ({
    v4: `${pods4}.${n}.${k}`,
    v6: `${site}:1:${n.toString(16)}::${k.toString(16)}`,
  });
  return {
    index,
    podRange: { v4: `${pods4}.0.0/16`, v6: `${site}:1::/48` },
    serviceRange: { v4: `${services4}.0.0/16`, v6: `${site}:2::/112` },
    fabric: { v4: `${nodes4}.0.1`, v6: `${site}:3::1` },
    kubernetesService: service(1),
    dnsService: service(10),
    node: (n) => ({ v4: `${nodes4}.0.${10 + n}`, v6: `${site}:3::${(0x10 + n).toString(16)}` }),
    nodePods: (n) => ({ v4: `${pods4}.${n}.0/24`, v6: `${site}:1:${n.toString(16)}::/64` }),
    pod,
    service,
  };
}
