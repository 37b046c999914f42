#pragma once

#include <memory>
#include <string>
#include <vector>

#include "http/codec.h"
#include "upstream/connector.h"
#include "upstream/pool_queue.h"

namespace weft::upstream {

// HTTP connections of one loop to one endpoint of one cluster, in one protocol and under one name. A waiter gets an
// idle connection (the one that was used last: the others may grow old and go), or one that is made for it.
class HttpPool {
 public:
  HttpPool(std::shared_ptr<Connector> connector, std::shared_ptr<const ClusterEntry> cluster,
           std::shared_ptr<const EndpointEntry> endpoint, bool http2, std::string server_name);
  ~HttpPool();

  // Calls `waiter` now or later, once.
  void Request(PoolWaiter& waiter);
  // Idle connections go now, others when they become idle. Who waits is served still.
  void Drain();
  size_t connections() const { return connections_.size(); }
  // Somebody waits or is served.
  bool busy() const;
  // New requests see a new policy. Counters stay the same.
  void SetCluster(std::shared_ptr<const ClusterEntry> cluster) { cluster_ = std::move(cluster); }

 private:
  class Connection;
  // Makes connections as long as somebody waits for whom none is being made.
  void Serve();
  bool Dial();
  void OnUp(Connection& connection);
  void OnRoom(Connection& connection);
  void OnDown(Connection& connection, StreamEnd end, std::string_view detail);
  EpollLoop& loop() { return connector_->context().loop; }

  std::shared_ptr<Connector> connector_;
  std::shared_ptr<const ClusterEntry> cluster_;
  std::shared_ptr<const EndpointEntry> endpoint_;
  const bool http2_;
  const std::string server_name_;
  std::vector<std::unique_ptr<Connection>> connections_;
  // Those that may have room, the one that had it last at the end; who has none any more leaves when it is found out.
  std::vector<Connection*> ready_;
  PoolQueue waiting_;
  size_t n_connecting_ = 0;
  bool draining_ = false;
};

}  // namespace weft::upstream
