#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "l7/record.h"
#include "loop/epoll_loop.h"
#include "telemetry/record_queue.h"

namespace weft::telemetry {

// Collects the records of one loop and hands them over in batches, so that JavaScript is woken some fifty times a
// second and not once per request.
class RecordRing {
 public:
  static constexpr uint64_t kFlushMs = 20;
  static constexpr size_t kFlushBytes = 128 * 1024;

  RecordRing(EpollLoop& loop, std::shared_ptr<RecordQueue> queue);
  ~RecordRing() { Flush(); }
  void Append(const l7::RequestRecord& record);
  // Hands over what there is now.
  void Flush();

 private:
  EpollLoop& loop_;
  std::shared_ptr<RecordQueue> queue_;
  std::vector<uint8_t> bytes_;
  uint64_t records_ = 0;
  Timer timer_;
};

}  // namespace weft::telemetry
