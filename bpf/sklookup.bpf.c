/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* sk_lookup, one instance per enrolled pod, at its network namespace. The kernel runs it for SYNs
 * only: packets of connections that exist, those from before enrolment included, never get here.
 *
 * Changes: which socket takes a connection. TCP from outside goes to the agent's 15006 listener.
 *
 * Untouched: UDP, 15008 (the agent's own listener), direct connections that sockops has written
 * down (this 4-tuple and no other), the pod talking to itself (the agent dialling the application
 * is that too), the kubelet's probes, everything when no policy is in force for the pod.
 *
 * Failure: drop, which the kernel answers with a reset. Without a listener the agent is away, and
 * nobody else may decide.
 *
 * Oldest kernel: 5.15 (sk_lookup itself: 5.9).
 */
#include "lib/core.h"
#include "lib/agent.h"
#include "lib/counters.h"
#include "lib/flows.h"
#include "lib/pods.h"
#include "lib/probes.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Programs of this kind cannot ask for the cookie, so the loader writes it into each instance. */
const volatile __u64 weft_netns = 0;

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, WEFT_MAX_LISTENERS);
	__type(key, struct weft_listener_key);
	__type(value, __u64);
} weft_listeners SEC(".maps");

static __always_inline void flow_from_lookup(struct weft_flow_key *key, struct bpf_sk_lookup *ctx)
{
	key->netns = weft_netns;
	key->src_port = bpf_ntohs(ctx->remote_port);
	key->dst_port = ctx->local_port;
	key->_pad = 0;
	if (ctx->family == AF_INET6) {
		ip_from_v6(&key->src, ctx->remote_ip6);
		ip_from_v6(&key->dst, ctx->local_ip6);
		return;
	}
	ip_from_v4(&key->src, ctx->remote_ip4);
	ip_from_v4(&key->dst, ctx->local_ip4);
}

/* A source address of the pod's own cannot come from outside and complete a handshake: the answer
 * goes to the pod.
 */
static __always_inline bool from_inside(const struct weft_flow_key *key)
{
	return ip_equal(&key->src, &key->dst) || ip_is_loopback(&key->src) ||
	       is_own_address(weft_netns, &key->src);
}

static __always_inline int to_listener(struct bpf_sk_lookup *ctx)
{
	struct weft_listener_key key = {.netns = weft_netns, .family = ctx->family};
	struct bpf_sock *listener = bpf_map_lookup_elem(&weft_listeners, &key);
	long err;

	if (!listener) {
		count_reason(WEFT_R_NO_LISTENER);
		return SK_DROP;
	}
	err = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	if (err) {
		count_reason(WEFT_R_INTERNAL);
		return SK_DROP;
	}
	count_reason(WEFT_R_CAPTURED_INBOUND);
	return SK_PASS;
}

/* The kubelet's entries do not know the pod's namespace. */
static __always_inline bool is_probe(struct weft_flow_key *key)
{
	key->netns = 0;
	return bpf_map_lookup_elem(&weft_probes, key) != NULL;
}

SEC("sk_lookup")
int weft_sklookup(struct bpf_sk_lookup *ctx)
{
	const struct weft_pod *pod;
	struct weft_flow_key key;
	struct weft_flow *flow;

	if (ctx->protocol != IPPROTO_TCP || ctx->local_port == WEFT_PORT_INBOUND_HBONE)
		return SK_PASS;
	flow_from_lookup(&key, ctx);
	/* Once it has been accepted, its packets find their socket. A SYN that comes here is
	 * another's, who has the client's address by now.
	 */
	flow = bpf_map_lookup_elem(&weft_flows, &key);
	if (flow && flow->kind == WEFT_FLOW_DIRECT && !flow->acceptor) {
		flow->passed = 1;
		count_reason(WEFT_R_DIRECT);
		return SK_PASS;
	}
	if (flow && flow->kind == WEFT_FLOW_REFUSED)
		return SK_DROP;
	if (from_inside(&key))
		return SK_PASS;
	if (is_probe(&key)) {
		count_reason(WEFT_R_PASSED_PROBE);
		return SK_PASS;
	}
	pod = enrolled_pod(weft_netns);
	if (pod && pod->flags & WEFT_POD_OPEN && plain_is_permitted()) {
		count_reason(WEFT_R_PLAIN_IN);
		return SK_PASS;
	}
	return to_listener(ctx);
}
