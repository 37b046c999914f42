/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* iter/tcp, run by the agent in the namespaces of pods with express connections while there are
 * readers that lag behind.
 *
 * Changes: tells a reader once more that there is something to read. A reader that has both direct
 * bytes and TCP's was told of them at once; its read ends where the direct bytes do. Who waits for
 * edges and takes a short read for an empty socket, as nginx does, would wait for ever.
 *
 * Failure: readers of that kind wait until the next byte comes.
 *
 * Oldest kernel: 6.1 (setting SO_RCVLOWAT wakes the reader); older ones do not pass the self-check.
 */
#include "lib/core.h"
#include "lib/express.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#ifndef SOL_SOCKET
#define SOL_SOCKET 1
#endif
#define WEFT_SO_RCVLOWAT 18

struct bpf_iter__tcp___weft {
	struct sock_common___express *sk_common;
} WEFT_CORE;

SEC("iter/tcp")
int weft_wake(struct bpf_iter__tcp___weft *ctx)
{
	struct sock_common___express *common = ctx->sk_common;
	const struct tcp_sock___express *tcp;
	struct sock___express *sock;
	__u64 cookie;
	int lowat;

	if (!common || !guarded(WEFT_GUARD_WAKE))
		return 0;
	tcp = (const void *)bpf_skc_to_tcp_sock(common);
	if (!tcp)
		return 0;
	sock = (void *)tcp;
	cookie = sock->__sk_common.skc_cookie.counter;
	if (!bpf_map_lookup_elem(&weft_lagging, &cookie) || has_direct(sock))
		return 0;
	if (tcp->copied_seq == tcp->rcv_nxt) {
		bpf_map_delete_elem(&weft_lagging, &cookie);
		return 0;
	}
	/* The kernel looks whether there is something to read when it is set. */
	lowat = sock->sk_rcvlowat;
	bpf_setsockopt((void *)tcp, SOL_SOCKET, WEFT_SO_RCVLOWAT, &lowat, sizeof(lowat));
	return 0;
}
