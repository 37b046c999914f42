/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* tc ingress (tcx), one instance per enrolled pod, at the host's end of its device.
 *
 * Changes: the way that packets of established direct connections take to the other pod: into its
 * device at once, past the host's bridge, routing and netfilter. TTL and MAC addresses stay as the
 * sending pod wrote them.
 *
 * Untouched: everything else. SYNs, so that the CNI's policy decides about each connection; what is
 * not plain TCP over IPv4 without options or IPv6 without extension headers; fragments; VLAN tags.
 *
 * Failure: the packet takes the ordinary way.
 *
 * Oldest kernel: 6.6 (tcx links, which go with their pins).
 */
#include "lib/core.h"
#include "lib/flows.h"
#include "lib/redirect.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Not in the headers that we build with. */
#define WEFT_TCX_NEXT (-1)

#define IP_FRAGMENT 0x3fff /* more fragments, or an offset */
#define IP_HEADER_WORDS 5  /* without options */

/* The pod whose packets come in here: addresses can be borrowed, the device cannot. */
const volatile __u64 weft_netns = 0;

/* ifindex -> the same. A device that goes takes its entry along, so that packets are never sent into
 * nothing, nor into a device that got the number later.
 */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, WEFT_MAX_DEVICES);
	__type(key, __u32);
	__type(value, __u32);
} weft_devices SEC(".maps");

static __always_inline bool add_ports(struct weft_flow_key *key, const struct tcphdr *tcp,
				      const void *end)
{
	if ((const void *)(tcp + 1) > end || tcp->syn)
		return false;
	key->src_port = bpf_ntohs(tcp->source);
	key->dst_port = bpf_ntohs(tcp->dest);
	return true;
}

static __always_inline bool flow_of_ip4(struct weft_flow_key *key, const struct iphdr *ip,
					const void *end)
{
	if ((const void *)(ip + 1) > end || ip->ihl != IP_HEADER_WORDS ||
	    ip->protocol != IPPROTO_TCP || (ip->frag_off & bpf_htons(IP_FRAGMENT)))
		return false;
	ip_from_v4(&key->src, ip->saddr);
	ip_from_v4(&key->dst, ip->daddr);
	return add_ports(key, (const void *)(ip + 1), end);
}

static __always_inline bool flow_of_ip6(struct weft_flow_key *key, const struct ipv6hdr *ip,
					const void *end)
{
	if ((const void *)(ip + 1) > end || ip->nexthdr != IPPROTO_TCP)
		return false;
	ip_from_v6(&key->src, ip->saddr.in6_u.u6_addr32);
	ip_from_v6(&key->dst, ip->daddr.in6_u.u6_addr32);
	return add_ports(key, (const void *)(ip + 1), end);
}

static __always_inline bool flow_of_packet(struct weft_flow_key *key, struct __sk_buff *skb)
{
	const void *end = (const void *)(long)skb->data_end;
	const struct ethhdr *eth = (const void *)(long)skb->data;

	if (skb->vlan_present || (const void *)(eth + 1) > end)
		return false;
	key->netns = weft_netns;
	key->_pad = 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return flow_of_ip4(key, (const void *)(eth + 1), end);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return flow_of_ip6(key, (const void *)(eth + 1), end);
	return false;
}

SEC("tc")
int weft_redirect(struct __sk_buff *skb)
{
	const struct weft_redirect *redirect;
	struct weft_flow_key key;
	__u32 ifindex;

	if (!flow_of_packet(&key, skb))
		return WEFT_TCX_NEXT;
	redirect = bpf_map_lookup_elem(&weft_redirects, &key);
	if (!redirect)
		return WEFT_TCX_NEXT;
	ifindex = redirect->ifindex;
	if (!bpf_map_lookup_elem(&weft_devices, &ifindex))
		return WEFT_TCX_NEXT;
	/* On a bridge the packet is addressed to the other pod's device, not to the host's end; the
	 * other pod's stack would drop what is not for "this host".
	 */
	if (skb->pkt_type == PACKET_OTHERHOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	/* What an earlier program has written for the host does not go from pod to pod. */
	skb->mark = 0;
	return bpf_redirect_peer(ifindex, 0);
}
