#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "l7/record.h"

namespace weft::telemetry {

// The labels of a series as bytes: equal bytes, equal labels. Held by series_book, read by
// waypoint/src/telemetry/series.ts:
//
//   u8 protocol (0 http, 1 grpc, 2 tcp)   u8 bits (1 downstream has TLS, 2 an endpoint was chosen, 4 "other")
//   u16 response code                      i32 gRPC status (-1: none)       u32 response flags
//   texts, each u16 bytes + UTF-8: destination, cluster, telemetry, peer identity, peer baggage,
//     service namespace, hostname, name,
//     workload name, namespace, canonical service, canonical revision, cluster id, principal, app, version
class SeriesKey {
 public:
  SeriesKey();
  // What was opened has no answer yet: flags and codes are left out of its labels.
  enum class Moment : uint8_t { kOpened, kEnded };
  void Write(const l7::RequestRecord& record, Moment moment);
  // The series of everything for which there is no room.
  void WriteOther(const l7::RequestRecord& record);

  std::span<const uint8_t> bytes() const { return {bytes_.data(), size_}; }
  uint64_t Hash() const;

 private:
  // Longer texts are cut: the rest of a key cannot be what tells two workloads apart.
  static constexpr size_t kMaxTextBytes = 1024;
  void Begin(const l7::RequestRecord& record, uint8_t bits, bool ended);
  void Text(std::string_view text);

  std::vector<uint8_t> bytes_;  // as large as a key can be
  size_t size_ = 0;
};

}  // namespace weft::telemetry
