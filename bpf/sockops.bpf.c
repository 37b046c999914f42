/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* sockops, at the pods' cgroup (and at the agent's, when that is elsewhere).
 *
 * Changes: nothing of an approved connection. Before a SYN leaves, it writes down by 4-tuple what
 * the other end must know: the original destination of a steered connection (read by the agent at
 * accept), the real client of a connection that the agent dials (copied to the accepted socket),
 * that a direct connection is approved (asked for by sklookup of the destination). Removes it when
 * the connection ends, refused SYNs included. What is held (hold.bpf.c) tries again soon.
 * Connections that do not pass the agent end with a record for it. Who turns out not to talk to the
 * pod that was decided about is cut off (lib/approval.h).
 *
 * Failure: closed. Without an entry the agent refuses the connection (full map: counted), and a
 * direct one is plaintext from outside like any other; without a client entry the application sees
 * the pod's own address.
 *
 * Oldest kernel: 5.15 (bpf_get_netns_cookie in sockops).
 */
#include "lib/core.h"
#include "lib/agent.h"
#include "lib/approval.h"
#include "lib/counters.h"
#include "lib/direct.h"
#include "lib/events.h"
#include "lib/express.h"
#include "lib/flows.h"
#include "lib/peer.h"
#include "lib/pods.h"
#include "lib/probes.h"
#include "lib/record.h"
#include "lib/redirect.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* On a socket of the agent's that is about to dial an application: for whom. Written from user
 * space only.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct weft_address);
} weft_client SEC(".maps");

static __always_inline void watch_close(struct bpf_sock_ops *ctx)
{
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* ---- connections that do not pass the agent ----------------------------------------------------
 */

static __always_inline void on_direct_connect(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					      struct weft_direct *direct)
{
	struct weft_flow_key key;
	enum approval approval;

	flow_from_sockops(&key, ctx, direct->flow.netns);
	if (!is_approved(direct, &key)) {
		direct->path = WEFT_PATH_NONE;
		return;
	}
	direct->opened_ns = bpf_ktime_get_boot_ns();
	direct->flow = key;
	if (direct->path == WEFT_PATH_DIRECT) {
		approval = approve(ctx, sk, direct);
		if (approval == NOT_APPROVED) {
			direct->path = WEFT_PATH_NONE;
			return;
		}
		if (approval == EXPIRED)
			refuse(ctx, direct);
	}
	watch_close(ctx);
}

/* Both ends of a direct connection come here, each with its own socket and `direct`: the initiator
 * when the other end has answered, the acceptor when the handshake is through.
 */
static __always_inline void on_direct_established(struct bpf_sock_ops *ctx,
						  struct weft_direct *direct)
{
	direct->flags |= WEFT_EVENT_ESTABLISHED;
	watch_close(ctx);
	redirect_established(ctx, direct);
}

/* Do both pods want this connection to be express? */
static __always_inline bool wants_express(const struct weft_direct *direct)
{
	const struct weft_pod *src = enrolled_pod(direct->src_netns);
	const struct weft_pod *dst = enrolled_pod(direct->dst_netns);

	return src && dst && (src->flags & dst->flags & WEFT_POD_EXPRESS);
}

/* With fast open the acceptor was there first, and with bytes: that stays with TCP. */
static __always_inline void offer_express(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					  struct weft_direct *direct)
{
	const struct weft_flow *flow;

	if (direct->path != WEFT_PATH_DIRECT || (direct->flags & WEFT_EVENT_STRANGER) ||
	    !wants_express(direct))
		return;
	flow = bpf_map_lookup_elem(&weft_flows, &direct->flow);
	if (flow && !flow->acceptor && express_initiate(ctx, sk))
		direct->flags |= WEFT_EVENT_PAIRED;
}

/* The initiator's end has got an answer. */
static __always_inline void on_direct_answer(struct bpf_sock_ops *ctx, struct weft_direct *direct,
					     bool by_syn)
{
	if (direct->path == WEFT_PATH_DIRECT && !is_destination(direct, by_syn)) {
		direct->flags |= WEFT_EVENT_STRANGER;
		count_reason(WEFT_R_IDENTITY_ERROR);
		cut_off(ctx);
		return;
	}
	on_direct_established(ctx, direct);
}

/* The flow of a connection that a direct initiator has opened to this pod. */
static __always_inline void on_direct_accept(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					     const struct weft_flow_key *key,
					     struct weft_flow *flow)
{
	struct weft_direct *direct =
	    bpf_sk_storage_get(&weft_direct, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	flow->acceptor = bpf_get_socket_cookie(ctx);
	/* The initiator's end makes the record. */
	if (!direct)
		return;
	direct->flow = *key;
	direct->asked = flow->address;
	direct->src_netns = flow->src_netns;
	direct->dst_netns = key->netns;
	direct->opened_ns = bpf_ktime_get_boot_ns();
	direct->path = WEFT_PATH_DIRECT;
	direct->side = WEFT_SIDE_ACCEPTOR;
	direct->endpoint = flow->endpoint;
	on_direct_established(ctx, direct);
	if (wants_express(direct))
		express_accept(ctx, sk, flow->initiator);
}

static __always_inline void report_open(const struct weft_direct *direct,
					const struct tcp_sock___weft *tcp)
{
	struct weft_event *event = event_reserve();

	if (!event)
		return;
	record_fill(event, direct, tcp, BPF_TCP_ESTABLISHED);
	event->kind = WEFT_EVENT_OPEN;
	event->reason = WEFT_R_NONE;
	event->closed_ns = direct->opened_ns;
	event_submit(event);
}

/* Nobody has written this connection down, and it did not go to the agent: it is from outside. */
static __always_inline void on_plain_accept(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					    const struct weft_pod *pod,
					    const struct weft_flow_key *key)
{
	const struct tcp_sock___weft *tcp = tcp_of(sk);
	struct weft_flow_key probe = *key;
	struct weft_direct *direct;

	probe.netns = 0;
	if (!tcp || ip_is_loopback(&key->src) || is_own_address(key->netns, &key->src) ||
	    socket_is_agents(tcp) || bpf_map_lookup_elem(&weft_probes, &probe))
		return;
	direct = bpf_sk_storage_get(&weft_direct, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!direct) {
		count_reason(WEFT_R_EVENT_LOST);
		return;
	}
	direct->flow = *key;
	direct->asked.ip = key->dst;
	direct->asked.port = key->dst_port;
	direct->dst_netns = key->netns;
	direct->opened_ns = bpf_ktime_get_boot_ns();
	direct->path = WEFT_PATH_PLAIN_IN;
	direct->side = WEFT_SIDE_ACCEPTOR;
	direct->flags = WEFT_EVENT_ESTABLISHED;
	watch_close(ctx);
	if (!(pod->flags & WEFT_POD_OPEN))
		report_open(direct, tcp);
}

/* Somebody has taken over the address of a pod whose SYN is approved, and its port. Is what anybody
 * from outside would be, and gets as far.
 */
static __always_inline void on_impostor(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					const struct weft_pod *pod, const struct weft_flow_key *key)
{
	count_reason(WEFT_R_IDENTITY_ERROR);
	if (!(pod->flags & WEFT_POD_OPEN))
		cut_off(ctx);
	on_plain_accept(ctx, sk, pod, key);
}

/* `state`: what the socket was in before it closed. */
static __always_inline void on_direct_close(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					    struct weft_direct *direct, __u32 state)
{
	const struct tcp_sock___weft *tcp = tcp_of(sk);
	struct weft_event *event;

	redirect_close(ctx, direct);
	if (direct->path == WEFT_PATH_DIRECT && direct->side == WEFT_SIDE_INITIATOR)
		bpf_map_delete_elem(&weft_flows, &direct->flow);
	/* The initiator's end makes the record of a direct connection. */
	if (tcp && (direct->path != WEFT_PATH_DIRECT || direct->side == WEFT_SIDE_INITIATOR)) {
		event = event_reserve();
		if (event) {
			record_fill(event, direct, tcp, state);
			event->kind = WEFT_EVENT_CLOSED;
			event->reason = end_reason(direct, tcp, state);
			event->closed_ns = bpf_ktime_get_boot_ns();
			express_record(event, tcp);
			event_submit(event);
		}
	}
	if (direct->flags & WEFT_EVENT_PAIRED)
		express_close(bpf_get_socket_cookie(ctx));
	direct->path = WEFT_PATH_NONE;
}

/* ---- connections of which one end is the agent's ------------------------------------------------
 */

static __always_inline void on_agent_connect(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct weft_flow flow = {.initiator = bpf_get_socket_cookie(ctx)};
	const struct weft_address *client = bpf_sk_storage_get(&weft_client, sk, 0, 0);
	const struct weft_peer *peer;
	struct weft_flow_key key;

	flow_from_sockops(&key, ctx, bpf_get_netns_cookie(ctx));
	if (client) {
		flow.kind = WEFT_FLOW_CLIENT;
		flow.address = *client;
	} else {
		if (key.dst_port != WEFT_PORT_OUTBOUND)
			return;
		peer = bpf_sk_storage_get(&weft_peer, sk, 0, 0);
		if (!peer)
			return;
		flow.kind = WEFT_FLOW_ORIG_DST;
		flow.address = peer->address;
		flow.endpoint = peer->endpoint;
	}
	if (bpf_map_update_elem(&weft_flows, &key, &flow, BPF_ANY)) {
		count_reason(WEFT_R_MAP_FULL);
		return;
	}
	watch_close(ctx);
}

/* An application may connect, write and close before the agent has looked up where to: the kernel
 * acknowledges the FIN by itself. So from the handshake on, the entry belongs to the agent's end.
 */
static __always_inline void on_agent_close(struct bpf_sock_ops *ctx)
{
	__u64 socket = bpf_get_socket_cookie(ctx);
	const struct weft_flow *flow;
	struct weft_flow_key key;

	flow_from_sockops(&key, ctx, bpf_get_netns_cookie(ctx));
	flow = bpf_map_lookup_elem(&weft_flows, &key);
	if (flow && flow->initiator == socket) {
		if (!flow->acceptor)
			bpf_map_delete_elem(&weft_flows, &key);
		return;
	}
	flow_reverse(&key);
	flow = bpf_map_lookup_elem(&weft_flows, &key);
	if (flow && flow->acceptor == socket)
		bpf_map_delete_elem(&weft_flows, &key);
}

/* ---- the hook -----------------------------------------------------------------------------------
 */

static __always_inline void on_connect(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct weft_direct *direct = bpf_sk_storage_get(&weft_direct, sk, 0, 0);

	if (direct)
		on_direct_connect(ctx, sk, direct);
	else
		on_agent_connect(ctx, sk);
}

static __always_inline void on_accept(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	const struct weft_pod *pod = enrolled_pod(netns);
	struct weft_direct *direct;
	struct weft_flow_key key;
	struct weft_flow *flow;

	if (!pod)
		return;
	/* Simultaneous open: who has connected "accepts". */
	direct = bpf_sk_storage_get(&weft_direct, sk, 0, 0);
	if (direct) {
		if (direct->path)
			on_direct_answer(ctx, direct, true);
		return;
	}
	flow_from_sockops(&key, ctx, netns);
	flow_reverse(&key);
	flow = bpf_map_lookup_elem(&weft_flows, &key);
	if (!flow) {
		on_plain_accept(ctx, sk, pod, &key);
		return;
	}
	switch (flow->kind) {
	case WEFT_FLOW_ORIG_DST:
		flow->acceptor = bpf_get_socket_cookie(ctx);
		watch_close(ctx);
		break;
	case WEFT_FLOW_CLIENT:
		if (remember_peer(sk, &flow->address, 0))
			count_reason(WEFT_R_MAP_FULL);
		break;
	case WEFT_FLOW_DIRECT:
		if (ctx->rcv_nxt == flow->isn + 1)
			on_direct_accept(ctx, sk, &key, flow);
		else
			on_impostor(ctx, sk, pod, &key);
		break;
	}
}

static __always_inline void on_answer(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct weft_direct *direct = bpf_sk_storage_get(&weft_direct, sk, 0, 0);

	if (!direct || !direct->path)
		return;
	on_direct_answer(ctx, direct, false);
	offer_express(ctx, sk, direct);
}

static __always_inline void on_close(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct weft_direct *direct = bpf_sk_storage_get(&weft_direct, sk, 0, 0);

	if (!direct)
		on_agent_close(ctx);
	else if (direct->path)
		on_direct_close(ctx, sk, direct, ctx->args[0]);
}

/* Has connect() sent it to the agent by loopback? Then the agent was not there yet. */
static __always_inline bool is_held(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct weft_flow_key key;

	flow_from_sockops(&key, ctx, 0);
	return key.dst_port == WEFT_PORT_OUTBOUND && ip_is_loopback(&key.dst) &&
	       bpf_sk_storage_get(&weft_peer, sk, 0, 0);
}

SEC("sockops")
int weft_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_connect(ctx, sk);
		break;
	case BPF_SOCK_OPS_TIMEOUT_INIT:
		if (is_held(ctx, sk))
			ctx->reply = WEFT_HOLD_TIMEOUT_JIFFIES;
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		on_answer(ctx, sk);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_accept(ctx, sk);
		break;
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		express_transmit(ctx, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		express_state(ctx, sk);
		if (ctx->args[1] == BPF_TCP_CLOSE)
			on_close(ctx, sk);
		break;
	}
	return 1;
}
