/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Is the current task the agent? Known by cgroup and nothing else: an application can borrow a mark
 * or a UID.
 */
#ifndef WEFT_AGENT_H
#define WEFT_AGENT_H

#include "lib/core.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weft_config);
} weft_config SEC(".maps");

static __always_inline bool current_is_agent(void)
{
	__u32 zero = 0;
	const struct weft_config *config = bpf_map_lookup_elem(&weft_config, &zero);

	if (!config)
		return false;
	for (int i = 0; i < WEFT_MAX_AGENTS; i++) {
		const struct weft_agent *agent = &config->agents[i];

		if (agent->cgroup &&
		    bpf_get_current_ancestor_cgroup_id(agent->level) == agent->cgroup)
			return true;
	}
	return false;
}

#endif
