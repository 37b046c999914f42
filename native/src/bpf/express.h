#pragma once

#include <string>
#include <thread>

#include "base/result.h"

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
  // Makes ready for the next pod that asks. False: it goes without.
  bool Offer();

 private:
  Status Attach() const;

  const PinPaths& pins_;
  std::thread test_;
  std::string off_ = "this kernel was not tested";
  bool attached_ = false;
};

}  // namespace weft
