/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* weft_events: what the agent is told of connections that it does not see. It looks at the ring
 * every few milliseconds; nobody is woken per record.
 */
#ifndef WEFT_EVENTS_H
#define WEFT_EVENTS_H

#include "lib/counters.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WEFT_EVENTS_BYTES);
} weft_events SEC(".maps");

/* NULL, and counted, when the ring is full. */
static __always_inline struct weft_event *event_reserve(void)
{
	struct weft_event *event = bpf_ringbuf_reserve(&weft_events, sizeof(*event), 0);

	if (!event)
		count_reason(WEFT_R_EVENT_LOST);
	return event;
}

/* Half of the ring is for connections that came about: a pod that goes on and on to ask for what it
 * may not have must not cost others their records.
 */
static __always_inline struct weft_event *event_reserve_denied(void)
{
	if (bpf_ringbuf_query(&weft_events, BPF_RB_AVAIL_DATA) < WEFT_EVENTS_BYTES / 2)
		return event_reserve();
	count_reason(WEFT_R_EVENT_LOST);
	return NULL;
}

static __always_inline void event_submit(struct weft_event *event)
{
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

#endif
