#pragma once

#include <cstddef>
#include <cstdint>

#include "hbone/h2_connection.h"
#include "net/socket.h"

namespace weft {

// Ports of the agent inside every pod's namespace; never a destination.
inline constexpr uint16_t kOutboundPort = 15001;
inline constexpr uint16_t kInboundPlaintextPort = 15006;
inline constexpr uint16_t kInboundHbonePort = 15008;
inline constexpr uint16_t kDnsPort = 15053;

inline constexpr bool IsReservedPort(uint16_t port) {
  return port == kOutboundPort || port == kInboundPlaintextPort || port == kInboundHbonePort;
}

// The engine's settings and bounds. Tests shorten the times and shrink the counts.
struct EngineLimits {
  uint32_t loops = 0;  // 0: cores, at most 4
  uint32_t max_streams_per_connection = 100;
  uint64_t pool_unused_release_ms = 300'000;
  uint32_t stream_window = 4 * 1024 * 1024;
  uint32_t connection_window = 16 * 1024 * 1024;
  uint32_t frame_bytes = 1024 * 1024;
  Keepalive keepalive;
  bool ipv6 = true;
  // Listening ports; 0 in tests without a network namespace of their own.
  uint16_t outbound_port = kOutboundPort;
  uint16_t inbound_plaintext_port = kInboundPlaintextPort;
  uint16_t inbound_hbone_port = kInboundHbonePort;

  // How long a captured connection waits for its route, a tunnel for its certificate.
  uint64_t route_wait_ms = 5'000;
  uint64_t identity_wait_ms = 5'000;
  // TCP connect to an application or a plaintext destination.
  uint64_t dial_ms = 10'000;
  // The peer's answer to CONNECT: it dials its application for up to 10 s itself.
  uint64_t connect_answer_ms = 15'000;
  // A peer that opened a tunnel but never a stream.
  uint64_t first_stream_ms = 30'000;
  TunnelTimeouts tunnel;

  // Memory of a tunnel is about 40 KiB without load; 2,000 are 80 MB. A node with more peers per pod than that is
  // told so by the limit_exceeded counter.
  uint32_t max_tunnels_per_pod = 2'000;
  // Of these from one address: a peer's agent opens one per loop and identity, an Envoy one per worker and hundred
  // streams. Without it a single member could take all of a pod's tunnels.
  uint32_t max_tunnels_per_peer = 256;
  // TLS handshakes in progress cost about 50 KiB and some CPU each. Beyond this the oldest gives way.
  uint32_t max_handshakes_per_pod = 256;
  // Records of inbound connections of one address that never came about (denied, malformed, application down), on each
  // loop: one costs JavaScript a log line. Beyond it they are counted only (event_lost).
  uint32_t refusals_burst = 500;
  uint32_t refusals_per_second = 100;
  // What a loop holds for applications that do not read, whatever the tunnels' windows add up to: the last line of
  // defence of the node. The connection that would go beyond its pod's part (PendingBudget) is reset.
  size_t pending_bytes = 512 * 1024 * 1024;
  // Captured and plaintext connections per pod; above any sane descriptor limit share.
  uint32_t max_connections_per_pod = 50'000;
};

// Concurrent streams that a server tunnel advertises, as ztunnel.
inline constexpr uint32_t kServerStreams = 200;
inline constexpr uint32_t kClientHeaderList = 16 * 1024;
inline constexpr uint32_t kServerHeaderList = 64 * 1024;
// Backlog of the three listeners; a burst of new connections waits here for at most one turn of a loop.
inline constexpr int kListenBacklog = 4096;

}  // namespace weft
