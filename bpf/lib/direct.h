/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* weft_direct: what is known of a connection that BPF alone handles, kept with its sockets. */
#ifndef WEFT_DIRECT_H
#define WEFT_DIRECT_H

#include "lib/core.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct weft_direct);
} weft_direct SEC(".maps");

#endif
