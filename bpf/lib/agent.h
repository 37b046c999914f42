/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Is the current task the agent, is a socket one of its own? Known by cgroup and nothing else: an
 * application can borrow a mark or a UID.
 */
#ifndef WEFT_AGENT_H
#define WEFT_AGENT_H

#include "lib/kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weft_config);
} weft_config SEC(".maps");

static __always_inline const struct weft_config *current_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&weft_config, &zero);
}

static __always_inline bool is_agents_cgroup(const struct weft_config *config, __u64 cgroup)
{
	for (int i = 0; i < WEFT_MAX_AGENTS; i++) {
		if (cgroup && config->agents[i].cgroup == cgroup)
			return true;
	}
	return false;
}

static __always_inline bool current_is_agent(void)
{
	const struct weft_config *config = current_config();

	return config && is_agents_cgroup(config, bpf_get_current_cgroup_id());
}

/* Has a living agent said so not long ago? What is outside the mesh may come to be inside, and a pod
 * without policies may get some, while nobody watches.
 */
static __always_inline bool plain_is_permitted(void)
{
	const struct weft_config *config = current_config();

	return config && bpf_ktime_get_boot_ns() < config->plain_until_ns;
}

/* For where no task stands for the socket. It keeps the cgroup that it was made in, and an accepted
 * one that of its listener.
 */
static __always_inline bool socket_is_agents(const struct tcp_sock___weft *tcp)
{
	const struct weft_config *config = current_config();
	__u64 cgroup = sock_of(tcp)->sk_cgrp_data.cgroup->kn->id;

	return config && is_agents_cgroup(config, cgroup);
}

#endif
