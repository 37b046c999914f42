/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* struct weft_ip: one type for both families, so that everything behind the hooks is written once.
 */
#ifndef WEFT_ADDRESS_H
#define WEFT_ADDRESS_H

#include "lib/core.h"

static __always_inline void ip_from_v4(struct weft_ip *ip, __be32 v4)
{
	ip->word[0] = 0;
	ip->word[1] = 0;
	ip->word[2] = bpf_htonl(0xffff);
	ip->word[3] = v4;
}

/* The context's words one by one: the verifier wants each at a constant offset. */
#define ip_from_v6(ip, words)                                                                      \
	do {                                                                                       \
		(ip)->word[0] = (words)[0];                                                        \
		(ip)->word[1] = (words)[1];                                                        \
		(ip)->word[2] = (words)[2];                                                        \
		(ip)->word[3] = (words)[3];                                                        \
	} while (0)

static __always_inline bool ip_is_v4(const struct weft_ip *ip)
{
	return ip->word[0] == 0 && ip->word[1] == 0 && ip->word[2] == bpf_htonl(0xffff);
}

static __always_inline bool ip_equal(const struct weft_ip *a, const struct weft_ip *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline bool ip_is_unspecified(const struct weft_ip *ip)
{
	return ip->word[0] == 0 && ip->word[1] == 0 && ip->word[3] == 0 &&
	       (ip->word[2] == 0 || ip->word[2] == bpf_htonl(0xffff));
}

/* 127.0.0.0/8, ::1, and the unspecified address, which connect() takes for loopback. */
static __always_inline bool ip_is_loopback(const struct weft_ip *ip)
{
	if (ip_is_v4(ip))
		return ip->word[3] == 0 || (bpf_ntohl(ip->word[3]) >> 24) == 127;
	return ip->word[0] == 0 && ip->word[1] == 0 && ip->word[2] == 0 &&
	       (ip->word[3] == 0 || ip->word[3] == bpf_htonl(1));
}

/* fe80::/10 has a meaning only together with an interface, which an agent's dial would not have. */
static __always_inline bool ip_is_link_local6(const struct weft_ip *ip)
{
	return (bpf_ntohl(ip->word[0]) & 0xffc00000) == 0xfe800000;
}

static __always_inline void ip_set_loopback(struct weft_ip *ip, bool v4)
{
	ip_from_v4(ip, bpf_htonl(0x7f000001));
	if (v4)
		return;
	ip->word[2] = 0;
	ip->word[3] = bpf_htonl(1);
}

#endif
