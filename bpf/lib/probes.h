/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* weft_probes: connections that the kubelet opened, 4-tuple (netns 0) -> cookie of its socket. */
#ifndef WEFT_PROBES_H
#define WEFT_PROBES_H

#include "lib/core.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_PROBES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_flow_key);
	__type(value, __u64);
} weft_probes SEC(".maps");

#endif
