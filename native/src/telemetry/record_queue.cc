#include "telemetry/record_queue.h"

#include <utility>

namespace weft::telemetry {

void RecordQueue::Put(std::vector<uint8_t>& bytes, uint64_t records) {
  {
    const std::lock_guard lock(mutex_);
    if (bytes_.size() + bytes.size() > kCapacityBytes) {
      lost_ += records;
    } else if (bytes_.empty()) {
      bytes_.swap(bytes);
    } else {
      bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
    bytes.clear();
    if (std::exchange(woken_, true)) return;
  }
  wake_();
}

std::vector<uint8_t> RecordQueue::Take() {
  const std::lock_guard lock(mutex_);
  woken_ = false;
  return std::exchange(bytes_, {});
}

uint64_t RecordQueue::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

}  // namespace weft::telemetry
