#include "l7_node.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <utility>

#include "l7.pb.h"

namespace weft::test {

L7Node::L7Node(const TestCa& ca, const waypoint::L7Limits& limits)
    : records_(std::make_shared<telemetry::RecordQueue>([] {})) {
  waypoint::L7Options options;
  options.limits = limits;
  options.hbone = At("127.0.0.1", 0);
  options.records = records_;
  Result<std::unique_ptr<waypoint::L7Engine>> engine = waypoint::L7Engine::Create(std::move(options));
  if (!engine) {
    std::fprintf(stderr, "cannot start an engine: %s\n", engine.error().what.c_str());
    std::abort();
  }
  engine_ = std::move(*engine);
  const Svid svid = ca.Issue(kWaypointId);
  if (Status status = engine_->SetIdentity(kWaypointId, svid.chain, svid.key, ca.roots()); !status) std::abort();
}

L7Node& L7Node::Put(l7::ResourceType type, const std::string& name, const google::protobuf::MessageLite& message) {
  updated_.push_back({type, name, message.SerializeAsString()});
  return *this;
}

L7Node& L7Node::Remove(l7::ResourceType type, const std::string& name) {
  removed_.push_back({type, name});
  return *this;
}

L7Node& L7Node::PutCluster(const std::string& name, uint16_t port) {
  l7::Cluster cluster;
  cluster.set_name(name);
  l7::Endpoints endpoints;
  endpoints.set_cluster(name);
  l7::Endpoint& endpoint = *endpoints.add_endpoints();
  endpoint.set_ip("127.0.0.1");
  endpoint.set_port(port);
  return Put(l7::ResourceType::kCluster, name, cluster).Put(l7::ResourceType::kEndpoints, name, endpoints);
}

std::vector<l7::Rejection> L7Node::Apply() {
  std::vector<l7::ResourceUpdate> updates;
  for (const Encoded& each : updated_) updates.push_back({each.type, each.name, each.bytes});
  std::vector<l7::Rejection> rejections = engine_->Apply(updates, removed_);
  updated_.clear();
  removed_.clear();
  Settle();
  return rejections;
}

bool L7Node::Drain(uint64_t deadline_ms) {
  const auto begin = std::chrono::steady_clock::now();
  auto done = std::make_shared<std::promise<void>>();
  engine_->Drain(deadline_ms, [done] { done->set_value(); });
  done->get_future().wait();
  return std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(deadline_ms);
}

}  // namespace weft::test
