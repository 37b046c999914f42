/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* cgroup/getsockname4, getsockname6, at the pods' cgroup.
 *
 * Changes: the local address that an application sees of a connection that it made before its pod was
 * enrolled. That one goes by loopback (steer_held), and shows the pod's address as any other.
 *
 * Untouched: every other socket.
 *
 * Failure: none possible; a pod that is not enrolled yet, or no longer, shows the kernel's.
 *
 * Oldest kernel: 5.15.
 */
#include "lib/core.h"
#include "lib/peer.h"
#include "lib/pods.h"
#include "lib/sock_addr.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The pod whose address takes the place of loopback. */
static __always_inline const struct weft_pod *pod_of_held(struct bpf_sock_addr *ctx,
							  const struct weft_ip *local)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk || !ip_is_loopback(local) || bpf_ntohs(sk->dst_port) != WEFT_PORT_OUTBOUND ||
	    !bpf_sk_storage_get(&weft_peer, sk, 0, 0))
		return NULL;
	return enrolled_pod(bpf_get_netns_cookie(ctx));
}

SEC("cgroup/getsockname4")
int weft_sockname4(struct bpf_sock_addr *ctx)
{
	struct weft_address local;
	const struct weft_pod *pod;

	address_read4(&local, ctx);
	pod = pod_of_held(ctx, &local.ip);
	if (pod && pod->flags & WEFT_POD_HAS_IP4) {
		local.ip = pod->ip4;
		address_write4(ctx, &local);
	}
	return WEFT_PROCEED;
}

SEC("cgroup/getsockname6")
int weft_sockname6(struct bpf_sock_addr *ctx)
{
	struct weft_address local;
	const struct weft_pod *pod;
	bool v4;

	address_read6(&local, ctx);
	v4 = ip_is_v4(&local.ip);
	pod = pod_of_held(ctx, &local.ip);
	if (pod && pod->flags & (v4 ? WEFT_POD_HAS_IP4 : WEFT_POD_HAS_IP6)) {
		local.ip = v4 ? pod->ip4 : pod->ip6;
		address_write6(ctx, &local);
	}
	return WEFT_PROCEED;
}
