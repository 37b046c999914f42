/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* sockops, at the kubelet's cgroup.
 *
 * Changes: nothing of the connection. Writes down each connection that the kubelet opens before its
 * SYN leaves, so that sklookup lets probes through to the application. The entry dies with the
 * kubelet's socket.
 *
 * Failure: closed. A probe without an entry is plaintext from outside like any other (full map:
 * counted).
 *
 * Oldest kernel: 5.15.
 */
#include "lib/core.h"
#include "lib/counters.h"
#include "lib/flows.h"
#include "lib/pods.h"
#include "lib/probes.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void on_connect(struct bpf_sock_ops *ctx)
{
	__u64 socket = bpf_get_socket_cookie(ctx);
	struct weft_flow_key key;

	/* Should a pod ever come to live below the kubelet's cgroup, it is still no kubelet. */
	if (enrolled_pod(bpf_get_netns_cookie(ctx)))
		return;
	flow_from_sockops(&key, ctx, 0);
	if (bpf_map_update_elem(&weft_probes, &key, &socket, BPF_ANY)) {
		count_reason(WEFT_R_MAP_FULL);
		return;
	}
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void on_close(struct bpf_sock_ops *ctx)
{
	struct weft_flow_key key;
	const __u64 *socket;

	flow_from_sockops(&key, ctx, 0);
	socket = bpf_map_lookup_elem(&weft_probes, &key);
	if (socket && *socket == bpf_get_socket_cookie(ctx))
		bpf_map_delete_elem(&weft_probes, &key);
}

SEC("sockops")
int weft_probe(struct bpf_sock_ops *ctx)
{
	if (!ctx->sk)
		return 1;
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		on_connect(ctx);
	else if (ctx->op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == BPF_TCP_CLOSE)
		on_close(ctx);
	return 1;
}
