#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "l7/program_store.h"
#include "loop/drain_wait.h"
#include "waypoint/l7_worker.h"

namespace weft::waypoint {

struct L7Options {
  L7Limits limits;
  std::optional<SocketAddress> hbone;  // nullopt: not accepted
  upstream::CatalogOptions catalog;
  std::shared_ptr<telemetry::RecordQueue> records;
};

struct L7Stats {
  uint64_t open_connections = 0;
  uint64_t open_requests = 0;
  uint64_t open_tunnels = 0;
  uint64_t buffered_bytes = 0;
  uint64_t records_lost = 0;
  uint64_t series_overflowed = 0;
  std::vector<upstream::ClusterStats> clusters;
};

// The loops of an L7 engine and what is common to them. One thread calls it (the JS thread); see waypoint/src/native.ts
// for what each call means.
class L7Engine {
 public:
  static Result<std::unique_ptr<L7Engine>> Create(L7Options options);
  ~L7Engine();

  std::map<std::string, SocketAddress> Listening() const;
  Status SetIdentity(const std::string& id, const std::string& chain, const std::string& key, const std::string& roots);
  std::vector<l7::Rejection> Apply(std::span<const l7::ResourceUpdate> updated,
                                   std::span<const l7::ResourceName> removed);
  std::vector<uint8_t> Series() const;
  L7Stats Stats();
  // Returns once all loops have handed over the records that they have.
  void FlushRecords();
  // A request of the process itself, by the first loop. `done` is called once, on that loop's thread or on this one.
  void Call(std::string cluster, security::CallRequest request, std::function<void(security::CallAnswer)> done);
  // `done` is called on another thread, once.
  void Drain(uint64_t deadline_ms, std::function<void()> done);
  void Close();

 private:
  explicit L7Engine(L7Options options);
  using SocketRef = std::shared_ptr<const ListenerSocket>;

  Result<SocketRef> Open(const l7::ListenerProgram& listener) const;
  // Opens and closes what the program says. Returns what could not be opened; what was open stays then.
  std::vector<l7::Rejection> FollowListeners(std::vector<SocketRef>& opened, std::vector<std::string>& closed);

  L7Shared shared_;
  const std::optional<SocketAddress> hbone_;
  upstream::ClusterCatalog catalog_;
  l7::ProgramStore store_;
  std::map<std::string, SocketRef> sockets_;
  std::vector<std::unique_ptr<L7Worker>> workers_;
  bool draining_ = false;
  bool closed_ = false;
  DrainWait drain_;
};

}  // namespace weft::waypoint
