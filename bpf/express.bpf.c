/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* sk_msg, at the SOCKHASH of express connections.
 *
 * Changes: what a socket sends goes straight into the receive queue of the socket at the other end,
 * while that end reads like a program that waits for events, and does not lag behind. Everything
 * else goes by TCP, and what has gone one way never overtakes what has gone the other: the kernel
 * reads what came directly first, so that direct follows TCP only when all of the latter has been
 * read.
 *
 * Failure: TCP. The verdict is SK_PASS always: a message that could not be redirected (the other
 * end has closed) is TCP's to answer. SK_DROP would be EACCES in the application.
 *
 * Oldest kernel: 5.15, and one that passes the self-test (native/src/bpf/express_self_check.cc).
 */
#include "lib/core.h"
#include "lib/express.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* May this socket send? TCP has an answer of its own for one that has shut down, or was reset. */
static __always_inline bool is_sending(const struct bpf_sock *sk)
{
	__u32 state = sk->state;

	return state == BPF_TCP_ESTABLISHED || state == BPF_TCP_CLOSE_WAIT;
}

/* Does the receiver read without blocking? Nobody knows before it is accepted. */
static __always_inline bool reads_without_blocking(struct weft_express_end *receiver)
{
	const struct file___express *file = (void *)receiver->file;
	__u32 flags = 0;

	if (!file) {
		file = file_of((void *)receiver->sk);
		if (!file)
			return false;
		receiver->file = (__u64)file;
	}
	bpf_core_read(&flags, sizeof(flags), &file->f_flags);
	return flags & WEFT_O_NONBLOCK;
}

/* Is the receiver told of every byte? Above one, SO_RCVLOWAT counts TCP's bytes only. */
static __always_inline bool wakes_for_one_byte(const struct weft_express_end *receiver)
{
	const struct sock___express *sock = (void *)receiver->sk;
	int lowat = 0;

	bpf_core_read(&lowat, sizeof(lowat), &sock->sk_rcvlowat);
	return lowat == 1;
}

static __always_inline bool has_room(const struct weft_express_end *receiver)
{
	const struct sock___express *sock = (void *)receiver->sk;
	int waiting = WEFT_EXPRESS_BACKLOG;

	bpf_core_read(&waiting, sizeof(waiting), &sock->sk_backlog.rmem_alloc.counter);
	return waiting < WEFT_EXPRESS_BACKLOG;
}

/* How much of what this socket has sent by TCP the receiver's application has not read. Both ends
 * number the same bytes. Where somebody on the way renumbers them, this is never 0, and TCP it
 * stays.
 */
static __always_inline __u32 unread(const struct weft_express_end *sender,
				    const struct weft_express_end *receiver)
{
	const struct tcp_sock___express *from = (void *)sender->sk, *to = (void *)receiver->sk;
	__u32 written = 0, read = 1;

	bpf_core_read(&written, sizeof(written), &from->write_seq);
	bpf_core_read(&read, sizeof(read), &to->copied_seq);
	return written - read;
}

/* Starts a wait, unless one has just been. */
static __always_inline bool may_wait(struct weft_express_end *sender, __u64 *until_ns)
{
	__u64 now = bpf_ktime_get_ns();

	if (now - sender->waited_ns < WEFT_EXPRESS_PATIENCE_EVERY_NS)
		return false;
	sender->waited_ns = now;
	*until_ns = now + WEFT_EXPRESS_PATIENCE_NS;
	return true;
}

/* More rounds than the time allows. */
#define WAIT_ROUNDS 2000

static __always_inline bool gets_room(struct weft_express_end *sender,
				      const struct weft_express_end *receiver)
{
	__u64 until_ns;

	if (has_room(receiver))
		return true;
	if (!may_wait(sender, &until_ns))
		return false;
	for (int i = 0; i < WAIT_ROUNDS && bpf_ktime_get_ns() < until_ns; i++) {
		if (has_room(receiver))
			return true;
	}
	return false;
}

static __always_inline bool gets_drained(struct weft_express_end *sender,
					 const struct weft_express_end *receiver)
{
	__u32 left = unread(sender, receiver);
	__u64 until_ns;

	if (!left)
		return true;
	if (left > WEFT_EXPRESS_NEARLY || !may_wait(sender, &until_ns))
		return false;
	for (int i = 0; i < WAIT_ROUNDS && bpf_ktime_get_ns() < until_ns; i++) {
		if (!unread(sender, receiver))
			return true;
	}
	return false;
}

static __always_inline bool may_go_directly(const struct bpf_sock *sk,
					    struct weft_express_end *sender,
					    struct weft_express_end *receiver)
{
	if (guarded(WEFT_GUARD_SENDING) && !is_sending(sk))
		return false;
	if (guarded(WEFT_GUARD_NONBLOCK) && !reads_without_blocking(receiver))
		return false;
	if (guarded(WEFT_GUARD_LOWAT) && !wakes_for_one_byte(receiver))
		return false;
	if (guarded(WEFT_GUARD_BACKLOG) && !gets_room(sender, receiver))
		return false;
	if (sender->mode == WEFT_EXPRESS_DIRECT)
		return true;
	/* Something has gone by TCP before, were it only an empty handshake. */
	if (!guarded(WEFT_GUARD_RETURN) && sender->bytes)
		return false;
	return !guarded(WEFT_GUARD_DRAINED) || gets_drained(sender, receiver);
}

SEC("sk_msg")
int weft_express_msg(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	const struct weft_express_member *member;
	struct weft_express_end *sender, *receiver;
	struct weft_express_pair *pair;
	__u32 size = msg->size;
	__u32 lags = 1;
	long verdict;
	__u64 cookie;

	/* Or clang adds to the context pointer, which the verifier refuses. */
	barrier_var(size);
	if (!sk)
		return SK_PASS;
	member = bpf_sk_storage_get(&weft_pair_of, sk, 0, 0);
	if (!member)
		return SK_PASS;
	pair = bpf_map_lookup_elem(&weft_pairs, &member->pair);
	if (!pair || pair->state != WEFT_EXPRESS_OPEN)
		return SK_PASS;
	if (member->side == WEFT_EXPRESS_INITIATOR) {
		sender = &pair->end[WEFT_EXPRESS_INITIATOR];
		receiver = &pair->end[WEFT_EXPRESS_ACCEPTOR];
	} else {
		sender = &pair->end[WEFT_EXPRESS_ACCEPTOR];
		receiver = &pair->end[WEFT_EXPRESS_INITIATOR];
	}
	cookie = receiver->cookie;
	if (!may_go_directly(sk, sender, receiver)) {
		if (sender->mode == WEFT_EXPRESS_DIRECT)
			bpf_map_update_elem(&weft_lagging, &cookie, &lags, BPF_ANY);
		sender->mode = WEFT_EXPRESS_TCP;
		return SK_PASS;
	}
	verdict = bpf_msg_redirect_hash(msg, &weft_express, &cookie, BPF_F_INGRESS);
	if (verdict != SK_PASS) {
		sender->mode = WEFT_EXPRESS_TCP;
		return guarded(WEFT_GUARD_PASS) ? SK_PASS : verdict;
	}
	sender->mode = WEFT_EXPRESS_DIRECT;
	sender->bytes += size;
	sender->sent_ns = bpf_ktime_get_coarse_ns();
	return SK_PASS;
}
