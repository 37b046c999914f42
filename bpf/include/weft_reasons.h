/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Why a connection was refused, dropped or ended. Append only, numbers are never reused: BPF counters, the engine,
 * metrics and logs share this list (scripts/gen-reasons.ts mirrors it to lib/src/reasons.ts).
 *
 * WEFT_REASON(NAME, number, label, response flag)
 */
#ifndef WEFT_REASONS_H
#define WEFT_REASONS_H

#define WEFT_REASONS(WEFT_REASON)                                                 \
	WEFT_REASON(NONE, 0, "none", "-")                                          \
	WEFT_REASON(POLICY_DENIED, 1, "policy_denied", "DENY")                     \
	WEFT_REASON(UPSTREAM_REFUSED, 2, "upstream_refused", "CONNECT")            \
	WEFT_REASON(UPSTREAM_TIMEOUT, 3, "upstream_timeout", "CONNECT")            \
	WEFT_REASON(TLS_FAILURE, 4, "tls_failure", "TLS_FAILURE")                  \
	WEFT_REASON(H2_FAILURE, 5, "h2_failure", "H2_HANDSHAKE_FAILURE")           \
	WEFT_REASON(NETWORK_POLICY, 6, "network_policy", "NETWORK_POLICY")         \
	WEFT_REASON(IDENTITY_ERROR, 7, "identity_error", "IDENTITY_ERROR")         \
	WEFT_REASON(CERT_REVOKED, 8, "cert_revoked", "CERT_REVOKED")               \
	WEFT_REASON(NO_ORIGINAL_DST, 9, "no_original_dst", "CONNECT")              \
	WEFT_REASON(NO_HEALTHY_UPSTREAM, 10, "no_healthy_upstream", "CONNECT")     \
	WEFT_REASON(UNKNOWN_WORKLOAD, 11, "unknown_workload", "CONNECT")           \
	WEFT_REASON(BAD_AUTHORITY, 12, "bad_authority", "CONNECT")                 \
	WEFT_REASON(NOT_CONNECT, 13, "not_connect", "CONNECT")                     \
	WEFT_REASON(RESERVED_PORT, 14, "reserved_port", "CONNECT")                 \
	WEFT_REASON(TUNNEL_REFUSED, 15, "tunnel_refused", "CONNECT")               \
	WEFT_REASON(DRAINED, 16, "drained", "CONNECT")                             \
	WEFT_REASON(POLICY_CHANGED, 17, "policy_changed", "DENY")                  \
	WEFT_REASON(POD_REMOVED, 18, "pod_removed", "CONNECT")                     \
	WEFT_REASON(LIMIT_EXCEEDED, 19, "limit_exceeded", "CONNECT")               \
	WEFT_REASON(PROTOCOL_ERROR, 20, "protocol_error", "CONNECT")               \
	WEFT_REASON(PEER_RESET, 21, "peer_reset", "CONNECT")                       \
	WEFT_REASON(IDLE_TIMEOUT, 22, "idle_timeout", "CONNECT")                   \
	WEFT_REASON(ROUTE_TIMEOUT, 23, "route_timeout", "CONNECT")                 \
	WEFT_REASON(LOOP, 24, "loop", "CONNECT")                                   \
	WEFT_REASON(MAP_FULL, 25, "map_full", "CONNECT")                           \
	WEFT_REASON(NO_LISTENER, 26, "no_listener", "CONNECT")                     \
	WEFT_REASON(CAPTURED_OUTBOUND, 27, "captured_outbound", "-")               \
	WEFT_REASON(CAPTURED_INBOUND, 28, "captured_inbound", "-")                 \
	WEFT_REASON(PASSED_PROBE, 29, "passed_probe", "-")                         \
	WEFT_REASON(CAPTURED_DNS, 30, "captured_dns", "-")                         \
	WEFT_REASON(INTERNAL, 31, "internal", "CONNECT")                           \
	WEFT_REASON(NO_OWN_ADDRESS, 32, "no_own_address", "CONNECT")               \
	WEFT_REASON(DIRECT, 33, "direct", "-")                                     \
	WEFT_REASON(PLAIN_OUT, 34, "plain_out", "-")                               \
	WEFT_REASON(PLAIN_IN, 35, "plain_in", "-")                                 \
	WEFT_REASON(NO_VERDICT, 36, "no_verdict", "-")                             \
	WEFT_REASON(EVENT_LOST, 37, "event_lost", "-")                             \
	WEFT_REASON(EXPRESS, 38, "express", "-")                                   \
	WEFT_REASON(REDIRECTED, 39, "redirected", "-")                             \
	WEFT_REASON(NO_WAYPOINT, 40, "no_waypoint", "CONNECT")                     \
	WEFT_REASON(HELD, 41, "held", "-")                                         \
	WEFT_REASON(UNKNOWN_POD, 42, "unknown_pod", "CONNECT")

#define WEFT_REASON_ENUM(name, number, label, flag) WEFT_R_##name = number,
enum weft_reason { WEFT_REASONS(WEFT_REASON_ENUM) WEFT_R_MAX = 43 };
#undef WEFT_REASON_ENUM

#endif
