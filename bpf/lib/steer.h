/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Where an enrolled pod's traffic goes: the decision that connect and sendmsg share, for both
 * families.
 */
#ifndef WEFT_STEER_H
#define WEFT_STEER_H

#include "lib/agent.h"
#include "lib/pods.h"

/* Destinations that stay as they are: the pod itself, and link-local addresses, which no workload
 * of a mesh has.
 */
static __always_inline bool stays_local(__u64 netns, const struct weft_ip *ip)
{
	return ip_is_loopback(ip) || ip_is_link_local6(ip) || is_own_address(netns, ip);
}

/* True when a DNS query to `asked` goes to the agent's resolver, which listens on loopback only. A
 * socket that is bound to a device cannot reach loopback, so it keeps asking the resolver that it
 * chose.
 */
static __always_inline bool steer_dns(const struct weft_pod *pod, const struct weft_address *asked,
				      __u32 bound_dev, struct weft_address *to)
{
	if (!(pod->flags & WEFT_POD_DNS) || asked->port != 53 || bound_dev)
		return false;
	ip_set_loopback(&to->ip, ip_is_v4(&asked->ip));
	to->port = WEFT_PORT_DNS;
	return true;
}

/* Sends a connection to 15001 at the pod's own address, not at loopback: getsockname() then shows
 * what it would show without a mesh, and a socket bound to the pod's device still gets its answers.
 * -ENETUNREACH: the pod has no address of this family.
 */
static __always_inline int steer_outbound(const struct weft_pod *pod,
					  const struct weft_address *asked, struct weft_address *to)
{
	bool v4 = ip_is_v4(&asked->ip);

	if (!(pod->flags & (v4 ? WEFT_POD_HAS_IP4 : WEFT_POD_HAS_IP6)))
		return -ENETUNREACH;
	to->ip = v4 ? pod->ip4 : pod->ip6;
	to->port = WEFT_PORT_OUTBOUND;
	return 0;
}

/* Sends a connection of a pod that is not captured yet to 15001 at loopback: the pod's own address
 * is not known. lib/members.h says when, hold.bpf.c makes it wait. -ENETUNREACH: the socket is
 * bound to a device, and cannot reach loopback.
 */
static __always_inline int steer_held(const struct weft_address *asked, __u32 bound_dev,
				      struct weft_address *to)
{
	if (bound_dev)
		return -ENETUNREACH;
	ip_set_loopback(&to->ip, ip_is_v4(&asked->ip));
	to->port = WEFT_PORT_OUTBOUND;
	return 0;
}

#endif
