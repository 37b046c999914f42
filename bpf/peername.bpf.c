/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* cgroup/getpeername4, getpeername6, at the pods' cgroup. The kernel runs them for accept() as
 * well.
 *
 * Changes: the peer that an application sees. A socket that was steered, or sent to an endpoint of
 * what it asked for, shows the address that it asked for; a socket that it accepted from the agent
 * shows the real client.
 *
 * Failure: none possible; a socket without a remembered peer shows the kernel's.
 *
 * Oldest kernel: 5.15.
 */
#include "lib/core.h"
#include "lib/direct.h"
#include "lib/flows.h"
#include "lib/peer.h"
#include "lib/sock_addr.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* An MPTCP socket is not the socket that was steered (its first subflow was), so it goes by the
 * connection's 4-tuple.
 */
static __always_inline const struct weft_address *peer_by_flow(struct bpf_sock_addr *ctx,
							       struct bpf_sock *sk)
{
	struct weft_flow_key key = {.netns = bpf_get_netns_cookie(ctx)};
	const struct weft_flow *flow;

	if (sk->family == AF_INET6) {
		ip_from_v6(&key.src, sk->src_ip6);
		ip_from_v6(&key.dst, sk->dst_ip6);
	} else {
		ip_from_v4(&key.src, sk->src_ip4);
		ip_from_v4(&key.dst, sk->dst_ip4);
	}
	key.src_port = sk->src_port;
	key.dst_port = bpf_ntohs(sk->dst_port);
	flow = bpf_map_lookup_elem(&weft_flows, &key);
	return flow && flow->kind == WEFT_FLOW_ORIG_DST ? &flow->address : NULL;
}

static __always_inline const struct weft_address *shown_peer(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	const struct weft_direct *direct;
	const struct weft_peer *peer;

	if (!sk)
		return NULL;
	peer = bpf_sk_storage_get(&weft_peer, sk, 0, 0);
	if (peer)
		return &peer->address;
	direct = bpf_sk_storage_get(&weft_direct, sk, 0, 0);
	if (direct)
		return direct->side == WEFT_SIDE_INITIATOR ? &direct->asked : NULL;
	return sk->protocol == IPPROTO_MPTCP ? peer_by_flow(ctx, sk) : NULL;
}

SEC("cgroup/getpeername4")
int weft_peername4(struct bpf_sock_addr *ctx)
{
	const struct weft_address *peer = shown_peer(ctx);

	if (peer && ip_is_v4(&peer->ip))
		address_write4(ctx, peer);
	return WEFT_PROCEED;
}

SEC("cgroup/getpeername6")
int weft_peername6(struct bpf_sock_addr *ctx)
{
	const struct weft_address *peer = shown_peer(ctx);

	if (peer)
		address_write6(ctx, peer);
	return WEFT_PROCEED;
}
