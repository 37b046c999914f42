/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* sockops, at the pods' cgroup (and at the agent's, when that is elsewhere).
 *
 * Changes: nothing of the connection. Before a SYN leaves, it writes down by 4-tuple what the other
 * end must know: the original destination of a steered connection (read by the agent at accept),
 * the real client of a connection that the agent dials (copied to the accepted socket). Removes it
 * when the connection ends, refused SYNs included.
 *
 * Failure: closed. Without an entry the agent refuses the connection (full map: counted); without a
 * client entry the application sees the pod's own address.
 *
 * Oldest kernel: 5.15 (bpf_get_netns_cookie in sockops).
 */
#include "lib/core.h"
#include "lib/counters.h"
#include "lib/flows.h"
#include "lib/peer.h"
#include "lib/pods.h"

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

static __always_inline void add_flow(struct bpf_sock_ops *ctx, const struct weft_flow_key *key,
				     const struct weft_address *address, __u32 kind)
{
	struct weft_flow flow = {
	    .address = *address,
	    .initiator = bpf_get_socket_cookie(ctx),
	    .kind = kind,
	};

	if (bpf_map_update_elem(&weft_flows, key, &flow, BPF_ANY)) {
		count_reason(WEFT_R_MAP_FULL);
		return;
	}
	watch_close(ctx);
}

static __always_inline void on_connect(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	const struct weft_address *address;
	struct weft_flow_key key;

	flow_from_sockops(&key, ctx, bpf_get_netns_cookie(ctx));
	address = bpf_sk_storage_get(&weft_client, sk, 0, 0);
	if (address) {
		add_flow(ctx, &key, address, WEFT_FLOW_CLIENT);
		return;
	}
	if (key.dst_port != WEFT_PORT_OUTBOUND)
		return;
	address = bpf_sk_storage_get(&weft_peer, sk, 0, 0);
	if (address)
		add_flow(ctx, &key, address, WEFT_FLOW_ORIG_DST);
}

static __always_inline void on_accept(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct weft_flow_key key;
	struct weft_flow *flow;

	if (!enrolled_pod(netns))
		return;
	flow_from_sockops(&key, ctx, netns);
	flow_reverse(&key);
	flow = bpf_map_lookup_elem(&weft_flows, &key);
	if (!flow)
		return;
	if (flow->kind == WEFT_FLOW_ORIG_DST) {
		flow->acceptor = bpf_get_socket_cookie(ctx);
		watch_close(ctx);
		return;
	}
	if (remember_peer(sk, &flow->address))
		count_reason(WEFT_R_MAP_FULL);
}

/* An application may connect, write and close before the agent has looked up where to: the kernel
 * acknowledges the FIN by itself. So from the handshake on, the entry belongs to the agent's end.
 */
static __always_inline void on_close(struct bpf_sock_ops *ctx)
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
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_accept(ctx, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			on_close(ctx);
		break;
	}
	return 1;
}
