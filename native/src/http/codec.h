#pragma once

#include <memory>

#include "http/stream.h"
#include "loop/loop_context.h"

namespace weft::http {

// Bounds of one downstream connection.
struct ServerLimits {
  // HTTP/2's reckoning (HeaderMap::ListBytes), for HTTP/1 too. Envoy's default.
  uint32_t max_header_bytes = 60 * 1024;
  uint32_t max_headers = 100;
  // From the first byte of a head to its last: slow loris.
  uint64_t header_ms = 60'000;
  // Between requests. Envoy's default for keep-alive connections.
  uint64_t idle_ms = 3'600'000;
  uint32_t max_concurrent_streams = 100;
  uint32_t stream_window = 256 * 1024;
  uint32_t connection_window = 1024 * 1024;
};

struct ClientLimits {
  uint32_t max_header_bytes = 60 * 1024;
  uint32_t max_headers = 100;
  uint32_t max_concurrent_streams = 0x7fffffff;
  uint32_t stream_window = 256 * 1024;
  uint32_t connection_window = 1024 * 1024;
};

// Take over a stream that is up; `first` holds bytes that were read from it already (sniffing).
std::unique_ptr<ServerConnection> MakeHttp1Server(LoopContext& context, std::unique_ptr<ByteStream> stream,
                                                  ServerConnection::Owner& owner, const ServerLimits& limits,
                                                  std::span<const uint8_t> first);
std::unique_ptr<ServerConnection> MakeHttp2Server(LoopContext& context, std::unique_ptr<ByteStream> stream,
                                                  ServerConnection::Owner& owner, const ServerLimits& limits,
                                                  std::span<const uint8_t> first);
std::unique_ptr<ClientConnection> MakeHttp1Client(LoopContext& context, std::unique_ptr<ByteStream> stream,
                                                  ClientConnection::Owner& owner, const ClientLimits& limits);
std::unique_ptr<ClientConnection> MakeHttp2Client(LoopContext& context, std::unique_ptr<ByteStream> stream,
                                                  ClientConnection::Owner& owner, const ClientLimits& limits);

}  // namespace weft::http
