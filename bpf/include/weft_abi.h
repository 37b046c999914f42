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

/* The upgrade test compiles the loader with another. */
#ifndef WEFT_ABI
#define WEFT_ABI 2
#endif

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
/* Destinations that pods of this node have asked for, as many as the agent's book of routes holds. */
#define WEFT_MAX_ROUTES 65536
/* Slots of all endpoint sets; a set that does not fit leaves its routes to the agent. */
#define WEFT_MAX_ENDPOINTS 262144
/* Pairs of pods of this node that talk, by port: 110 pods, each with a dozen local peers, twice over,
 * would be 3,000.
 */
#define WEFT_MAX_VERDICTS 65536
/* Both directions of 65,536 direct connections; those beyond take the ordinary way. Allocated on use,
 * but the table's first part, which every packet looks into, is not: 2 MB.
 */
#define WEFT_MAX_REDIRECTS 131072
/* Devices that packets may be sent into: one per pod, and one more while it is replaced. */
#define WEFT_MAX_DEVICES (2 * WEFT_MAX_PODS)
/* Pods' folders of a node, and those of the classes between: four times what the largest have, for
 * pods that come and go.
 */
#define WEFT_MAX_MEMBERS 4096
/* Bytes of the event ring: 6,000 records, 300 ms of 20,000 connections a second. */
#define WEFT_EVENTS_BYTES (1 << 20)

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

/* Port in host order. weft_client: sk_storage. */
struct weft_address {
	struct weft_ip ip;
	__u16 port;
	__u16 _pad;
	__u32 _pad2;
};
WEFT_ASSERT_SIZE(struct weft_address, 24);

/* weft_peer: sk_storage of an application's socket that was steered, or that it accepted from the agent. */
struct weft_peer {
	/* The peer that the application sees. */
	struct weft_address address;
	/* Key of the endpoint that was chosen for the agent; 0: it chooses. */
	__u32 endpoint;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_peer, 32);

/* weft_pods: netns cookie -> enrolled pod. */
#define WEFT_POD_HAS_IP4 (1U << 0)
#define WEFT_POD_HAS_IP6 (1U << 1)
#define WEFT_POD_DNS (1U << 2)
/* No policy is in force for this pod: plaintext from outside may go to its applications by itself. */
#define WEFT_POD_OPEN (1U << 3)
/* The pod has asked for express connections. */
#define WEFT_POD_EXPRESS (1U << 4)

struct weft_pod {
	/* Where captured connections are sent (port 15001): the pod's first address of each family.
	 */
	struct weft_ip ip4;
	struct weft_ip ip6;
	__u32 flags;
	/* A verdict about connections to this pod counts only if it has this epoch. */
	__u32 epoch;
	/* The host's end of the pod's device where packets may be sent past the host's network; 0:
	 * none.
	 */
	__u32 ifindex;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_pod, 48);

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
/* An approved connection between two pods of this node. Its key has the namespace of the
 * destination, whose sk_lookup asks. address: what the application asked for.
 */
#define WEFT_FLOW_DIRECT 3
/* As WEFT_FLOW_DIRECT, but its verdict had expired when the SYN was to leave: sk_lookup drops it. */
#define WEFT_FLOW_REFUSED 4

struct weft_flow {
	struct weft_address address;
	/* Cookie of the socket that made the entry. */
	__u64 initiator;
	/* Cookie of the socket at the other end (WEFT_FLOW_ORIG_DST: the agent's), 0 until there is
	 * one. An entry of WEFT_FLOW_ORIG_DST dies with it, or with the initiator when the connection
	 * never came about; the others die with the initiator.
	 */
	__u64 acceptor;
	/* WEFT_FLOW_DIRECT: network namespace of the initiator. */
	__u64 src_netns;
	__u32 kind;
	/* WEFT_FLOW_ORIG_DST: key of the endpoint that was chosen for the agent; 0: it chooses. */
	__u32 endpoint;
	/* WEFT_FLOW_DIRECT: 1 once the destination's own sk_lookup has let a SYN through. Who answers
	 * without is not that pod.
	 */
	__u32 passed;
	/* WEFT_FLOW_DIRECT: sequence number of the initiator's SYN. Who comes with another one has
	 * the initiator's address and port, but is not that socket.
	 */
	__u32 isn;
};
WEFT_ASSERT_SIZE(struct weft_flow, 64);

/* weft_routes: what connections of a pod to an address do -> a set of endpoints. No entry: ask the
 * agent, which compiles the route and may write it here. Port in host order.
 */
struct weft_route_key {
	__u64 netns;
	struct weft_ip dst;
	__u16 port;
	__u16 _pad;
	__u32 _pad2;
};
WEFT_ASSERT_SIZE(struct weft_route_key, 32);

struct weft_route {
	/* Sets are never changed, a new one takes their place: whoever holds an old number finds its
	 * slots or none, never a mixture.
	 */
	__u32 set;
	/* Slots in the set, at least 1. */
	__u32 count;
};
WEFT_ASSERT_SIZE(struct weft_route, 8);

/* weft_endpoints: one endpoint of a set. A slot is drawn evenly, then kept or exchanged for its alias
 * (Walker's alias method), which gives each endpoint its weight with two look-ups at most.
 */
struct weft_endpoint_key {
	__u32 set;
	__u32 slot;
};
WEFT_ASSERT_SIZE(struct weft_endpoint_key, 8);

#define WEFT_ENDPOINT_DIRECT 1 /* enrolled on this node: direct when the verdict allows */
#define WEFT_ENDPOINT_AGENT 2  /* the agent tunnels to it */
#define WEFT_ENDPOINT_PLAIN 3  /* outside the mesh, and nothing needs the agent */

struct weft_endpoint {
	/* Where the application listens. */
	struct weft_address address;
	/* WEFT_ENDPOINT_DIRECT: cookie of the endpoint's network namespace. */
	__u64 netns;
	/* RouteEndpoint.key of the agent. */
	__u32 key;
	__u32 kind;
	/* Keep this slot when a random 32-bit number is at most this, else take `alias`. */
	__u32 keep;
	__u32 alias;
};
WEFT_ASSERT_SIZE(struct weft_endpoint, 48);

/* weft_verdicts: may this pod connect to that one? No entry, or one of another epoch: ask the agent.
 * The family is part of the question because policies may ask for addresses.
 */
struct weft_verdict_key {
	__u64 src_netns;
	__u64 dst_netns;
	__u32 port;
	/* AF_INET or AF_INET6 */
	__u32 family;
};
WEFT_ASSERT_SIZE(struct weft_verdict_key, 24);

struct weft_verdict {
	/* weft_pod.epoch of the destination when it was decided. */
	__u32 epoch;
	/* 1: allow, 0: deny */
	__u32 allow;
};
WEFT_ASSERT_SIZE(struct weft_verdict, 8);

/* Paths of connections that BPF alone handles. */
#define WEFT_PATH_NONE 0      /* over, or not to be: nothing to report */
#define WEFT_PATH_DIRECT 1    /* between two enrolled pods of this node */
#define WEFT_PATH_PLAIN_OUT 2 /* of an enrolled pod to an address outside the mesh */
#define WEFT_PATH_PLAIN_IN 3  /* into a pod without policies (WEFT_POD_OPEN) */

/* weft_direct: sk_storage of both sockets of a direct connection, and of the local one of a plain
 * connection: what its record says, and how to find its flow.
 */
#define WEFT_SIDE_INITIATOR 1
#define WEFT_SIDE_ACCEPTOR 2

struct weft_direct {
	/* The initiator's view. WEFT_PATH_DIRECT: also the key in weft_flows. netns: the destination's,
	 * or the pod's own on plain paths. The source's port is 0 until the SYN leaves.
	 */
	struct weft_flow_key flow;
	struct weft_address asked;
	/* 0: no pod of ours. */
	__u64 src_netns;
	__u64 dst_netns;
	/* CLOCK_BOOTTIME */
	__u64 opened_ns;
	__u32 path;
	__u32 side;
	__u32 endpoint;
	/* WEFT_EVENT_* flags */
	__u32 flags;
	/* WEFT_PATH_DIRECT: weft_pod.epoch of the destination that the verdict had. */
	__u32 epoch;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_direct, 120);

/* weft_events: ring buffer; also what the iterator over open connections writes. The decoder is
 * agent/src/direct/event-decoder.ts.
 */
/* Is open now, or being opened. In the ring: came about although what allowed it has ended meanwhile
 * (WEFT_POD_OPEN was taken away during the handshake, or the pod was enrolled); decide again.
 */
#define WEFT_EVENT_OPEN 1
#define WEFT_EVENT_CLOSED 2 /* has ended */
#define WEFT_EVENT_DENIED 3 /* connect() was refused by a verdict */

#define WEFT_EVENT_ESTABLISHED (1U << 0)
#define WEFT_EVENT_EXPRESS (1U << 1)    /* some bytes went by sk_msg */
#define WEFT_EVENT_REDIRECTED (1U << 2) /* packets went by bpf_redirect_peer */
#define WEFT_EVENT_STRANGER (1U << 3)   /* not the pod answered: the socket was cut off at once */
#define WEFT_EVENT_PAIRED (1U << 4)     /* sk_msg has been there to be used */
#define WEFT_EVENT_EXPIRED (1U << 5)    /* the verdict had expired when the SYN was to leave: cut off */
#define WEFT_EVENT_ORPHAN (1U << 6)     /* open: the acceptor's end, the initiator's has closed and has its record */

struct weft_event {
	__u32 kind;
	__u32 path;
	/* 0: no pod of ours. */
	__u64 src_netns;
	__u64 dst_netns;
	struct weft_address source;
	/* What the application asked for; PLAIN_IN: the same as destination. DENIED: source has no port, it was
	 * not chosen yet.
	 */
	struct weft_address asked;
	struct weft_address destination;
	/* CLOCK_BOOTTIME. Open: the time of the look. */
	__u64 opened_ns;
	__u64 closed_ns;
	/* From and to the initiator, payload as the applications count it: what the other end has acknowledged
	 * and what this end has received.
	 */
	__u64 request_bytes;
	__u64 response_bytes;
	/* The kernel's smoothed round trip time; 0: none measured. */
	__u32 srtt_us;
	__u32 retransmits;
	__u32 endpoint;
	/* enum weft_reason */
	__u32 reason;
	__u32 flags;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_event, 152);

/* weft_redirects: packets of an established direct connection, as the pod that sends them sees it
 * (netns: that pod's) -> the host's end of the other pod's device.
 */
struct weft_redirect {
	__u32 ifindex;
	/* 1: no socket sends these packets, not yet or no more. Entries go in pairs, when the second
	 * socket closes: until then one end may still have to answer the other's FIN.
	 */
	__u32 closed;
	/* Cookie of the initiator's socket, in both directions' entries. */
	__u64 initiator;
};
WEFT_ASSERT_SIZE(struct weft_redirect, 16);

/* weft_listeners: SOCKHASH of the sockets that take plaintext from outside (15006). */
struct weft_listener_key {
	__u64 netns;
	/* AF_INET or AF_INET6 */
	__u32 family;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_listener_key, 16);

/* weft_members: id of a pod's cgroup folder -> what the agent knows of the pod. Asked about connections
 * from namespaces that are not in weft_pods.
 */
#define WEFT_MEMBER_OUTSIDE 1 /* not of the mesh: untouched */
#define WEFT_MEMBER_INSIDE 2  /* of the mesh: never untouched */

/* weft_newcomers: one entry. What to think of a pod that is not in weft_members. */
struct weft_newcomers {
	/* CLOCK_BOOTTIME until which its connections are refused, renewed by a living agent: it is
	 * about to find out whose the pod is. Afterwards: untouched.
	 */
	__u64 guarded_until_ns;
	/* Cookie of the node's own network, which pods may be in. */
	__u64 host_netns;
	/* The folder of all pods. 0: none of this is in force. */
	__u64 pods_cgroup;
};
WEFT_ASSERT_SIZE(struct weft_newcomers, 24);

/* How deep the folder of all pods may be, as the kernel counts: 2 on most nodes, some more where nodes
 * are containers themselves.
 */
#define WEFT_MAX_PODS_LEVEL 16

/* First retransmission timeout of a connection that is held, in jiffies: 25 to 250 ms, as the kernel
 * was built. It doubles; with the kernel's default of six retransmissions a connection is held for 3
 * to 30 s.
 */
#define WEFT_HOLD_TIMEOUT_JIFFIES 25

/* weft_config: one entry. Agents are known by the cgroup that they are in, not by one above it: how
 * deep a cgroup is, as the kernel counts, cannot be seen from within a cgroup namespace.
 */
struct weft_agent {
	__u64 cgroup;
	__u64 _pad;
};
WEFT_ASSERT_SIZE(struct weft_agent, 16);

struct weft_config {
	struct weft_agent agents[WEFT_MAX_AGENTS];
	/* CLOCK_BOOTTIME until which WEFT_ENDPOINT_PLAIN and WEFT_POD_OPEN count, renewed by a living
	 * agent: an address that was outside the mesh may come to be inside, and a pod may get
	 * policies, while nobody watches.
	 */
	__u64 plain_until_ns;
};
WEFT_ASSERT_SIZE(struct weft_config, 40);

#endif
