/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* weft_flows: facts about a connection that its other end needs, keyed by 4-tuple within a network
 * namespace. An entry is made before the SYN leaves and goes when the connection does.
 */
#ifndef WEFT_FLOWS_H
#define WEFT_FLOWS_H

#include "lib/address.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_FLOWS);
	/* Most nodes have a hundredth of the bound open. */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_flow_key);
	__type(value, struct weft_flow);
} weft_flows SEC(".maps");

/* The socket's connection with the local end as source. Mapped sockets of AF_INET6 come out as IPv4
 * by themselves.
 */
static __always_inline void flow_from_sockops(struct weft_flow_key *key, struct bpf_sock_ops *ctx,
					      __u64 netns)
{
	__be32 local, remote;

	key->netns = netns;
	key->src_port = ctx->local_port;
	key->dst_port = bpf_ntohl(ctx->remote_port);
	key->_pad = 0;
	if (ctx->family == AF_INET6) {
		ip_from_v6(&key->src, ctx->local_ip6);
		ip_from_v6(&key->dst, ctx->remote_ip6);
		return;
	}
	local = ctx->local_ip4;
	remote = ctx->remote_ip4;
	/* Else clang makes one load of the families' two, from a computed place in the context,
	 * which the verifier refuses.
	 */
	barrier_var(local);
	barrier_var(remote);
	ip_from_v4(&key->src, local);
	ip_from_v4(&key->dst, remote);
}

/* The same connection as its initiator sees it. */
static __always_inline void flow_reverse(struct weft_flow_key *key)
{
	struct weft_ip ip = key->src;
	__u16 port = key->src_port;

	key->src = key->dst;
	key->src_port = key->dst_port;
	key->dst = ip;
	key->dst_port = port;
}

#endif
