/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* cgroup/sendmsg4, sendmsg6, recvmsg4, recvmsg6, at the pods' cgroup.
 *
 * Changes: a datagram that an enrolled pod sends to port 53 goes to the agent's resolver; its
 * answer shows the server that was asked. Connected sockets were steered at connect(); their
 * answers come through recvmsg as well. One socket that asks several servers at once sees every
 * answer from the one that it asked last.
 *
 * Untouched: other network namespaces, the agent itself, everything but port 53.
 *
 * Failure: sendmsg rejects (the answer could not be shown truthfully); recvmsg leaves the address
 * as it is.
 *
 * Oldest kernel: 5.15.
 */
#include "lib/core.h"
#include "lib/counters.h"
#include "lib/peer.h"
#include "lib/sock_addr.h"
#include "lib/steer.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* 1: send to `to`. 0: leave alone. Else -errno. */
static __always_inline int steer_query(struct bpf_sock_addr *ctx, const struct weft_address *asked,
				       struct weft_address *to)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	const struct weft_pod *pod = enrolled_pod(netns);
	struct bpf_sock *sk = ctx->sk;

	if (!pod || !sk || asked->port != 53 || ctx->protocol != IPPROTO_UDP)
		return 0;
	if (current_is_agent() || stays_local(netns, &asked->ip))
		return 0;
	if (!steer_dns(pod, asked, sk->bound_dev_if, to))
		return 0;
	count_reason(WEFT_R_CAPTURED_DNS);
	return remember_peer(sk, asked, 0) ?: 1;
}

/* The server that the socket asked, when `from` is the agent's resolver. */
static __always_inline const struct weft_address *asked_server(struct bpf_sock_addr *ctx,
							       const struct weft_address *from)
{
	struct bpf_sock *sk = ctx->sk;
	const struct weft_peer *peer;

	if (!sk || from->port != WEFT_PORT_DNS || !ip_is_loopback(&from->ip))
		return NULL;
	peer = bpf_sk_storage_get(&weft_peer, sk, 0, 0);
	return peer ? &peer->address : NULL;
}

SEC("cgroup/sendmsg4")
int weft_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct weft_address asked, to = {};
	int steered;

	address_read4(&asked, ctx);
	steered = steer_query(ctx, &asked, &to);
	if (steered < 0) {
		count_reason(WEFT_R_MAP_FULL);
		return WEFT_REJECT;
	}
	if (steered)
		address_write4(ctx, &to);
	return WEFT_PROCEED;
}

SEC("cgroup/sendmsg6")
int weft_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct weft_address asked, to = {};
	int steered;

	address_read6(&asked, ctx);
	steered = steer_query(ctx, &asked, &to);
	if (steered < 0) {
		count_reason(WEFT_R_MAP_FULL);
		return WEFT_REJECT;
	}
	if (steered)
		address_write6(ctx, &to);
	return WEFT_PROCEED;
}

SEC("cgroup/recvmsg4")
int weft_recvmsg4(struct bpf_sock_addr *ctx)
{
	const struct weft_address *asked;
	struct weft_address from;

	address_read4(&from, ctx);
	asked = asked_server(ctx, &from);
	if (asked && ip_is_v4(&asked->ip))
		address_write4(ctx, asked);
	return WEFT_PROCEED;
}

SEC("cgroup/recvmsg6")
int weft_recvmsg6(struct bpf_sock_addr *ctx)
{
	const struct weft_address *asked;
	struct weft_address from;

	address_read6(&from, ctx);
	asked = asked_server(ctx, &from);
	if (asked)
		address_write6(ctx, asked);
	return WEFT_PROCEED;
}
