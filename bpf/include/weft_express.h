/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Express connections: what bpf/lib/express.h keeps about them, and the guards that the self-test
 * takes out one by one.
 */
#ifndef WEFT_EXPRESS_H
#define WEFT_EXPRESS_H

#include "weft_abi.h"

/* Sockets in weft_express, two per connection. What does not fit stays with TCP. */
#define WEFT_MAX_EXPRESS 65536

/* Bytes that may wait in a receiver before its sender takes the way of TCP, which makes it wait.
 * With TCP's own buffers this keeps a stopped reader below 4 MB.
 */
#define WEFT_EXPRESS_BACKLOG (1 << 20)

/* How long no byte may have gone directly to a socket before it may leave: a sender that has been
 * told to go directly does so a moment later.
 */
#define WEFT_EXPRESS_QUIET_NS 1000000000ULL

/* What TCP may keep of a connection, in the receiver's window and unsent: enough for one node, and
 * little enough for the reader to come to its end, from where it goes on directly.
 */
#define WEFT_EXPRESS_WINDOW (256 * 1024)
#define WEFT_EXPRESS_UNSENT (128 * 1024)

/* A sender waits for its receiver for so long at a time, and so seldom, before it goes by TCP: who
 * goes by TCP in bulk is hardly ever drained.
 */
#define WEFT_EXPRESS_PATIENCE_NS 50000ULL
#define WEFT_EXPRESS_PATIENCE_EVERY_NS 1000000ULL
/* Unread bytes of TCP that a receiver can be expected to read in that time. */
#define WEFT_EXPRESS_NEARLY (512 * 1024)

#define WEFT_EXPRESS_TCP 0
#define WEFT_EXPRESS_DIRECT 1

/* One end of an express connection, as sender (mode, bytes and times) and as receiver (the rest).
 */
struct weft_express_end {
	/* Where the kernel keeps the socket and its file (0: not accepted yet). Only ever read
	 * through probe_read, see lib/express.h.
	 */
	__u64 sk;
	__u64 file;
	/* The socket's cookie, its key in weft_express. */
	__u64 cookie;
	/* What it has sent directly. */
	__u64 bytes;
	/* When it last sent directly, and last waited for the receiver. CLOCK_MONOTONIC, the former
	 * coarse.
	 */
	__u64 sent_ns;
	__u64 waited_ns;
	__u32 mode;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_express_end, 56);

/* Waits for the acceptor. */
#define WEFT_EXPRESS_OPENING 0
#define WEFT_EXPRESS_OPEN 1
/* At least one end has no use for it: everything goes by TCP from here on. */
#define WEFT_EXPRESS_LEFT 2

#define WEFT_EXPRESS_INITIATOR 0
#define WEFT_EXPRESS_ACCEPTOR 1

/* weft_pairs: cookie of the initiator's socket -> both ends. */
struct weft_express_pair {
	struct weft_express_end end[2];
	__u32 state;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_express_pair, 120);

/* weft_pair_of: sk_storage of both sockets. */
struct weft_express_member {
	/* Key in weft_pairs. */
	__u64 pair;
	/* WEFT_EXPRESS_INITIATOR or WEFT_EXPRESS_ACCEPTOR */
	__u32 side;
	__u32 _pad;
};
WEFT_ASSERT_SIZE(struct weft_express_member, 16);

/* weft_trial_total, of express_trial.bpf.c. */
struct weft_express_total {
	__u64 connections;
	__u64 bytes;
};
WEFT_ASSERT_SIZE(struct weft_express_total, 16);

/* Guards, as bits of weft_guards_off. Only the tests of the self-test set any. */
#define WEFT_GUARD_BACKLOG (1U << 0)
#define WEFT_GUARD_RETURN (1U << 1)
#define WEFT_GUARD_DRAINED (1U << 2)
#define WEFT_GUARD_NONBLOCK (1U << 3)
#define WEFT_GUARD_LOWAT (1U << 4)
#define WEFT_GUARD_SENDING (1U << 5)
#define WEFT_GUARD_PASS (1U << 6)
#define WEFT_GUARD_KERNEL_SOCKET (1U << 7)
#define WEFT_GUARD_LEAVE (1U << 8)
#define WEFT_GUARD_WAKE (1U << 9)

#endif
