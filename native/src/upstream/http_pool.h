#pragma once

#include <memory>
#include <string>
#include <vector>

#include "http/codec.h"
#include "upstream/connector.h"

namespace weft::upstream {

// HTTP connections of one loop to one endpoint of one cluster, in one protocol. A waiter gets an idle connection (the
// one that was used last: the others may grow old and go), or one that is made for it.
class HttpPool {
 public:
  HttpPool(Connector& connector, std::shared_ptr<const ClusterEntry> cluster,
           std::shared_ptr<const EndpointEntry> endpoint, bool http2);
  ~HttpPool();

  // Calls `waiter` now or later, once.
  void Request(PoolWaiter& waiter, const std::string& server_name);
  // Idle connections go now, others when they become idle.
  void Drain();
  size_t connections() const { return connections_.size(); }
  bool idle() const { return connections_.empty() && waiting_.empty(); }
  // New requests see a new policy.
  void SetCluster(std::shared_ptr<const ClusterEntry> cluster) { cluster_ = std::move(cluster); }

 private:
  class Connection;
  // Makes connections as long as somebody waits for whom none is being made.
  void Serve();
  bool Dial();
  void OnUp(Connection& connection);
  void OnRoom(Connection& connection);
  void OnDown(Connection& connection, StreamEnd end, std::string_view detail);
  PoolWaiter* NextWaiter();
  void FailOne(PoolFailure failure, std::string_view detail);

  Connector& connector_;
  std::shared_ptr<const ClusterEntry> cluster_;
  std::shared_ptr<const EndpointEntry> endpoint_;
  const bool http2_;
  std::string server_name_;
  std::vector<std::unique_ptr<Connection>> connections_;
  IntrusiveList<PoolWaiter> waiting_;
  size_t n_waiting_ = 0;
  size_t n_connecting_ = 0;
  bool draining_ = false;
};

}  // namespace weft::upstream
