/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Express connections: both sockets of a direct connection are in a SOCKHASH, so that express.bpf.c
 * can move what one sends straight into the other's receive queue. Here is who is in it and who
 * leaves.
 *
 * How a sender knows its receiver. The key in weft_express is the receiver's socket cookie, which
 * the kernel never gives twice: a redirect reaches that very socket or none. The address of the
 * socket, kept beside it, is read before the redirect, and the kernel takes a socket out of the
 * SOCKHASH before it closes it: a redirect that finds the socket there proves that what was read
 * before was its own. One that does not find it leaves the message to TCP, whatever was read. So an
 * address may be stale, but then nothing comes of it.
 */
#ifndef WEFT_LIB_EXPRESS_H
#define WEFT_LIB_EXPRESS_H

#include "lib/counters.h"
#include "lib/kernel.h"
#include "weft_express.h"

#define WEFT_O_NONBLOCK 04000

/* See WEFT_GUARD_*. */
const volatile __u32 weft_guards_off = 0;

#define guarded(guard) (!(weft_guards_off & (guard)))

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, WEFT_MAX_EXPRESS);
	__type(key, __u64);
	__type(value, __u64);
} weft_express SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_EXPRESS / 2);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct weft_express_pair);
} weft_pairs SEC(".maps");

/* Cookies of receivers that have both direct bytes and TCP's to read, for express_wake.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_EXPRESS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} weft_lagging SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct weft_express_member);
} weft_pair_of SEC(".maps");

struct list_head___express {
	struct list_head___express *next;
} WEFT_CORE;

struct sk_psock___express {
	struct list_head___express ingress_msg;
} WEFT_CORE;

struct file___express {
	unsigned int f_flags;
} WEFT_CORE;

struct socket___express {
	struct file___express *file;
} WEFT_CORE;

struct atomic64___express {
	__s64 counter;
} WEFT_CORE;

struct sock_common___express {
	struct atomic64___express skc_cookie;
} WEFT_CORE;

struct atomic___express {
	int counter;
} WEFT_CORE;

struct sock___express {
	struct sock_common___express __sk_common;
	struct {
		struct atomic___express rmem_alloc;
	} sk_backlog;
	int sk_rcvlowat;
	struct socket___express *sk_socket;
	void *sk_user_data;
	__u8 sk_kern_sock : 1;
} WEFT_CORE;

struct tcp_sock___express {
	__u32 copied_seq;
	__u32 rcv_nxt;
	__u32 write_seq;
	__u64 bytes_received;
} WEFT_CORE;

/* ---- joining ------------------------------------------------------------------------------------
 */

/* Sockets that the kernel made for itself: subflows of MPTCP, and what an MPTCP listener accepts
 * from a peer without MPTCP. The kernel knows the latter by their protocol's address, which the
 * SOCKHASH changes.
 */
static __always_inline bool is_kernel_socket(struct bpf_sock *sk)
{
	const struct sock___express *sock = (const void *)tcp_of(sk);

	return !sock || BPF_CORE_READ_BITFIELD_PROBED(sock, sk_kern_sock);
}

static __always_inline bool express_join(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u64 pair,
					 __u32 side)
{
	struct weft_express_member *member =
	    bpf_sk_storage_get(&weft_pair_of, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	__u64 cookie = bpf_get_socket_cookie(ctx);
	int window = WEFT_EXPRESS_WINDOW, unsent = WEFT_EXPRESS_UNSENT;

	if (!member)
		return false;
	member->pair = pair;
	member->side = side;
	if (bpf_sock_hash_update(ctx, &weft_express, &cookie, BPF_ANY))
		return false;
	bpf_setsockopt(ctx, IPPROTO_TCP, TCP_WINDOW_CLAMP, &window, sizeof(window));
	bpf_setsockopt(ctx, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	bpf_sock_ops_cb_flags_set(ctx,
				  ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
	return true;
}

/* ACTIVE_ESTABLISHED of the initiator: its ACK has not left yet, so the acceptor comes later (but
 * for fast open, which the caller keeps away). True when the pair waits for it, until
 * express_close.
 */
static __always_inline bool express_initiate(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct weft_express_pair pair = {};
	struct weft_express_end *end = &pair.end[WEFT_EXPRESS_INITIATOR];

	if (guarded(WEFT_GUARD_KERNEL_SOCKET) && is_kernel_socket(sk))
		return false;
	end->sk = (__u64)(long)sk;
	end->cookie = cookie;
	if (bpf_map_update_elem(&weft_pairs, &cookie, &pair, BPF_ANY))
		return false;
	if (express_join(ctx, sk, cookie, WEFT_EXPRESS_INITIATOR))
		return true;
	bpf_map_delete_elem(&weft_pairs, &cookie);
	return false;
}

/* PASSIVE_ESTABLISHED of the acceptor. `initiator`: cookie of the other end's socket. */
static __always_inline void express_accept(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					   __u64 initiator)
{
	struct weft_express_pair *pair = bpf_map_lookup_elem(&weft_pairs, &initiator);
	struct weft_express_end *end;

	if (!pair)
		return;
	if ((guarded(WEFT_GUARD_KERNEL_SOCKET) && is_kernel_socket(sk)) ||
	    !express_join(ctx, sk, initiator, WEFT_EXPRESS_ACCEPTOR)) {
		pair->state = WEFT_EXPRESS_LEFT;
		return;
	}
	end = &pair->end[WEFT_EXPRESS_ACCEPTOR];
	end->sk = (__u64)(long)sk;
	end->cookie = bpf_get_socket_cookie(ctx);
	/* An atomic, because the initiator may send on another CPU by now: it must see all of the
	 * above. One that was refused stays so.
	 */
	if (!__sync_val_compare_and_swap(&pair->state, WEFT_EXPRESS_OPENING, WEFT_EXPRESS_OPEN))
		count_reason(WEFT_R_EXPRESS);
}

/* ---- leaving ------------------------------------------------------------------------------------
 */

static __always_inline struct file___express *file_of(const struct sock___express *sock)
{
	return BPF_CORE_READ(sock, sk_socket, file);
}

/* Do direct bytes wait in this socket? */
static __always_inline bool has_direct(const struct sock___express *sock)
{
	struct list_head___express *head, *first = NULL;
	__u64 psock;

	/* The low bits are flags. */
	psock = (__u64)BPF_CORE_READ(sock, sk_user_data) & ~7ULL;
	if (!psock)
		return false;
	head = __builtin_preserve_access_index(&((struct sk_psock___express *)psock)->ingress_msg);
	bpf_core_read(&first, sizeof(first), &head->next);
	return first != head;
}

/* Nothing that was sent directly waits in this socket or is on its way: the kernel would throw it
 * away with the socket's place in the SOCKHASH.
 */
static __always_inline bool express_quiet(const struct sock___express *sock,
					  const struct weft_express_end *sender)
{
	if (!sender->bytes)
		return true;
	return bpf_ktime_get_coarse_ns() - sender->sent_ns >= WEFT_EXPRESS_QUIET_NS &&
	       !has_direct(sock);
}

/* Bytes after which a program that means to read without blocking has said so: some read a greeting
 * first.
 */
#define WEFT_EXPRESS_GREETING 1024

/* Only once it has been accepted can a socket have a blocking file. */
static __always_inline bool is_blocking(const struct sock___express *sock)
{
	struct file___express *file = file_of(sock);
	__u32 flags = WEFT_O_NONBLOCK;

	if (file)
		bpf_core_read(&flags, sizeof(flags), &file->f_flags);
	return !(flags & WEFT_O_NONBLOCK);
}

/* `settled`: a socket that is blocking by now stays so. */
static __always_inline void express_leave(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					  bool settled)
{
	struct weft_express_member *member = bpf_sk_storage_get(&weft_pair_of, sk, 0, 0);
	const struct sock___express *sock = (const void *)tcp_of(sk);
	struct weft_express_pair *pair;
	__u64 cookie;

	if (!member || !sock || !guarded(WEFT_GUARD_LEAVE))
		return;
	pair = bpf_map_lookup_elem(&weft_pairs, &member->pair);
	if (!pair)
		return;
	if (pair->state != WEFT_EXPRESS_LEFT) {
		if (!settled || !is_blocking(sock))
			return;
		pair->state = WEFT_EXPRESS_LEFT;
	}
	if (!express_quiet(sock, member->side == WEFT_EXPRESS_INITIATOR
				     ? &pair->end[WEFT_EXPRESS_ACCEPTOR]
				     : &pair->end[WEFT_EXPRESS_INITIATOR]))
		return;
	cookie = bpf_get_socket_cookie(ctx);
	bpf_map_delete_elem(&weft_express, &cookie);
	bpf_sock_ops_cb_flags_set(ctx,
				  ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/* HDR_OPT_LEN_CB: a packet leaves by TCP, an acknowledgement for example. (Packets that come would
 * say it better, but the kernel's fast path does not tell.)
 *
 * Reading from a socket in a SOCKHASH is not quite reading from a TCP socket, also when everything
 * comes by TCP: a blocking read ends with EAGAIN when a signal, a reset or another thread's send
 * wakes it up. So a socket that goes on to be read blockingly leaves. With one end gone, the other
 * has no use for it either: sending through sk_msg costs bulk half of its speed.
 */
static __always_inline void express_transmit(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	const struct tcp_sock___express *tcp = (const void *)tcp_of(sk);

	express_leave(ctx, sk, tcp && BPF_CORE_READ(tcp, bytes_received) > WEFT_EXPRESS_GREETING);
}

/* STATE_CB: who has shut down reads next, and would be woken up by the acknowledgement of its end.
 */
static __always_inline void express_state(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	if (ctx->args[1] == BPF_TCP_FIN_WAIT1)
		express_leave(ctx, sk, true);
}

/* ---- the connection's record --------------------------------------------------------------------
 */

/* CLOSE of the initiator, after its record. */
static __always_inline void express_close(__u64 initiator)
{
	const struct weft_express_pair *pair = bpf_map_lookup_elem(&weft_pairs, &initiator);

	if (!pair)
		return;
	bpf_map_delete_elem(&weft_lagging, &pair->end[WEFT_EXPRESS_INITIATOR].cookie);
	bpf_map_delete_elem(&weft_lagging, &pair->end[WEFT_EXPRESS_ACCEPTOR].cookie);
	bpf_map_delete_elem(&weft_pairs, &initiator);
}

/* Adds what went directly to the record of the connection of this initiator's socket: TCP has not
 * counted it.
 */
static __always_inline void express_record(struct weft_event *event, const void *sk)
{
	const struct sock___express *sock = sk;
	const struct weft_express_pair *pair;
	__u64 initiator;

	if (!(event->flags & WEFT_EVENT_PAIRED))
		return;
	initiator = BPF_CORE_READ(sock, __sk_common.skc_cookie.counter);
	pair = bpf_map_lookup_elem(&weft_pairs, &initiator);
	if (!pair)
		return;
	event->request_bytes += pair->end[WEFT_EXPRESS_INITIATOR].bytes;
	event->response_bytes += pair->end[WEFT_EXPRESS_ACCEPTOR].bytes;
	if (pair->end[WEFT_EXPRESS_INITIATOR].bytes || pair->end[WEFT_EXPRESS_ACCEPTOR].bytes)
		event->flags |= WEFT_EVENT_EXPRESS;
}

#endif
