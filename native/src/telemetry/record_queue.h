#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace weft::telemetry {

// The bounded way of encoded records from all loops to JavaScript. What JavaScript is too slow for is counted, never
// waited for.
class RecordQueue {
 public:
  // Some 20,000 records: a third of a second of full load, which is what a garbage collection may take.
  static constexpr size_t kCapacityBytes = 16 * 1024 * 1024;

  // `wake` is called from loops, at most once between two Take()s. It must lead to a Take().
  explicit RecordQueue(std::function<void()> wake) : wake_(std::move(wake)) {}

  // Any thread. Takes what is in `bytes` (`records` of them) and leaves it empty, with room to go on.
  void Put(std::vector<uint8_t>& bytes, uint64_t records);
  // The consumer's thread: everything that has come, as one batch.
  std::vector<uint8_t> Take();
  // Any thread.
  uint64_t lost() const;

 private:
  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::vector<uint8_t> bytes_;  // guarded by mutex_
  uint64_t lost_ = 0;           // guarded by mutex_
  bool woken_ = false;          // guarded by mutex_
};

}  // namespace weft::telemetry
