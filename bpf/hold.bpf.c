/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* cgroup_skb/egress and ingress, at the folder of a pod that belongs to the mesh and is not
 * captured yet, and there only as long as that lasts: no packet of any other pod comes here.
 *
 * Changes: the first packet of a connection. One that connect() has sent to the agent's port on
 * loopback, where nobody listens yet, is lost instead of being answered with a reset; one from
 * outside to an application, which no policy has been asked about, is lost too. TCP sends each
 * again, and by then the agent is there.
 *
 * Untouched: loopback to any other port, everything that is not the first packet of a TCP
 * connection.
 *
 * Failure: closed. Without an agent connections wait for the next, until TCP gives up.
 *
 * Oldest kernel: 5.15.
 */
#include "lib/core.h"
#include "lib/counters.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
/* Always the first device of a network namespace. */
#define LOOPBACK_IFINDEX 1
/* Flags in the 14th byte of a TCP header. */
#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define PROTOCOL_OFFSET4 9
#define PROTOCOL_OFFSET6 6
#define HEADER_LENGTH6 40

/* Offset of the TCP header, 0: another protocol. IPv6 extension headers before TCP are none of what
 * a kernel sends by itself; who puts some there from outside gets past, as in a pod without a mesh.
 */
static __always_inline __u32 tcp_offset(struct __sk_buff *skb)
{
	__u8 first, protocol;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, 0, &first, sizeof(first)) ||
		    bpf_skb_load_bytes(skb, PROTOCOL_OFFSET4, &protocol, sizeof(protocol)))
			return 0;
		return protocol == IPPROTO_TCP ? (first & 0xf) * 4 : 0;
	}
	if (skb->protocol != bpf_htons(ETH_P_IPV6) ||
	    bpf_skb_load_bytes(skb, PROTOCOL_OFFSET6, &protocol, sizeof(protocol)))
		return 0;
	return protocol == IPPROTO_TCP ? HEADER_LENGTH6 : 0;
}

/* Is it the first packet of a connection, and to which port (host order)? */
static __always_inline bool opens_connection(struct __sk_buff *skb, __u16 *port)
{
	__u32 offset = tcp_offset(skb);
	__be16 wire_port;
	__u8 flags;

	if (!offset || bpf_skb_load_bytes(skb, offset + 2, &wire_port, sizeof(wire_port)) ||
	    bpf_skb_load_bytes(skb, offset + 13, &flags, sizeof(flags)))
		return false;
	*port = bpf_ntohs(wire_port);
	return (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

SEC("cgroup_skb/egress")
int weft_hold_out(struct __sk_buff *skb)
{
	__u16 port;

	if (skb->ifindex != LOOPBACK_IFINDEX || !opens_connection(skb, &port) ||
	    port != WEFT_PORT_OUTBOUND)
		return WEFT_PROCEED;
	return WEFT_REJECT;
}

SEC("cgroup_skb/ingress")
int weft_hold_in(struct __sk_buff *skb)
{
	__u16 port;

	if (skb->ifindex == LOOPBACK_IFINDEX || !opens_connection(skb, &port))
		return WEFT_PROCEED;
	count_reason(WEFT_R_HELD);
	return WEFT_REJECT;
}
