#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hbone/peer_census.h"
#include "l7/services.h"
#include "loop/loop_thread.h"
#include "telemetry/loop_telemetry.h"
#include "tls/identity_context.h"
#include "upstream/loop_clusters.h"
#include "waypoint/connect_answer.h"
#include "waypoint/downstream.h"
#include "waypoint/limits.h"
#include "waypoint/listener_socket.h"
#include "waypoint/own_call.h"
#include "waypoint/tunnel.h"

namespace weft::waypoint {

// What all loops of one engine share. Nothing in it changes but the counts.
struct L7Shared {
  L7Shared(L7Limits with, upstream::CatalogOptions of, std::shared_ptr<telemetry::RecordQueue> to)
      : limits(std::move(with)), catalog(std::move(of)), records(std::move(to)) {}

  L7Limits limits;
  upstream::CatalogOptions catalog;
  std::shared_ptr<telemetry::RecordQueue> records;
  std::atomic<uint32_t> tunnels{0};
  PeerCensus tunnel_peers;
};

// One event loop of the L7 engine with its clusters, listeners and connections. Used on the loop's thread only, where
// nothing else is said.
class L7Worker {
 public:
  L7Worker(L7Shared& shared, size_t index);
  ~L7Worker();

  Status Start();
  // Joins the thread; everything open is ended first.
  void Stop();
  // Any thread.
  void Post(std::function<void()> task) { thread_.Post(std::move(task)); }
  // Any thread, before Start: the loops among which new connections are spread.
  void SetPeers(std::vector<L7Worker*> peers) { peers_ = std::move(peers); }
  // Any thread, until this object goes.
  const telemetry::SeriesBook& book() const { return telemetry_->book(); }

  // What was applied, in one step.
  void Publish(std::shared_ptr<const l7::Program> program, std::shared_ptr<const upstream::ClusterSnapshot> clusters);
  void SetIdentity(std::shared_ptr<const IdentityContext> identity);
  void AddListener(std::shared_ptr<const ListenerSocket> socket);
  void RemoveListener(const std::string& name);
  void FlushRecords() { telemetry_->FlushRecords(); }
  // Closes listeners, lets what is open end.
  void Drain();
  void AbortAll();
  // Any thread.
  uint32_t open_connections() const { return open_.load(std::memory_order_relaxed); }
  uint32_t open_tunnels() const { return tunnel_count_.load(std::memory_order_relaxed); }
  size_t open_requests() const;
  size_t buffered_bytes() const { return thread_.context().buffers.in_use(); }

  // ---- for listeners and connections --------------------------------------------------------------------------------
  // Hands an accepted socket to the loop that should have it, maybe this one.
  void Place(const std::string& listener, UniqueFd fd, const SocketAddress& peer);
  // The port of a connection, found in the program that is in force. Null: there is none.
  std::shared_ptr<Port> FindPort(const PortKey& key);
  // Begins the stream and gives it to what its chain says. `handshake`: it is TLS that we end.
  void StartChain(std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream, std::unique_ptr<ConnectAnswer> answer,
                  const SocketAddress& destination, bool handshake = false);
  void StartHttp(std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream, bool http2,
                 std::span<const uint8_t> first);
  // A connection that led nowhere.
  void RecordRefusal(const StreamInfo& client, l7::Flag flag, std::string_view why);

  void Count(int change) { open_.fetch_add(static_cast<uint32_t>(change), std::memory_order_relaxed); }
  IntrusiveList<Downstream>& downstreams() { return downstreams_; }
  IntrusiveList<Tunnel>& tunnels() { return tunnels_; }
  IntrusiveList<Tunnel>& handshaking() { return handshaking_; }
  IntrusiveList<OwnCall>& own_calls() { return own_calls_; }
  size_t handshakes = 0;
  void TunnelHere() { tunnel_count_.fetch_add(1, std::memory_order_relaxed); }
  void TunnelGone() { tunnel_count_.fetch_sub(1, std::memory_order_relaxed); }

  const std::shared_ptr<const IdentityContext>& identity() const { return identity_; }
  const std::shared_ptr<const l7::Program>& program() const { return program_; }
  LoopContext& context() { return thread_.context(); }
  const L7Limits& limits() const { return shared_.limits; }
  L7Shared& shared() { return shared_; }
  upstream::LoopClusters& clusters() { return *clusters_; }
  l7::LoopServices& services() { return *services_; }
  l7::RecordSink& records() { return *telemetry_; }
  bool draining() const { return draining_; }
  uint32_t Random() { return static_cast<uint32_t>(random_.Next() >> 32); }

 private:
  void Take(const std::string& listener, UniqueFd fd, const SocketAddress& peer);
  uint32_t load(bool tunnels) const;
  void AcceptConnection(const std::string& listener, UniqueFd fd, const SocketAddress& peer);

  L7Shared& shared_;
  const size_t index_;
  std::vector<L7Worker*> peers_;
  LoopThread thread_;
  std::unique_ptr<telemetry::LoopTelemetry> telemetry_;
  std::unique_ptr<upstream::LoopClusters> clusters_;
  std::unique_ptr<l7::LoopServices> services_;
  telemetry::Random random_;
  std::shared_ptr<const IdentityContext> identity_;
  std::shared_ptr<const l7::Program> program_;
  std::map<std::string, std::unique_ptr<LoopListener>> listeners_;
  // Ports that have connections.
  std::map<PortKey, std::weak_ptr<Port>> ports_;
  IntrusiveList<Downstream> downstreams_;
  IntrusiveList<Tunnel> tunnels_;
  IntrusiveList<Tunnel> handshaking_;  // of them, oldest first
  IntrusiveList<OwnCall> own_calls_;
  // Written by this loop; the last by those that hand over to it. Read by all.
  std::atomic<uint32_t> open_{0};
  std::atomic<uint32_t> tunnel_count_{0};
  std::atomic<uint32_t> arriving_{0};  // handed over, not taken yet
  bool draining_ = false;
};

}  // namespace weft::waypoint
