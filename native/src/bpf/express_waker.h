#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "base/result.h"
#include "base/unique_fd.h"

namespace weft {

// Wakes readers of express connections that have both direct bytes and TCP's to read: runs express_wake.bpf.c every few
// milliseconds while there are any. On a thread of its own. Without it they wait until the next byte comes.
class ExpressWaker {
 public:
  // `program`: of express_wake.bpf.c, loaded. `lagging`: the map of those readers. Neither is kept.
  static Result<std::unique_ptr<ExpressWaker>> Start(int program, int lagging);
  ~ExpressWaker();
  ExpressWaker(const ExpressWaker&) = delete;
  ExpressWaker& operator=(const ExpressWaker&) = delete;

  // Looks after the readers of this namespace, which is kept alive by it. `id`: for Forget.
  Status Watch(uint64_t id, int netns);
  void Forget(uint64_t id);

 private:
  ExpressWaker() = default;
  void Run();
  void WakeIn(int netns) const;

  UniqueFd link_;
  UniqueFd lagging_;
  UniqueFd stop_;
  std::mutex mutex_;
  std::map<uint64_t, UniqueFd> netns_;
  std::thread thread_;
};

}  // namespace weft
