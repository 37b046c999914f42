#pragma once

#include <memory>
#include <string>
#include <vector>

#include "test_ca.h"
#include "test_net.h"
#include "waypoint/l7_engine.h"

namespace google::protobuf {
class MessageLite;
}

namespace weft::test {

inline constexpr char kWaypointId[] = "spiffe://cluster.local/ns/default/sa/waypoint";

inline waypoint::L7Limits L7TestLimits() {
  waypoint::L7Limits limits;
  limits.loops = 2;
  return limits;
}

// One L7 engine on loopback, as a waypoint and as a plain proxy.
class L7Node {
 public:
  explicit L7Node(const TestCa& ca, const waypoint::L7Limits& limits = L7TestLimits());

  waypoint::L7Engine& engine() { return *engine_; }
  SocketAddress hbone() const { return At("127.0.0.1", engine_->Listening().at("hbone").port); }
  SocketAddress listener(const std::string& name) const { return At("127.0.0.1", engine_->Listening().at(name).port); }

  // Adds to the step that Apply takes.
  L7Node& Put(l7::ResourceType type, const std::string& name, const google::protobuf::MessageLite& message);
  L7Node& Remove(l7::ResourceType type, const std::string& name);
  // A cluster with one endpoint on loopback.
  L7Node& PutCluster(const std::string& name, uint16_t port);
  // The step; what was refused.
  std::vector<l7::Rejection> Apply();
  // Waits until the loops have taken it.
  void Settle() { engine_->Stats(); }
  // Ends in time, and whether it did so before its deadline.
  bool Drain(uint64_t deadline_ms);

 private:
  struct Encoded {
    l7::ResourceType type;
    std::string name;
    std::string bytes;
  };
  std::shared_ptr<telemetry::RecordQueue> records_;
  std::unique_ptr<waypoint::L7Engine> engine_;
  std::vector<Encoded> updated_;
  std::vector<l7::ResourceName> removed_;
};

}  // namespace weft::test
