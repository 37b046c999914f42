/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* cgroup/connect4, cgroup/connect6, at the pods' cgroup.
 *
 * Changes: the destination of connect() of an enrolled pod. TCP (MPTCP and TCP fast open too) goes
 * to an endpoint of its route when the agent has said that it may go there by itself, else to the
 * pod's own address, port 15001; DNS goes to the agent's resolver. What was asked for is kept with
 * the socket. TCP of a pod of the mesh that is not enrolled yet waits for that; of a pod that
 * nobody knows yet it is refused for a while (lib/members.h).
 *
 * Untouched: other network namespaces, the agent itself, loopback, the pod's own addresses,
 * link-local IPv6, UDP other than DNS.
 *
 * Failure: reject. Letting it through would put plaintext of a meshed workload on the wire. What
 * the maps do not know goes to the agent.
 *
 * Oldest kernel: 5.15.
 */
#include "lib/core.h"
#include "lib/counters.h"
#include "lib/direct.h"
#include "lib/events.h"
#include "lib/kernel.h"
#include "lib/members.h"
#include "lib/peer.h"
#include "lib/routes.h"
#include "lib/sock_addr.h"
#include "lib/steer.h"
#include "lib/verdicts.h"

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

/* To the agent's resolver. */
static __always_inline int ask_agents_dns(struct bpf_sock *sk, const struct weft_address *asked)
{
	count_reason(WEFT_R_CAPTURED_DNS);
	return remember_peer(sk, asked, 0) ?: 1;
}

/* To the agent, which uses the endpoint with the key `chosen` as long as its own route has it; 0:
 * it chooses.
 */
static __always_inline int go_by_agent(struct bpf_sock *sk, const struct weft_pod *pod,
				       const struct weft_address *asked, __u32 chosen,
				       struct weft_address *to)
{
	int err = steer_outbound(pod, asked, to);

	if (err)
		return err;
	count_reason(WEFT_R_CAPTURED_OUTBOUND);
	return remember_peer(sk, asked, chosen) ?: 1;
}

/* Is the socket free to leave from the address that the policies were asked about? */
static __always_inline bool has_usual_source(struct bpf_sock *sk, const struct weft_pod *pod,
					     bool v4)
{
	const struct weft_ip *usual = v4 ? &pod->ip4 : &pod->ip6;
	struct weft_ip bound;

	if (!(pod->flags & (v4 ? WEFT_POD_HAS_IP4 : WEFT_POD_HAS_IP6)))
		return false;
	if (sk->family == AF_INET6)
		ip_from_v6(&bound, sk->src_ip6);
	else
		ip_from_v4(&bound, sk->src_ip4);
	return ip_is_unspecified(&bound) || ip_equal(&bound, usual);
}

/* An MPTCP socket could not show the address that was asked for (what is kept, is kept with its
 * subflow), and could not be told of its end: it waits for another subflow.
 */
static __always_inline bool is_plain_tcp(struct bpf_sock *sk)
{
	const struct tcp_sock___weft *tcp = tcp_of(sk);

	return tcp && !is_mptcp_subflow(tcp);
}

/* To the endpoint itself. */
static __always_inline int go_direct(struct bpf_sock *sk, __u64 netns,
				     const struct weft_endpoint *endpoint, __u32 epoch,
				     const struct weft_address *asked, struct weft_address *to)
{
	bool inside = endpoint->kind == WEFT_ENDPOINT_DIRECT;
	struct weft_direct *direct =
	    bpf_sk_storage_get(&weft_direct, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!direct)
		return -ENOMEM;
	direct->flow.netns = inside ? endpoint->netns : netns;
	direct->flow.dst = endpoint->address.ip;
	direct->flow.dst_port = endpoint->address.port;
	direct->asked = *asked;
	direct->src_netns = netns;
	direct->dst_netns = inside ? endpoint->netns : 0;
	direct->path = inside ? WEFT_PATH_DIRECT : WEFT_PATH_PLAIN_OUT;
	direct->side = WEFT_SIDE_INITIATOR;
	direct->endpoint = endpoint->key;
	direct->epoch = epoch;
	*to = endpoint->address;
	return 1;
}

static __always_inline void report_denied(const struct weft_pod *pod, __u64 netns,
					  const struct weft_endpoint *endpoint,
					  const struct weft_address *asked)
{
	struct weft_event *event = event_reserve_denied();

	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->kind = WEFT_EVENT_DENIED;
	event->path = WEFT_PATH_DIRECT;
	event->src_netns = netns;
	event->dst_netns = endpoint->netns;
	event->source.ip = ip_is_v4(&endpoint->address.ip) ? pod->ip4 : pod->ip6;
	event->asked = *asked;
	event->destination = endpoint->address;
	event->opened_ns = bpf_ktime_get_boot_ns();
	event->closed_ns = event->opened_ns;
	event->endpoint = endpoint->key;
	event->reason = WEFT_R_POLICY_DENIED;
	event_submit(event);
}

/* By the pod's route. */
static __always_inline int steer_routed(struct bpf_sock *sk, const struct weft_pod *pod,
					__u64 netns, const struct weft_address *asked,
					struct weft_address *to)
{
	const struct weft_endpoint *endpoint = choose_endpoint(netns, asked);
	const struct weft_verdict *verdict;
	bool v4 = ip_is_v4(&asked->ip);

	if (!endpoint)
		return go_by_agent(sk, pod, asked, 0, to);
	if (endpoint->kind == WEFT_ENDPOINT_AGENT || ip_is_v4(&endpoint->address.ip) != v4 ||
	    !is_plain_tcp(sk))
		return go_by_agent(sk, pod, asked, endpoint->key, to);
	if (endpoint->kind == WEFT_ENDPOINT_PLAIN) {
		if (!plain_is_permitted())
			return go_by_agent(sk, pod, asked, endpoint->key, to);
		count_reason(WEFT_R_PLAIN_OUT);
		return go_direct(sk, netns, endpoint, 0, asked, to);
	}
	verdict = has_usual_source(sk, pod, v4) ? current_verdict(netns, endpoint) : NULL;
	if (!verdict) {
		count_reason(WEFT_R_NO_VERDICT);
		return go_by_agent(sk, pod, asked, endpoint->key, to);
	}
	if (!verdict->allow) {
		report_denied(pod, netns, endpoint, asked);
		return -ECONNREFUSED;
	}
	return go_direct(sk, netns, endpoint, verdict->epoch, asked, to);
}

/* For a pod that is not captured: it may be on its way into the mesh. */
static __always_inline int steer_newcomer(struct bpf_sock *sk, __u64 netns, bool tcp,
					  const struct weft_address *asked, struct weft_address *to)
{
	enum membership membership;
	int err;

	/* Its own address, which is not known, goes the long way round. */
	if (!tcp || ip_is_loopback(&asked->ip) || ip_is_link_local6(&asked->ip))
		return 0;
	membership = current_membership(netns);
	if (membership == MEMBER_OUTSIDE)
		return 0;
	if (membership == MEMBER_UNKNOWN)
		return -EAGAIN;
	if (!sk)
		return -EINVAL;
	err = steer_held(asked, sk->bound_dev_if, to);
	if (err)
		return err;
	bpf_sk_storage_delete(&weft_direct, sk);
	count_reason(WEFT_R_HELD);
	return remember_peer(sk, asked, 0) ?: 1;
}

/* 1: send to `to`. 0: leave alone. Else -errno. */
static __always_inline int steer_connect(struct bpf_sock_addr *ctx,
					 const struct weft_address *asked, struct weft_address *to)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	const struct weft_pod *pod = enrolled_pod(netns);
	struct bpf_sock *sk = ctx->sk;
	bool tcp = ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP;

	if (!pod)
		return steer_newcomer(sk, netns, tcp, asked, to);
	if (current_is_agent())
		return 0;
	if (!sk)
		return -EINVAL;
	/* The socket may have been steered before, and be used again (after a failure, or connect
	 * to AF_UNSPEC in between).
	 */
	bpf_sk_storage_delete(&weft_peer, sk);
	bpf_sk_storage_delete(&weft_direct, sk);
	if (!tcp && ctx->protocol != IPPROTO_UDP)
		return 0;
	if (stays_local(netns, &asked->ip))
		return 0;
	if (steer_dns(pod, asked, sk->bound_dev_if, to))
		return ask_agents_dns(sk, asked);
	/* Other datagrams stay as they are. */
	return tcp ? steer_routed(sk, pod, netns, asked, to) : 0;
}

static __always_inline int reject_connect(int err)
{
	switch (err) {
	case -ECONNREFUSED:
		return reject(WEFT_R_POLICY_DENIED, err);
	case -ENETUNREACH:
		return reject(WEFT_R_NO_OWN_ADDRESS, err);
	case -EAGAIN:
		return reject(WEFT_R_UNKNOWN_POD, -ENETUNREACH);
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
