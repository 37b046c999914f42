/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What every program needs first: UAPI types, helpers, and the few constants that no UAPI header
 * gives to BPF.
 */
#ifndef WEFT_CORE_H
#define WEFT_CORE_H

#include <asm/socket.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

#include "weft_abi.h"
#include "weft_reasons.h"

#ifndef AF_INET
#define AF_INET 2
#endif
#ifndef AF_INET6
#define AF_INET6 10
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* Verdicts of cgroup/sock_addr programs. */
#define WEFT_REJECT 0
#define WEFT_PROCEED 1

#endif
