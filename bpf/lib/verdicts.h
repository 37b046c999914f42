/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* May this pod connect to that one? What the agent has said, while it counts. */
#ifndef WEFT_VERDICTS_H
#define WEFT_VERDICTS_H

#include "lib/pods.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_VERDICTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_verdict_key);
	__type(value, struct weft_verdict);
} weft_verdicts SEC(".maps");

/* NULL: nothing that still counts. */
static __always_inline const struct weft_verdict *current_verdict(__u64 src_netns,
								  const struct weft_endpoint *to)
{
	struct weft_verdict_key key = {
	    .src_netns = src_netns,
	    .dst_netns = to->netns,
	    .port = to->address.port,
	    .family = ip_is_v4(&to->address.ip) ? AF_INET : AF_INET6,
	};
	const struct weft_verdict *verdict = bpf_map_lookup_elem(&weft_verdicts, &key);
	const struct weft_pod *destination;

	if (!verdict)
		return NULL;
	destination = enrolled_pod(to->netns);
	return destination && destination->epoch == verdict->epoch ? verdict : NULL;
}

#endif
