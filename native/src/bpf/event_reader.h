#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "weft_abi.h"

struct ring_buffer;

namespace weft {

struct PinPaths;

// Reads weft_events on a thread of its own, and goes on where the last reader stopped, an earlier process's included.
// Of several processes one reads, the others wait for its end. A taker that is too slow leaves records in the ring;
// what does not fit there is counted by the programs (WEFT_R_EVENT_LOST).
class EventReader {
 public:
  // Programs wake nobody for a record.
  static constexpr std::chrono::milliseconds kPeriod{50};
  // About 1 MB. The ring holds some 6,500.
  static constexpr size_t kMaxBatch = 8192;

  // `ready` is called on the reader's thread when there is a batch, and not again before it has been taken.
  static Result<std::unique_ptr<EventReader>> Start(const PinPaths& pins, std::function<void()> ready);
  ~EventReader();

  // From any thread.
  std::vector<weft_event> Take();
  // No call of `ready` and no batch from the return on; what has not been taken yet is lost, what is in the ring is
  // not.
  void Stop();

 private:
  struct RingDeleter {
    void operator()(ring_buffer* ring) const;
  };

  explicit EventReader(std::function<void()> ready) : ready_(std::move(ready)) {}
  void Run();
  void ReadBatch(std::vector<weft_event>& batch);
  static int OnRecord(void* self, void* data, size_t size);

  const std::function<void()> ready_;
  std::unique_ptr<ring_buffer, RingDeleter> ring_;
  // Locked by the process that reads.
  UniqueFd folder_;
  // The reader's thread fills it.
  std::vector<weft_event>* filling_ = nullptr;

  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;            // guarded by mutex_
  std::vector<weft_event> events_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace weft
