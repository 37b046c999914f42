/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The few fields of the kernel's own structures that we read, relocated at load. */
#ifndef WEFT_KERNEL_H
#define WEFT_KERNEL_H

#include "lib/core.h"

#define WEFT_CORE __attribute__((preserve_access_index))

struct kernfs_node___weft {
	__u64 id;
} WEFT_CORE;

struct cgroup___weft {
	struct kernfs_node___weft *kn;
} WEFT_CORE;

struct sock_cgroup_data___weft {
	struct cgroup___weft *cgroup;
} WEFT_CORE;

struct sock_common___weft {
	unsigned long skc_flags;
	volatile unsigned char skc_state;
} WEFT_CORE;

struct sock___weft {
	struct sock_common___weft __sk_common;
	int sk_err;
	struct sock_cgroup_data___weft sk_cgrp_data;
} WEFT_CORE;

struct tcp_sock___weft {
	__u32 snd_una;
	__u32 write_seq;
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 srtt_us;
	__u32 total_retrans;
	bool is_mptcp;
} WEFT_CORE;

enum sock_flags___weft {
	/* The other end's FIN has come. */
	SOCK_DONE___weft = 1,
};

/* NULL: not a whole TCP socket. A macro because `sk` has another verifier type in each kind of
 * program.
 */
#define tcp_of(sk) ((const struct tcp_sock___weft *)bpf_skc_to_tcp_sock(sk))

static __always_inline const struct sock___weft *sock_of(const struct tcp_sock___weft *tcp)
{
	return (const void *)tcp;
}

/* A subflow of an MPTCP socket: not the socket that the application holds. */
static __always_inline bool is_mptcp_subflow(const struct tcp_sock___weft *tcp)
{
	return bpf_core_field_exists(tcp->is_mptcp) && tcp->is_mptcp;
}

#endif
