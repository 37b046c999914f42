#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "base/result.h"
#include "bpf/express_waker.h"

namespace weft {

struct PinPaths;

// Express connections between the pods that ask for them. The programs that pair their sockets are part of sockops;
// what moves bytes is not attached before a pod asks. One thread.
class Express {
 public:
  explicit Express(const PinPaths& pins) : pins_(pins) {}
  ~Express();
  Express(const Express&) = delete;
  Express& operator=(const Express&) = delete;

  // Begins to test this kernel, beside other work. `cgroup`: of this process.
  void StartTest(const std::string& cgroup);
  // Why there are none; empty: they are offered. Waits for the test, which takes a tenth of a second.
  const std::string& WhyOff();
  // Makes ready for a pod that asks, in this namespace. False: it goes without.
  bool Offer(uint64_t pod, int netns);
  // The pod has gone, or no longer asks.
  void Release(uint64_t pod);

 private:
  Status Attach();

  const PinPaths& pins_;
  std::thread test_;
  std::string off_ = "this kernel was not tested";
  std::unique_ptr<ExpressWaker> waker_;
};

}  // namespace weft
