/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Routes that the agent has compiled for a pod and a destination, and the choice among their
 * endpoints.
 */
#ifndef WEFT_ROUTES_H
#define WEFT_ROUTES_H

#include "lib/core.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_ROUTES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_route_key);
	__type(value, struct weft_route);
} weft_routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_MAX_ENDPOINTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_endpoint_key);
	__type(value, struct weft_endpoint);
} weft_endpoints SEC(".maps");

/* One of the route's endpoints, each as often as its weight says (Walker's alias method). NULL:
 * there is no route, or it is being replaced right now.
 */
static __always_inline const struct weft_endpoint *choose_endpoint(__u64 netns,
								   const struct weft_address *asked)
{
	struct weft_route_key route_key = {.netns = netns, .dst = asked->ip, .port = asked->port};
	const struct weft_route *route = bpf_map_lookup_elem(&weft_routes, &route_key);
	const struct weft_endpoint *endpoint;
	struct weft_endpoint_key key = {};

	if (!route)
		return NULL;
	key.set = route->set;
	if (route->count > 1)
		key.slot = ((__u64)bpf_get_prandom_u32() * route->count) >> 32;
	endpoint = bpf_map_lookup_elem(&weft_endpoints, &key);
	if (!endpoint || endpoint->alias == key.slot || bpf_get_prandom_u32() <= endpoint->keep)
		return endpoint;
	key.slot = endpoint->alias;
	return bpf_map_lookup_elem(&weft_endpoints, &key);
}

#endif
