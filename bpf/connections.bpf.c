/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* iter/bpf_sk_storage_map over weft_direct, run by reading.
 *
 * Changes: nothing. Writes a weft_event of kind OPEN for each connection that BPF alone handles,
 * those that are being opened included: the initiator's end of direct ones, the local end of plain
 * ones. The acceptor's end of a direct one only when the initiator has closed its own, as it may
 * without telling the other end.
 *
 * Failure: none possible but a reader that comes short, which the kernel makes read on.
 *
 * Oldest kernel: 5.15 (the iterator: 5.8).
 */
#include "lib/core.h"
#include "lib/direct.h"
#include "lib/express.h"
#include "lib/flows.h"
#include "lib/record.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct seq_file;

struct bpf_iter_meta___weft {
	struct seq_file *seq;
} WEFT_CORE;

struct bpf_iter__bpf_sk_storage_map___weft {
	struct bpf_iter_meta___weft *meta;
	struct sock___weft *sk;
	void *value;
} WEFT_CORE;

static __always_inline bool is_orphan(const struct weft_direct *direct, const struct sock___weft *sk)
{
	struct weft_flow_key key = direct->flow;
	const struct weft_flow *flow = bpf_map_lookup_elem(&weft_flows, &key);

	return !flow || flow->acceptor != bpf_get_socket_cookie((void *)sk);
}

SEC("iter/bpf_sk_storage_map")
int weft_open(struct bpf_iter__bpf_sk_storage_map___weft *ctx)
{
	const struct weft_direct *direct = ctx->value;
	const struct tcp_sock___weft *tcp;
	const struct sock___weft *sk = ctx->sk;
	struct weft_event event = {.kind = WEFT_EVENT_OPEN};
	bool orphan;
	__u32 state;

	if (!sk || !direct || direct->path == WEFT_PATH_NONE || !direct->flow.src_port)
		return 0;
	orphan = direct->path == WEFT_PATH_DIRECT && direct->side == WEFT_SIDE_ACCEPTOR;
	if (orphan && !is_orphan(direct, sk))
		return 0;
	state = sk->__sk_common.skc_state;
	tcp = tcp_of((void *)sk);
	if (!tcp || state == BPF_TCP_CLOSE)
		return 0;
	record_fill(&event, direct, tcp, state);
	if (orphan)
		event.flags |= WEFT_EVENT_ORPHAN;
	event.closed_ns = bpf_ktime_get_boot_ns();
	express_record(&event, tcp);
	bpf_seq_write(ctx->meta->seq, &event, sizeof(event));
	return 0;
}
