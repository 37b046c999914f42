#pragma once

#include <cstdint>

#include "hbone/h2_connection.h"
#include "net/socket.h"

namespace weft::waypoint {

// Bounds of the L7 engine. Tests shorten the times and shrink the counts.
struct L7Limits {
  uint32_t loops = 0;  // 0: cores, at most 4
  Keepalive keepalive;
  TunnelTimeouts tunnel;
  // A peer that opened a tunnel but never a stream.
  uint64_t first_stream_ms = 30'000;
  // Memory of a tunnel is about 40 KiB without load. Every workload that talks to us has one or more.
  uint32_t max_tunnels = 20'000;
  // Of these from one address: an agent opens one per loop and identity, an Envoy one per worker and hundred streams.
  uint32_t max_tunnels_per_peer = 256;
  // TLS handshakes in progress, per loop. Beyond this the oldest gives way.
  uint32_t max_handshakes = 512;
  // Streams of one tunnel, as Envoy's waypoints have it.
  uint32_t max_streams = 100;
  uint32_t max_header_list = 64 * 1024;
  // Connections and streams that are open on one loop, whatever they carry.
  uint32_t max_connections = 100'000;
};

// Backlog of the listeners; a burst of new connections waits here for at most one turn of a loop.
inline constexpr int kListenBacklog = 4096;

}  // namespace weft::waypoint
