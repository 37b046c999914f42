/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the agent has found out about the pods whose network namespace is not captured, by cgroup: a
 * pod's folder is there before its first process, its namespace is not.
 */
#ifndef WEFT_MEMBERS_H
#define WEFT_MEMBERS_H

#include "lib/core.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_MEMBERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} weft_members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weft_newcomers);
} weft_newcomers SEC(".maps");

enum membership {
	/* Nothing to us: outside the mesh, no pod, or nobody is there to find out. */
	MEMBER_OUTSIDE,
	/* Belongs to the mesh, which is not ready for it yet. */
	MEMBER_INSIDE,
	/* A living agent is going to find out. */
	MEMBER_UNKNOWN,
};

static __always_inline const __u32 *member_at(__u32 level)
{
	__u64 cgroup = bpf_get_current_ancestor_cgroup_id(level);

	return cgroup ? bpf_map_lookup_elem(&weft_members, &cgroup) : NULL;
}

/* Depth of a folder above the current task's, 0: there is none such. */
static __always_inline __u32 level_of(__u64 folder)
{
	for (__u32 level = 1; level <= WEFT_MAX_PODS_LEVEL; level++) {
		__u64 cgroup = bpf_get_current_ancestor_cgroup_id(level);

		if (!cgroup)
			return 0;
		if (cgroup == folder)
			return level;
	}
	return 0;
}

/* Of the current task, whose socket in `netns` is not captured. */
static __always_inline enum membership current_membership(__u64 netns)
{
	const struct weft_newcomers *newcomers;
	const __u32 *member;
	__u32 zero = 0, level;

	newcomers = bpf_map_lookup_elem(&weft_newcomers, &zero);
	if (!newcomers || !newcomers->pods_cgroup || netns == newcomers->host_netns)
		return MEMBER_OUTSIDE;
	level = level_of(newcomers->pods_cgroup);
	if (!level || !bpf_get_current_ancestor_cgroup_id(level + 1))
		return MEMBER_OUTSIDE;
	/* A pod's folder is one or two below that of all pods: in between may be one of a quality
	 * of service class.
	 */
	member = member_at(level + 2);
	if (!member)
		member = member_at(level + 1);
	if (member)
		return *member == WEFT_MEMBER_INSIDE ? MEMBER_INSIDE : MEMBER_OUTSIDE;
	return bpf_ktime_get_boot_ns() < newcomers->guarded_until_ns ? MEMBER_UNKNOWN
								     : MEMBER_OUTSIDE;
}

#endif
