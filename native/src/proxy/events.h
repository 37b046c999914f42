#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "net/ip_address.h"
#include "proxy/config.h"
#include "weft_reasons.h"

namespace weft {

enum class Path : uint8_t { kOutbound, kInboundHbone, kInboundPlaintext };

// One connection as native.ts' ConnectionRecord has it.
struct ConnectionRecord {
  uint64_t id = 0;
  PodId pod = 0;
  Path path = Path::kOutbound;
  SocketAddress source;
  SocketAddress destination;
  std::optional<SocketAddress> upstream;
  std::string authority;
  std::string peer_identity;
  std::optional<uint64_t> endpoint_key;
  std::string baggage;
  std::string forwarded;
  std::array<uint8_t, 16> trace_id{};
  double opened_at_ms = 0;  // Unix time
  uint64_t opened_mono_us = 0;
  double duration_ms = 0;
  uint64_t request_bytes = 0;
  uint64_t response_bytes = 0;
  bool established = false;
  weft_reason reason = WEFT_R_NONE;
  std::string detail;
  std::optional<std::string> policy;
};

struct RouteMiss {
  PodId pod;
  SocketAddress destination;
};
struct IdentityMiss {
  std::string identity;
};
struct Closed {
  explicit Closed(ConnectionRecord closed) : record(std::make_unique<ConnectionRecord>(std::move(closed))) {}
  std::unique_ptr<const ConnectionRecord> record;
};
struct DryRun {
  PodId pod;
  std::string policy;
  SocketAddress source;
  std::string peer_identity;
};
struct EventsLost {
  uint64_t count;
};
using Event = std::variant<RouteMiss, IdentityMiss, Closed, DryRun, EventsLost>;

// Gets events from loop threads. Thread-safe; must not block and must not call back into the engine.
class EventSink {
 public:
  virtual void OnEvents(std::vector<Event> events) = 0;

 protected:
  ~EventSink() = default;
};

}  // namespace weft
