#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "loop/loop_thread.h"
#include "net/capture.h"
#include "net/netns.h"
#include "proxy/events.h"
#include "proxy/limits.h"
#include "proxy/peer_budget.h"
#include "proxy/pod_state.h"
#include "proxy/tunnel_relay.h"

namespace weft {

// What an accepted socket is; each kind is spread over the loops by itself.
enum class ListenerKind : uint8_t { kOutbound, kInboundPlaintext, kInboundHbone };
inline constexpr size_t kListenerKinds = 3;

// One event loop with its thread, tables and connections. Public members are used on the loop's thread only, unless
// they say otherwise.
class Worker {
 public:
  Worker(const EngineLimits& limits, Capture* capture, EventSink& sink, uint32_t index, uint32_t count);
  ~Worker();

  Status Start();
  // Joins the thread; everything open is ended first.
  void Stop();
  // Any thread.
  void Post(std::function<void()> task) { thread_.Post(std::move(task)); }
  // Any thread, before Start: the loops among which new connections are spread.
  void SetPeers(std::vector<Worker*> peers) { peers_ = std::move(peers); }

  void AddPod(std::shared_ptr<PodShared> pod);
  void RemovePod(PodId id);
  void Apply(const std::vector<Command>& commands);
  // Closes listeners, lets tunnels end with their streams.
  void Drain();
  // Ends what is left.
  void EndAll(weft_reason reason);
  void CollectRecords(std::vector<ConnectionRecord>& into) const;
  void CollectStats(uint64_t (&reasons)[WEFT_R_MAX], uint64_t& buffered) const;
  uint32_t open_connections() const { return open_connections_; }
  uint32_t open_tunnels() const;

  // Hands an accepted socket to the loop that should have it, maybe this one.
  void Place(ListenerKind kind, PodState& pod, UniqueFd fd, const SocketAddress& peer);

  PodState* FindPod(PodId id);
  std::shared_ptr<const IdentityContext> FindIdentity(const std::string& identity) const;
  // Asks TypeScript for a certificate; at most once per wait.
  void ReportIdentityMiss(const std::string& identity);
  // A socket in the pod's namespace, about to be connected, with TCP options set.
  Result<UniqueFd> OpenSocket(const PodState& pod, const SocketAddress& address);
  // Dials an application in its pod so that it sees `client` as its peer.
  Result<UniqueFd> DialApplication(const PodState& pod, const SocketAddress& address, const SocketAddress& client);
  ConnectionRecord NewRecord(Path path, const PodState& pod, const SocketAddress& source);
  void Emit(Event event);
  // The record of an inbound connection that never came about. Beyond its peer's share it is counted only.
  void EmitRefusal(ConnectionRecord record);
  void Count(weft_reason reason) { ++reasons_[reason]; }
  H2Config MakeH2Config(bool server) const;

  LoopContext& context() { return thread_.context(); }
  WriteBatch& batch() { return batch_; }
  // What is held for applications that do not read.
  PendingBudget& pending() { return pending_; }
  const EngineLimits& limits() const { return limits_; }
  Capture* capture() { return capture_; }
  std::mt19937_64& random() { return random_; }
  bool draining() const { return draining_; }
  // Sockets of each kind on this loop; written by its thread, read by all.
  std::atomic<uint32_t>& load(ListenerKind kind) { return load_[static_cast<size_t>(kind)]; }
  uint32_t open_connections_ = 0;

 private:
  void Take(ListenerKind kind, PodId pod, UniqueFd fd, const SocketAddress& peer);
  void ResolvePolicies(PodState& pod);
  void FlushEvents();

  void ApplyOne(const SetRoute& command);
  void ApplyOne(const RemoveRoute& command);
  void ApplyOne(const SetIdentity& command);
  void ApplyOne(const RemoveIdentity& command);
  void ApplyOne(const SetPolicy& command);
  void ApplyOne(const RemovePolicy& command);
  void ApplyOne(const SetPodPolicies& command);
  void ApplyOne(const SetPodBaggage& command);
  void ApplyOne(const SetPodHosts& command);

  const EngineLimits& limits_;
  Capture* capture_;
  EventSink& sink_;
  uint32_t index_;
  uint32_t count_;
  std::vector<Worker*> peers_;
  LoopThread thread_;
  WriteBatch batch_;
  ThreadNetNs netns_;
  PendingBudget pending_;
  std::mt19937_64 random_;
  PeerBudget refusals_;
  uint64_t next_id_ = 0;
  bool draining_ = false;
  bool policies_dirty_ = false;
  std::atomic<uint32_t> load_[kListenerKinds]{};
  uint64_t reasons_[WEFT_R_MAX] = {};

  std::unordered_map<PodId, std::unique_ptr<PodState>> pods_;
  std::unordered_map<std::string, std::shared_ptr<const IdentityContext>> identities_;
  std::unordered_map<std::string, std::shared_ptr<const NamedPolicy>> policies_;
  // Policies replaced or removed in the batch that is being applied; pods may still point to them.
  std::vector<std::shared_ptr<const NamedPolicy>> old_policies_;
  std::vector<Event> events_;
  TurnTask event_task_;
  Timer record_timer_;
};

}  // namespace weft
