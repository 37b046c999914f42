#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/pending_budget.h"
#include "base/unique_fd.h"
#include "hbone/peer_census.h"
#include "net/netns.h"
#include "proxy/config.h"
#include "proxy/connection.h"
#include "proxy/hbone_pool.h"

namespace weft {

class InboundTunnel;
class PodListener;
class RouteWaiter;

// What all loops share of a pod. Made by addPod, gone with the last loop's state.
struct PodShared {
  PodConfig config;
  NetNs netns;
  uint64_t cookie = 0;
  UniqueFd outbound;
  UniqueFd inbound_plaintext;
  UniqueFd inbound_hbone;

  std::atomic<uint32_t> tunnels{0};
  std::atomic<uint32_t> handshakes{0};
  std::atomic<uint32_t> connections{0};
  PeerCensus peers;  // of established tunnels

  // To be called when no loop listens any more.
  void CloseListeners() {
    outbound.Reset();
    inbound_plaintext.Reset();
    inbound_hbone.Reset();
  }

  // True the first time that any loop asks for `destination`, until it is answered.
  bool AskOnce(const SocketAddress& destination) {
    std::lock_guard lock(mutex);
    return asked.insert(destination).second;
  }
  void Answered(const SocketAddress& destination) {
    std::lock_guard lock(mutex);
    asked.erase(destination);
  }

 private:
  std::mutex mutex;
  std::set<SocketAddress> asked;  // guarded by mutex
};

// One loop's view of a pod.
struct PodState {
  PodState(Worker& worker, std::shared_ptr<PodShared> pod);
  ~PodState();

  const PodConfig& config() const { return shared->config; }
  bool IsOwnAddress(const IpAddress& ip) const;

  std::shared_ptr<PodShared> shared;
  std::string baggage;
  std::unordered_map<SocketAddress, std::shared_ptr<const Route>> routes;
  std::unordered_map<SocketAddress, std::unique_ptr<IntrusiveList<RouteWaiter>>> waiters;
  std::unordered_map<std::string, uint16_t> hosts;

  // Names in force; nullopt until the first set-pod-policies, when nothing is admitted.
  std::optional<std::vector<std::string>> policy_names;
  std::vector<const NamedPolicy*> policies;
  std::string unknown_policy;  // a name that has no policy: refuse

  std::vector<std::unique_ptr<PodListener>> listeners;
  HbonePool pool;
  // The pod's part of what a loop holds for applications that do not read.
  PendingShare pending;
  IntrusiveList<Connection> connections;
  IntrusiveList<InboundTunnel> tunnels;
  // Those of them whose TLS is not done, oldest first.
  IntrusiveList<InboundTunnel> handshaking;

  size_t tunnel_count = 0;

  void Add(Connection& connection) { connections.PushBack(connection.link_); }
  void OnIdentityChanged(const std::shared_ptr<const IdentityContext>& context);
  void OnIdentityRemoved();
  void Drain();
  void EndAll(weft_reason reason, const std::string& detail);
};

}  // namespace weft
