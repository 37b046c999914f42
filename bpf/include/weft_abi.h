/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Keys and values of the pinned maps: what the BPF programs and the loader (native/src/bpf) say to
 * each other.
 *
 * Fixed width, explicit padding, the same layout from C and C++. A change to any struct, map name
 * or map size here needs a new WEFT_ABI: pins live under a folder named after it, so an older
 * agent's maps are never misread.
 */
#ifndef WEFT_ABI_H
#define WEFT_ABI_H

#include <linux/types.h>

#define WEFT_ABI 1

/* Ports that the agent listens on inside a pod's network namespace. */
#define WEFT_PORT_OUTBOUND 15001
#define WEFT_PORT_INBOUND_PLAINTEXT 15006
#define WEFT_PORT_INBOUND_HBONE 15008
#define WEFT_PORT_DNS 15053

/* Map sizes. Kubelet's default is 110 pods per node, the largest installations run some 500. */
#define WEFT_MAX_PODS 1024
/* Kubernetes gives a pod two addresses at most; room for CNIs that add more. */
#define WEFT_MAX_OWN_ADDRS 8192
/* Connections in flight that came through capture; allocated on use, about 130 bytes each. */
#define WEFT_MAX_FLOWS 262144
/* Probes in flight: 1,024 pods with three probes a second and a 1 s timeout, twice over. */
#define WEFT_MAX_PROBES 8192
/* Two listeners (IPv4, IPv6) per pod. */
#define WEFT_MAX_LISTENERS 2048
/* More than WEFT_R_MAX, so that new reasons do not change the map. */
#define WEFT_MAX_REASONS 128
/* The agent that runs now and the one that drains during an upgrade. */
#define WEFT_MAX_AGENTS 2

#ifdef __cplusplus
#define WEFT_ASSERT_SIZE(type, size) static_assert(sizeof(type) == (size), #type)
#else
#define WEFT_ASSERT_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
#endif

/* An address of either family, IPv4 as v4-mapped; network order. */
struct weft_ip {
	__be32 word[4];
};
WEFT_ASSERT_SIZE(struct weft_ip, 16);

/* weft_peer, weft_client: sk_storage. Port in host order. */
struct weft_address {
	struct weft_ip ip;
	__u16 port;
	__u16 _pad;
	__u32 _pad2;
};
WEFT_ASSERT_SIZE(struct weft_address, 24);

/* weft_pods: netns cookie -> enrolled pod. */
#define WEFT_POD_HAS_IP4 (1U << 0)
#define WEFT_POD_HAS_IP6 (1U << 1)
#define WEFT_POD_DNS (1U << 2)

struct weft_pod {
	/* Where captured connections are sent (port 15001): the pod's first address of each family.
	 */
	struct weft_ip ip4;
	struct weft_ip ip6;
	__u32 flags;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_pod, 40);

/* weft_own_addrs: the addresses of an enrolled pod -> 1. */
struct weft_own_addr {
	__u64 netns;
	struct weft_ip ip;
};
WEFT_ASSERT_SIZE(struct weft_own_addr, 24);

/* weft_flows: a connection as its initiator sees it. weft_probes has the same key with netns 0,
 * because the two ends are in different namespaces. Ports in host order.
 */
struct weft_flow_key {
	__u64 netns;
	struct weft_ip src;
	struct weft_ip dst;
	__u16 src_port;
	__u16 dst_port;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_flow_key, 48);

#define WEFT_FLOW_ORIG_DST 1 /* address: what the application asked for */
#define WEFT_FLOW_CLIENT 2   /* address: the client that the agent dials for */

struct weft_flow {
	struct weft_address address;
	/* Cookie of the socket that made the entry. */
	__u64 initiator;
	/* WEFT_FLOW_ORIG_DST: cookie of the agent's socket at the other end, 0 until there is one.
	 * The entry dies with it, or with the initiator when the connection never came about.
	 */
	__u64 acceptor;
	__u32 kind;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_flow, 48);

/* weft_listeners: SOCKHASH of the sockets that take plaintext from outside (15006). */
struct weft_listener_key {
	__u64 netns;
	/* AF_INET or AF_INET6 */
	__u32 family;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_listener_key, 16);

/* weft_config: one entry. Agents are known by cgroup; level is the cgroup's depth below the
 * hierarchy's root.
 */
struct weft_agent {
	__u64 cgroup;
	__u32 level;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_agent, 16);

struct weft_config {
	struct weft_agent agents[WEFT_MAX_AGENTS];
};
WEFT_ASSERT_SIZE(struct weft_config, 32);

#endif
