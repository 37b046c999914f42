/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* A weft_event about a connection, from its socket and what is kept with it. */
#ifndef WEFT_RECORD_H
#define WEFT_RECORD_H

#include "lib/kernel.h"

#define STATE_BIT(state) (1U << (state))
/* States in which our FIN has been sent, or is queued. */
#define FIN_SENT                                                                                   \
	(STATE_BIT(BPF_TCP_FIN_WAIT1) | STATE_BIT(BPF_TCP_FIN_WAIT2) |                             \
	 STATE_BIT(BPF_TCP_CLOSING) | STATE_BIT(BPF_TCP_LAST_ACK) | STATE_BIT(BPF_TCP_TIME_WAIT))
/* States from which an orderly connection goes on before it is closed. */
#define MID_WAY                                                                                    \
	(STATE_BIT(BPF_TCP_ESTABLISHED) | STATE_BIT(BPF_TCP_SYN_RECV) |                            \
	 STATE_BIT(BPF_TCP_CLOSE_WAIT) | STATE_BIT(BPF_TCP_FIN_WAIT1))

/* What the other end has acknowledged. The kernel counts our SYN and our FIN among the bytes. */
static __always_inline __u64 acked_payload(const struct tcp_sock___weft *tcp,
					   const struct weft_direct *direct, __u32 state)
{
	__u64 bytes = tcp->bytes_acked;

	if (bytes && direct->side == WEFT_SIDE_INITIATOR)
		bytes--;
	if (bytes && (STATE_BIT(state) & FIN_SENT) && tcp->snd_una == tcp->write_seq)
		bytes--;
	return bytes;
}

/* What has come. The kernel counts the other end's FIN among the bytes. */
static __always_inline __u64 received_payload(const struct tcp_sock___weft *tcp)
{
	unsigned long done = 1UL << bpf_core_enum_value(enum sock_flags___weft, SOCK_DONE___weft);
	__u64 bytes = tcp->bytes_received;

	if (bytes && (sock_of(tcp)->__sk_common.skc_flags & done))
		bytes--;
	return bytes;
}

/* Everything but times and reason. `state`: of the socket, the one before when it is closed now. */
static __always_inline void record_fill(struct weft_event *event, const struct weft_direct *direct,
					const struct tcp_sock___weft *tcp, __u32 state)
{
	__u64 sent = acked_payload(tcp, direct, state), received = received_payload(tcp);
	bool initiator = direct->side == WEFT_SIDE_INITIATOR;

	event->path = direct->path;
	event->src_netns = direct->src_netns;
	event->dst_netns = direct->dst_netns;
	event->source =
	    (struct weft_address){.ip = direct->flow.src, .port = direct->flow.src_port};
	event->asked = direct->asked;
	event->destination =
	    (struct weft_address){.ip = direct->flow.dst, .port = direct->flow.dst_port};
	event->opened_ns = direct->opened_ns;
	event->request_bytes = initiator ? sent : received;
	event->response_bytes = initiator ? received : sent;
	event->srtt_us = tcp->srtt_us >> 3;
	event->retransmits = tcp->total_retrans;
	event->endpoint = direct->endpoint;
	event->flags = direct->flags;
	event->_pad = 0;
}

/* Why a connection ended whose socket went from `state` to closed. */
static __always_inline enum weft_reason end_reason(const struct weft_direct *direct,
						   const struct tcp_sock___weft *tcp, __u32 state)
{
	int err = sock_of(tcp)->sk_err;

	if (direct->flags & WEFT_EVENT_STRANGER)
		return WEFT_R_IDENTITY_ERROR;
	if (err == ECONNABORTED || direct->flags & WEFT_EVENT_EXPIRED)
		return WEFT_R_POLICY_CHANGED;
	if (err == ETIMEDOUT)
		return WEFT_R_UPSTREAM_TIMEOUT;
	if (err && !(direct->flags & WEFT_EVENT_ESTABLISHED))
		return WEFT_R_UPSTREAM_REFUSED;
	/* An application that closes with unread data, or before the handshake is through, resets.
	 */
	if (err || (STATE_BIT(state) & (MID_WAY | STATE_BIT(BPF_TCP_SYN_SENT))))
		return WEFT_R_PEER_RESET;
	return WEFT_R_NONE;
}

#endif
