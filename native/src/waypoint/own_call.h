#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/intrusive_list.h"
#include "security/service_call.h"

namespace weft::waypoint {

class L7Worker;

// What JavaScript waits for: told exactly once, on whatever thread, also when nobody ever asks.
class OwnAnswer {
 public:
  explicit OwnAnswer(std::function<void(security::CallAnswer)> done) : done_(std::move(done)) {}
  OwnAnswer(const OwnAnswer&) = delete;
  OwnAnswer& operator=(const OwnAnswer&) = delete;
  ~OwnAnswer();
  void Tell(security::CallAnswer answer);

 private:
  std::function<void(security::CallAnswer)> done_;
};

// A request of the process itself (spans for a collector) by way of a cluster: pools, tunnels and TLS are those of
// traffic.
class OwnCall final : private security::ServiceCall::Owner {
 public:
  // Owns itself until the answer is there or the worker ends.
  static void Start(L7Worker& worker, const std::string& cluster, security::CallRequest request,
                    std::shared_ptr<OwnAnswer> answer);

 private:
  OwnCall(L7Worker& worker, security::CallRequest request, std::shared_ptr<OwnAnswer> answer);
  void OnAnswer(security::CallAnswer answer) override;

  L7Worker& worker_;
  std::shared_ptr<OwnAnswer> answer_;
  security::ServiceCall call_;
  ListLink<OwnCall> link_;
};

}  // namespace weft::waypoint
