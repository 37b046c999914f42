/** How CNIs join pods to a node: shell scripts for a node and pods that are network namespaces. */

export interface LayoutPod {
  readonly netns: string;
  /** The host's end of the pod's device, in the node's namespace. */
  readonly device: string;
  readonly ip: string;
  readonly ip6: string;
  readonly mtu: number;
  /** Of the host's end; absent: the kernel's choice. */
  readonly ifindex?: number;
}

export interface Layout {
  /** What nftables calls the path between pods, for counting what passes the node. */
  readonly family: "bridge" | "inet";
  prepare(node: string): string;
  join(node: string, pod: LayoutPod): string;
}

const GATEWAY = "10.77.0.1";
const GATEWAY6 = "fd77::1";
/** Calico gives it to the host's end of every pod. */
const SHARED_MAC = "ee:ee:ee:ee:ee:ee";
const SHARED_MAC_LINK_LOCAL = "fe80::ecee:eeff:feee:eeee";

/** The same when a device is made anew, as neighbours remember it. */
const mac = ({ ip }: LayoutPod): string => `02:00:00:00:00:${Number(ip.split(".")[3]).toString(16).padStart(2, "0")}`;
const index = ({ ifindex }: LayoutPod): string => (ifindex === undefined ? "" : `index ${ifindex}`);

const veth = (node: string, pod: LayoutPod): string => `
  ip -n ${node} link add ${pod.device} ${index(pod)} mtu ${pod.mtu} type veth peer name eth0 address ${mac(pod)} mtu ${pod.mtu} netns ${pod.netns}
  ip -n ${pod.netns} link set lo up`;

const up = (node: string, pod: LayoutPod): string => `
  ip -n ${node} link set ${pod.device} up
  ip -n ${pod.netns} link set eth0 up`;

/** A Linux bridge with an address: what most laptops have, and the CNI's bridge plugin with host-local addresses. */
function bridged(portOptions: string): Layout {
  return {
    family: "bridge",
    prepare: (node) => `
      ip -n ${node} link add br0 type bridge mcast_snooping 0
      ip -n ${node} addr add ${GATEWAY}/24 dev br0
      ip -n ${node} -6 addr add ${GATEWAY6}/64 dev br0 nodad
      ip -n ${node} link set br0 up`,
    join: (node, pod) => `
      ${veth(node, pod)}
      ip -n ${node} link set ${pod.device} master br0
      ${portOptions === "" ? "" : `bridge -n ${node} link set dev ${pod.device} ${portOptions}`}
      ip -n ${pod.netns} addr add ${pod.ip}/24 dev eth0
      ip -n ${pod.netns} -6 addr add ${pod.ip6}/64 dev eth0 nodad
      ${up(node, pod)}
      ip -n ${pod.netns} route add default via ${GATEWAY}
      ip -n ${pod.netns} -6 route add default via ${GATEWAY6}`,
  };
}

/** A /32 and a host route, the node answering for the gateway: Calico, GKE. */
const routed: Layout = {
  family: "inet",
  // The kernel answers for addresses that it would send elsewhere: a default route.
  prepare: (node) => `
    ip -n ${node} link add uplink type bridge
    ip -n ${node} addr add 192.0.2.1/24 dev uplink
    ip -n ${node} link set uplink up
    ip -n ${node} route add default via 192.0.2.254`,
  join: (node, pod) => `
    ${veth(node, pod)}
    ip -n ${node} link set ${pod.device} address ${SHARED_MAC}
    ip netns exec ${node} sysctl -qw net.ipv4.conf.${pod.device}.proxy_arp=1
    ip -n ${pod.netns} addr add ${pod.ip}/32 dev eth0
    ip -n ${pod.netns} -6 addr add ${pod.ip6}/128 dev eth0 nodad
    ${up(node, pod)}
    ip -n ${pod.netns} route add 169.254.1.1 dev eth0 scope link
    ip -n ${pod.netns} route add default via 169.254.1.1 dev eth0
    ip -n ${pod.netns} -6 route add default via ${SHARED_MAC_LINK_LOCAL} dev eth0
    ip -n ${node} route add ${pod.ip}/32 dev ${pod.device} scope link
    ip -n ${node} -6 route add ${pod.ip6}/128 dev ${pod.device}`,
};

/** The CNI's ptp plugin: a subnet in the pod, reached through the host's end, which has the gateway's address. */
const ptp: Layout = {
  family: "inet",
  prepare: () => "",
  join: (node, pod) => `
    ${veth(node, pod)}
    ip -n ${node} addr add ${GATEWAY}/32 dev ${pod.device}
    ip -n ${node} -6 addr add ${GATEWAY6}/128 dev ${pod.device} nodad
    ip -n ${pod.netns} addr add ${pod.ip}/24 dev eth0 noprefixroute
    ip -n ${pod.netns} -6 addr add ${pod.ip6}/64 dev eth0 nodad noprefixroute
    ${up(node, pod)}
    ip -n ${pod.netns} route add ${GATEWAY} dev eth0 scope link
    ip -n ${pod.netns} route add default via ${GATEWAY}
    ip -n ${pod.netns} -6 route add ${GATEWAY6} dev eth0
    ip -n ${pod.netns} -6 route add default via ${GATEWAY6}
    ip -n ${node} route add ${pod.ip}/32 dev ${pod.device} scope host
    ip -n ${node} -6 route add ${pod.ip6}/128 dev ${pod.device}`,
};

export const LAYOUTS = {
  bridge: bridged(""),
  "host-local bridge plugin": bridged("hairpin on"),
  routed,
  ptp,
} as const;
export type LayoutName = keyof typeof LAYOUTS;
