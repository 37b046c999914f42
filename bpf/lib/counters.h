/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Per-CPU counters by WEFT_R_*. */
#ifndef WEFT_COUNTERS_H
#define WEFT_COUNTERS_H

#include "lib/core.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_MAX_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} weft_counters SEC(".maps");

static __always_inline void count_reason(enum weft_reason reason)
{
	__u32 index = reason;
	__u64 *count = bpf_map_lookup_elem(&weft_counters, &index);

	if (count)
		*count += 1;
}

#endif
