/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What sockops does to make sure that a direct connection is the one that was decided about: from
 * this socket, to that pod, by a verdict that still holds.
 */
#ifndef WEFT_APPROVAL_H
#define WEFT_APPROVAL_H

#include "lib/counters.h"
#include "lib/flows.h"
#include "lib/kernel.h"
#include "lib/pods.h"

/* Is this the connection that connect() approved? The pod may have been released and the socket
 * used for something else meanwhile, and routing may have chosen an address that policies were not
 * asked about.
 */
static __always_inline bool is_approved(const struct weft_direct *direct,
					const struct weft_flow_key *actual)
{
	const struct weft_pod *pod = enrolled_pod(direct->src_netns);

	if (!pod || actual->dst_port != direct->flow.dst_port ||
	    !ip_equal(&actual->dst, &direct->flow.dst))
		return false;
	return direct->path == WEFT_PATH_PLAIN_OUT ||
	       ip_equal(&actual->src, ip_is_v4(&actual->src) ? &pod->ip4 : &pod->ip6);
}

static __always_inline bool verdict_has_expired(const struct weft_direct *direct)
{
	const struct weft_pod *destination = enrolled_pod(direct->dst_netns);

	return !destination || destination->epoch != direct->epoch;
}

/* Leaves the socket without a way out or in; it ends when it is used, or soon after. sockops cannot
 * refuse a connection.
 */
static __always_inline void cut_off(struct bpf_sock_ops *ctx)
{
	int on = 1, probe_after_s = 1, give_up_ms = 1000;
	char device[] = "lo";

	bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, device, sizeof(device));
	bpf_setsockopt(ctx, IPPROTO_TCP, TCP_USER_TIMEOUT, &give_up_ms, sizeof(give_up_ms));
	bpf_setsockopt(ctx, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	bpf_setsockopt(ctx, IPPROTO_TCP, TCP_KEEPIDLE, &probe_after_s, sizeof(probe_after_s));
	bpf_setsockopt(ctx, IPPROTO_TCP, TCP_KEEPINTVL, &probe_after_s, sizeof(probe_after_s));
}

enum approval {
	NOT_APPROVED,
	APPROVED,
	/* What was decided at connect() does not hold any more. As plaintext it would have no
	 * identity, by which it may be denied now; and who puts off a SYN (TCP_FASTOPEN_CONNECT)
	 * chooses when this happens.
	 */
	EXPIRED,
};

/* Has sklookup of the destination drop the SYN that is about to leave. */
static __always_inline void refuse(struct bpf_sock_ops *ctx, struct weft_direct *direct)
{
	struct weft_flow *flow = bpf_map_lookup_elem(&weft_flows, &direct->flow);

	direct->flags |= WEFT_EVENT_EXPIRED;
	count_reason(WEFT_R_NO_VERDICT);
	if (flow)
		flow->kind = WEFT_FLOW_REFUSED;
	/* Whoever has the address now: that pod does not ask any more. */
	if (!flow || !enrolled_pod(direct->dst_netns))
		cut_off(ctx);
}

/* Lets the SYN that is about to leave pass sklookup of the destination. */
static __always_inline enum approval approve(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					     const struct weft_direct *direct)
{
	const struct tcp_sock___weft *tcp = tcp_of(sk);
	struct weft_flow flow = {
	    .address = direct->asked,
	    .initiator = bpf_get_socket_cookie(ctx),
	    .src_netns = direct->src_netns,
	    .kind = WEFT_FLOW_DIRECT,
	    .endpoint = direct->endpoint,
	};

	if (!tcp)
		return NOT_APPROVED;
	flow.isn = tcp->write_seq;
	if (bpf_map_update_elem(&weft_flows, &direct->flow, &flow, BPF_ANY)) {
		count_reason(WEFT_R_MAP_FULL);
		return NOT_APPROVED;
	}
	/* Whoever expires verdicts looks at the sockets next, to end what is no longer allowed.
	 * This one can be seen by now; was it early enough? If not, it was decided by what was
	 * known before.
	 */
	return verdict_has_expired(direct) ? EXPIRED : APPROVED;
}

/* Has the destination connected to this very socket (simultaneous open)? Then the SYN met a socket
 * there, and no sklookup.
 */
static __always_inline bool is_mutual(const struct weft_direct *direct)
{
	struct weft_flow_key key = direct->flow;
	const struct weft_flow *flow;

	key.netns = direct->src_netns;
	flow_reverse(&key);
	flow = bpf_map_lookup_elem(&weft_flows, &key);
	return flow && flow->kind == WEFT_FLOW_DIRECT && flow->src_netns == direct->dst_netns;
}

/* Nobody but the destination, whose own sklookup lets the SYN through, may have answered: another
 * pod may have its address by now, and an agent that is away tells nobody. `by_syn`: the answer was
 * a SYN of its own.
 */
static __always_inline bool is_destination(const struct weft_direct *direct, bool by_syn)
{
	const struct weft_flow *flow;

	if (!by_syn) {
		flow = bpf_map_lookup_elem(&weft_flows, &direct->flow);
		if (flow && flow->passed)
			return true;
	}
	return is_mutual(direct);
}

#endif
