#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/engine.h"
#include "test_ca.h"
#include "test_net.h"

namespace weft::test {

// Original destinations as a test has put them, by the client's own address.
class FakeCapture final : public Capture {
 public:
  std::optional<CapturedConnection> OriginalDestination(uint64_t netns_cookie, const SocketAddress& peer,
                                                        const SocketAddress& local) override;
  Status AnnounceClient(int fd, const SocketAddress& client) override;
  Status SetInboundListener(uint64_t netns_cookie, int family, int listener_fd) override;

  void Put(const SocketAddress& client, const SocketAddress& destination, uint32_t endpoint_key = 0);
  std::vector<SocketAddress> announced();

 private:
  std::mutex mutex_;
  std::unordered_map<SocketAddress, CapturedConnection> originals_;  // guarded by mutex_
  std::vector<SocketAddress> announced_;                             // guarded by mutex_
};

// Keeps what the engine said.
class EventLog final : public EventSink {
 public:
  void OnEvents(std::vector<Event> events) override;
  std::vector<ConnectionRecord> closed();
  std::vector<RouteMiss> route_misses();
  std::vector<std::string> identity_misses();
  std::vector<DryRun> dry_runs();
  // The closed record number `index`, when it has come within kPatience; a default record otherwise.
  ConnectionRecord Closed(size_t index);

 private:
  std::mutex mutex_;
  std::vector<ConnectionRecord> closed_;      // guarded by mutex_
  std::vector<RouteMiss> route_misses_;       // guarded by mutex_
  std::vector<std::string> identity_misses_;  // guarded by mutex_
  std::vector<DryRun> dry_runs_;              // guarded by mutex_
};

inline EngineLimits TestLimits() {
  EngineLimits limits;
  limits.loops = 2;
  limits.outbound_port = limits.inbound_plaintext_port = limits.inbound_hbone_port = 0;
  limits.route_wait_ms = limits.identity_wait_ms = 300;
  return limits;
}

// One engine with one pod, all in the test's own network namespace: the pod is a loopback address.
class TestNode {
 public:
  static constexpr PodId kPod = 7;
  TestNode(const TestCa& ca, const std::string& identity, const std::string& ip,
           const EngineLimits& limits = TestLimits());

  Engine& engine() { return *engine_; }
  FakeCapture& capture() { return *capture_; }
  EventLog& log() { return log_; }
  const std::string& identity() const { return identity_; }
  SocketAddress hbone() const { return At(ip_, ports_[2]); }
  SocketAddress plaintext() const { return At(ip_, ports_[1]); }

  void SetIdentity(const Svid& svid, const std::string& roots);
  void SetPolicies(std::vector<NamedPolicy> policies);
  void Apply(Command command);
  // Opens a connection as an application of this pod that asks for `destination`. `endpoint_key`: chosen by BPF.
  UniqueFd Dial(const SocketAddress& destination, uint32_t endpoint_key = 0);
  // A route through a tunnel to `to`, whose application listens on `port`.
  void RouteTo(const SocketAddress& destination, const TestNode& to, uint16_t port,
               std::vector<std::string> expected = {});
  EngineStats stats() { return engine_->Stats(); }
  uint64_t count(weft_reason reason) { return engine_->Stats().reasons[reason]; }

 private:
  std::string identity_;
  std::string ip_;
  std::shared_ptr<FakeCapture> capture_;
  EventLog log_;
  std::unique_ptr<Engine> engine_;
  std::array<uint16_t, 3> ports_{};
};

}  // namespace weft::test
