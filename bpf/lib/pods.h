/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Enrolled pods by the cookie of their network namespace. The kernel never gives a cookie twice;
 * addresses it does.
 */
#ifndef WEFT_PODS_H
#define WEFT_PODS_H

#include "lib/address.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_PODS);
	__type(key, __u64);
	__type(value, struct weft_pod);
} weft_pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_OWN_ADDRS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_own_addr);
	__type(value, __u32);
} weft_own_addrs SEC(".maps");

static __always_inline const struct weft_pod *enrolled_pod(__u64 netns)
{
	return bpf_map_lookup_elem(&weft_pods, &netns);
}

static __always_inline bool is_own_address(__u64 netns, const struct weft_ip *ip)
{
	struct weft_own_addr key = {.netns = netns, .ip = *ip};

	return bpf_map_lookup_elem(&weft_own_addrs, &key) != NULL;
}

#endif
