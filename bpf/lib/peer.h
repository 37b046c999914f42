/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* weft_peer: the address that an application's socket shows as its peer instead of the one it talks
 * to, when the agent is in between.
 */
#ifndef WEFT_PEER_H
#define WEFT_PEER_H

#include "lib/core.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct weft_peer);
} weft_peer SEC(".maps");

/* `chosen`: key of the endpoint that the agent is to use, 0 for none. 0, or -ENOMEM when the
 * socket's option memory is used up. A macro because `sk` has another verifier type in each kind of
 * program.
 */
#define remember_peer(sk, shown, chosen)                                                           \
	({                                                                                         \
		struct weft_peer *_peer =                                                          \
		    bpf_sk_storage_get(&weft_peer, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);            \
		if (_peer) {                                                                       \
			_peer->address = *(shown);                                                 \
			_peer->endpoint = (chosen);                                                \
		}                                                                                  \
		_peer ? 0 : -ENOMEM;                                                               \
	})

#endif
