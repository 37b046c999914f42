/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reading and writing the address of a cgroup/sock_addr context, twins by family. */
#ifndef WEFT_SOCK_ADDR_H
#define WEFT_SOCK_ADDR_H

#include "lib/address.h"

static __always_inline void address_read4(struct weft_address *address, struct bpf_sock_addr *ctx)
{
	ip_from_v4(&address->ip, ctx->user_ip4);
	address->port = bpf_ntohs(ctx->user_port);
	address->_pad = 0;
	address->_pad2 = 0;
}

static __always_inline void address_read6(struct weft_address *address, struct bpf_sock_addr *ctx)
{
	ip_from_v6(&address->ip, ctx->user_ip6);
	address->port = bpf_ntohs(ctx->user_port);
	address->_pad = 0;
	address->_pad2 = 0;
}

static __always_inline void address_write4(struct bpf_sock_addr *ctx,
					   const struct weft_address *address)
{
	ctx->user_ip4 = address->ip.word[3];
	ctx->user_port = bpf_htons(address->port);
}

static __always_inline void address_write6(struct bpf_sock_addr *ctx,
					   const struct weft_address *address)
{
	ctx->user_ip6[0] = address->ip.word[0];
	ctx->user_ip6[1] = address->ip.word[1];
	ctx->user_ip6[2] = address->ip.word[2];
	ctx->user_ip6[3] = address->ip.word[3];
	ctx->user_port = bpf_htons(address->port);
}

#endif
