/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* sockops that makes every TCP connection between sockets of its cgroup an express one: for the
 * self-test and the tests, which have no pods. Never pinned.
 */
#include "lib/core.h"
#include "lib/express.h"
#include "lib/flows.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Only sockets of this namespace; 0: of any. */
const volatile __u64 weft_only_netns = 0;

/* Connections on their way, netns 0: 4-tuple -> cookie of the initiator's socket. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_EXPRESS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_flow_key);
	__type(value, __u64);
} weft_trial_flows SEC(".maps");

/* Connections that have ended, and the bytes that went directly in them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weft_express_total);
} weft_trial_total SEC(".maps");

static __always_inline void on_connect(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct weft_flow_key key;

	flow_from_sockops(&key, ctx, 0);
	bpf_map_update_elem(&weft_trial_flows, &key, &cookie, BPF_ANY);
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void on_accept(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	const __u64 *initiator;
	struct weft_flow_key key;

	flow_from_sockops(&key, ctx, 0);
	flow_reverse(&key);
	initiator = bpf_map_lookup_elem(&weft_trial_flows, &key);
	if (!initiator)
		return;
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	express_accept(ctx, sk, *initiator);
}

static __always_inline void on_close(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	const struct weft_express_pair *pair = bpf_map_lookup_elem(&weft_pairs, &cookie);
	struct weft_express_total *total;
	struct weft_flow_key key;
	__u32 zero = 0;

	flow_from_sockops(&key, ctx, 0);
	bpf_map_delete_elem(&weft_trial_flows, &key);
	if (!pair)
		return;
	total = bpf_map_lookup_elem(&weft_trial_total, &zero);
	if (total) {
		__sync_fetch_and_add(&total->connections, 1);
		__sync_fetch_and_add(&total->bytes, pair->end[WEFT_EXPRESS_INITIATOR].bytes +
							pair->end[WEFT_EXPRESS_ACCEPTOR].bytes);
	}
	express_close(cookie);
}

SEC("sockops")
int weft_express_tr(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk || (weft_only_netns && bpf_get_netns_cookie(ctx) != weft_only_netns))
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_connect(ctx);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		express_initiate(ctx, sk);
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
			on_close(ctx);
		break;
	}
	return 1;
}
