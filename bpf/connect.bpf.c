/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* cgroup/connect4, cgroup/connect6, at the pods' cgroup.
 *
 * Changes: the destination of connect() of an enrolled pod. TCP (MPTCP and TCP fast open too) goes
 * to the pod's own address, port 15001; DNS goes to the agent's resolver. What was asked for is
 * kept with the socket.
 *
 * Untouched: other network namespaces, the agent itself, loopback, the pod's own addresses,
 * link-local IPv6, UDP other than DNS.
 *
 * Failure: reject. Letting it through would put plaintext of a meshed workload on the wire.
 *
 * Oldest kernel: 5.15.
 */
#include "lib/core.h"
#include "lib/counters.h"
#include "lib/peer.h"
#include "lib/sock_addr.h"
#include "lib/steer.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* bpf_set_retval() is newer (5.18) than our oldest kernel; without it connect() says EPERM. */
enum bpf_func_id___retval {
	BPF_FUNC_set_retval___retval = 187,
};

static __always_inline int reject(enum weft_reason reason, int err)
{
	count_reason(reason);
	if (bpf_core_enum_value_exists(enum bpf_func_id___retval, BPF_FUNC_set_retval___retval))
		bpf_set_retval(err);
	return WEFT_REJECT;
}

/* Only UDP's DNS: other datagrams stay as they are. 1: `to` is set. */
static __always_inline int steer_udp(struct bpf_sock_addr *ctx, const struct weft_pod *pod,
				     const struct weft_address *asked, struct weft_address *to)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk || !steer_dns(pod, asked, sk->bound_dev_if, to))
		return 0;
	count_reason(WEFT_R_CAPTURED_DNS);
	return 1;
}

static __always_inline int steer_tcp(struct bpf_sock_addr *ctx, const struct weft_pod *pod,
				     const struct weft_address *asked, struct weft_address *to)
{
	struct bpf_sock *sk = ctx->sk;
	int err;

	if (sk && steer_dns(pod, asked, sk->bound_dev_if, to)) {
		count_reason(WEFT_R_CAPTURED_DNS);
		return 1;
	}
	err = steer_outbound(pod, asked, to);
	if (err)
		return err;
	count_reason(WEFT_R_CAPTURED_OUTBOUND);
	return 1;
}

/* 1: send to `to`. 0: leave alone. Else -errno. */
static __always_inline int steer_connect(struct bpf_sock_addr *ctx,
					 const struct weft_address *asked, struct weft_address *to)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	const struct weft_pod *pod = enrolled_pod(netns);
	struct bpf_sock *sk = ctx->sk;
	int steered = 0;

	if (!pod || current_is_agent())
		return 0;
	if (!sk)
		return -EINVAL;
	if (!stays_local(netns, &asked->ip)) {
		if (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP)
			steered = steer_tcp(ctx, pod, asked, to);
		else if (ctx->protocol == IPPROTO_UDP)
			steered = steer_udp(ctx, pod, asked, to);
	}
	if (steered < 0)
		return steered;
	if (steered)
		return remember_peer(sk, asked) ?: 1;
	/* The socket may have been steered before, and be used again (connect to AF_UNSPEC in
	 * between).
	 */
	bpf_sk_storage_delete(&weft_peer, sk);
	return 0;
}

static __always_inline int reject_connect(int err)
{
	switch (err) {
	case -ENETUNREACH:
		return reject(WEFT_R_NO_OWN_ADDRESS, err);
	case -ENOMEM:
		return reject(WEFT_R_MAP_FULL, err);
	default:
		return reject(WEFT_R_INTERNAL, err);
	}
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *ctx)
{
	struct weft_address asked, to = {};
	int steered;

	address_read4(&asked, ctx);
	steered = steer_connect(ctx, &asked, &to);
	if (steered < 0)
		return reject_connect(steered);
	if (steered)
		address_write4(ctx, &to);
	return WEFT_PROCEED;
}

SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *ctx)
{
	struct weft_address asked, to = {};
	int steered;

	address_read6(&asked, ctx);
	steered = steer_connect(ctx, &asked, &to);
	if (steered < 0)
		return reject_connect(steered);
	if (steered)
		address_write6(ctx, &to);
	return WEFT_PROCEED;
}
