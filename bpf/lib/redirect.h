/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* weft_redirects: which packets redirect.bpf.c sends straight into another pod's device. Written by
 * sockops, for both directions at once: a host that sees one half of a connection takes the other
 * for nonsense (conntrack: INVALID).
 */
#ifndef WEFT_REDIRECT_H
#define WEFT_REDIRECT_H

#include "lib/counters.h"
#include "lib/flows.h"
#include "lib/pods.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_REDIRECTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_flow_key);
	__type(value, struct weft_redirect);
} weft_redirects SEC(".maps");

/* The connection's packets as one of its ends sends them. */
static __always_inline void redirect_key(struct weft_flow_key *key, const struct weft_direct *direct,
					 __u32 side)
{
	*key = direct->flow;
	if (side == WEFT_SIDE_INITIATOR) {
		key->netns = direct->src_netns;
		return;
	}
	key->netns = direct->dst_netns;
	flow_reverse(key);
}

/* The initiator's end, before its ACK leaves: the host has seen the SYN and its answer, and sees
 * nothing else.
 */
static __always_inline bool redirect_open(struct bpf_sock_ops *ctx, const struct weft_direct *direct)
{
	struct weft_redirect redirect = {.initiator = bpf_get_socket_cookie(ctx)};
	const struct weft_pod *src, *dst;
	struct weft_flow_key key;

	if (direct->src_netns == direct->dst_netns)
		return false;
	src = enrolled_pod(direct->src_netns);
	dst = enrolled_pod(direct->dst_netns);
	if (!src || !dst || !src->ifindex || !dst->ifindex)
		return false;
	/* The acceptor may never come about: its queue may be full. */
	redirect_key(&key, direct, WEFT_SIDE_ACCEPTOR);
	redirect.ifindex = src->ifindex;
	redirect.closed = 1;
	if (bpf_map_update_elem(&weft_redirects, &key, &redirect, BPF_ANY)) {
		count_reason(WEFT_R_MAP_FULL);
		return false;
	}
	redirect_key(&key, direct, WEFT_SIDE_INITIATOR);
	redirect.ifindex = dst->ifindex;
	redirect.closed = 0;
	if (bpf_map_update_elem(&weft_redirects, &key, &redirect, BPF_ANY)) {
		redirect_key(&key, direct, WEFT_SIDE_ACCEPTOR);
		bpf_map_delete_elem(&weft_redirects, &key);
		count_reason(WEFT_R_MAP_FULL);
		return false;
	}
	count_reason(WEFT_R_REDIRECTED);
	return true;
}

/* The acceptor's end, which the ACK has reached by the other way. */
static __always_inline bool redirect_accept(const struct weft_direct *direct)
{
	struct weft_redirect *redirect;
	struct weft_flow_key key;

	redirect_key(&key, direct, WEFT_SIDE_ACCEPTOR);
	redirect = bpf_map_lookup_elem(&weft_redirects, &key);
	if (!redirect)
		return false;
	redirect->closed = 0;
	return true;
}

/* Either end of a direct connection is established. */
static __always_inline void redirect_established(struct bpf_sock_ops *ctx,
						 struct weft_direct *direct)
{
	if (direct->path != WEFT_PATH_DIRECT)
		return;
	if (direct->side == WEFT_SIDE_INITIATOR ? redirect_open(ctx, direct)
						: redirect_accept(direct))
		direct->flags |= WEFT_EVENT_REDIRECTED;
}

/* Either end has closed. The first only leaves its mark: an initiator that has closed may be in
 * TIME_WAIT or FIN_WAIT2, and answers the other's FIN from there.
 */
static __always_inline void redirect_close(struct bpf_sock_ops *ctx,
					   const struct weft_direct *direct)
{
	struct weft_flow_key own, reverse;
	struct weft_redirect *redirect;

	if (!(direct->flags & WEFT_EVENT_REDIRECTED))
		return;
	redirect_key(&own, direct, direct->side);
	redirect = bpf_map_lookup_elem(&weft_redirects, &own);
	if (!redirect)
		return;
	if (direct->side == WEFT_SIDE_INITIATOR &&
	    redirect->initiator != bpf_get_socket_cookie(ctx))
		return;
	/* An atomic, so that of two ends that close at once one sees the other's mark. */
	__sync_lock_test_and_set(&redirect->closed, 1);
	redirect_key(&reverse, direct,
		     direct->side == WEFT_SIDE_INITIATOR ? WEFT_SIDE_ACCEPTOR : WEFT_SIDE_INITIATOR);
	redirect = bpf_map_lookup_elem(&weft_redirects, &reverse);
	if (redirect && !redirect->closed)
		return;
	bpf_map_delete_elem(&weft_redirects, &own);
	bpf_map_delete_elem(&weft_redirects, &reverse);
}

#endif
