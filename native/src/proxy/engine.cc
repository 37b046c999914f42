#include "proxy/engine.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "net/socket.h"

namespace weft {

Result<std::unique_ptr<Engine>> Engine::Create(const EngineLimits& limits, std::shared_ptr<Capture> capture,
                                               EventSink& sink) {
  std::unique_ptr<Engine> engine(new Engine(limits, std::move(capture)));
  const uint32_t count = limits.loops > 0 ? limits.loops : DefaultLoops();
  std::vector<Worker*> all;
  for (uint32_t i = 0; i < count; ++i) {
    engine->workers_.push_back(std::make_unique<Worker>(engine->limits_, engine->capture_.get(), sink, i, count));
    all.push_back(engine->workers_.back().get());
  }
  for (Worker* worker : all) {
    worker->SetPeers(all);
  }
  for (Worker* worker : all) {
    if (Status status = worker->Start(); !status) return status.error();
  }
  return engine;
}

Engine::~Engine() { Close(); }

void Engine::OnEachLoop(const std::function<void(Worker&)>& work) {
  if (closed_) return;
  RunOnEach(workers_, work);
}

Status Engine::AddPod(PodConfig config) {
  if (closed_) return Error{EBADF, "the engine is closed"};
  if (pods_.contains(config.id)) return Error{EEXIST, "pod " + config.uid + " is there already"};
  auto pod = std::make_shared<PodShared>();
  pod->config = std::move(config);
  Result<NetNs> netns = NetNs::Open(pod->config.netns_path.c_str());
  if (!netns) return netns.error();
  pod->netns = std::move(*netns);
  const Status opened = RunInNetNs(pod->netns, [&]() -> Status {
    const std::pair<UniqueFd*, uint16_t> listeners[] = {{&pod->outbound, limits_.outbound_port},
                                                        {&pod->inbound_plaintext, limits_.inbound_plaintext_port},
                                                        {&pod->inbound_hbone, limits_.inbound_hbone_port}};
    for (const auto& [slot, port] : listeners) {
      Result<UniqueFd> fd = ListenTcpAny(port, limits_.ipv6, kListenBacklog);
      if (!fd) return Error{fd.error().code, fd.error().what + " in the namespace of pod " + pod->config.uid};
      *slot = std::move(*fd);
    }
    return Ok{};
  });
  if (!opened) return opened;
  // Accepted sockets inherit these; tunnels are watched by h2 PING instead of keepalive.
  SetTcpOptions(pod->outbound.get(), limits_.keepalive);
  SetTcpOptions(pod->inbound_plaintext.get(), limits_.keepalive);
  SetTcpOptions(pod->inbound_hbone.get(), Keepalive{.enabled = false});
  if (capture_) {
    Result<uint64_t> cookie = pod->netns.Cookie();
    if (!cookie) return cookie.error();
    pod->cookie = *cookie;
    for (const int family : {AF_INET, AF_INET6}) {
      if (family == AF_INET6 && !limits_.ipv6) continue;
      Status status = capture_->SetInboundListener(pod->cookie, family, pod->inbound_plaintext.get());
      if (!status) return status;
    }
  }
  pods_[pod->config.id] = pod;
  OnEachLoop([&](Worker& worker) { worker.AddPod(pod); });
  return Ok{};
}

void Engine::RemovePod(PodId id) {
  const auto found = pods_.find(id);
  if (found == pods_.end()) return;
  const std::shared_ptr<PodShared> pod = std::move(found->second);
  pods_.erase(found);
  policies_.RemovePod(id);
  OnEachLoop([id](Worker& worker) { worker.RemovePod(id); });
  // What the loops have of the pod lives to the end of their turn; until then the kernel would still take connections.
  pod->CloseListeners();
}

std::array<uint16_t, 3> Engine::Ports(PodId id) const {
  const auto found = pods_.find(id);
  if (found == pods_.end()) return {};
  const auto port = [](const UniqueFd& fd) { return LocalAddress(fd.get()).value_or(SocketAddress{}).port; };
  const PodShared& pod = *found->second;
  return {port(pod.outbound), port(pod.inbound_plaintext), port(pod.inbound_hbone)};
}

Result<DnsSockets> Engine::OpenDnsSockets(PodId id) {
  const auto found = pods_.find(id);
  if (found == pods_.end()) return Error{ENOENT, "no pod " + std::to_string(id)};
  DnsSockets sockets;
  const Status status = RunInNetNs(found->second->netns, [&]() -> Status {
    for (const char* ip : {"127.0.0.1", "::1"}) {
      const bool v6 = ip[0] == ':';
      if (v6 && !limits_.ipv6) continue;
      const SocketAddress address{*IpAddress::Parse(ip), kDnsPort};
      Result<UniqueFd> udp = BindUdp(address);
      // A namespace whose lo has no ::1 has no IPv6 resolver to serve.
      if (!udp && v6 && (udp.error().code == EADDRNOTAVAIL || udp.error().code == EAFNOSUPPORT)) continue;
      if (!udp) return udp.error();
      Result<UniqueFd> tcp = ListenTcp(address, false, kListenBacklog);
      if (!tcp) return tcp.error();
      sockets.udp.push_back(std::move(*udp));
      sockets.tcp.push_back(std::move(*tcp));
    }
    return Ok{};
  });
  if (!status) return status.error();
  return sockets;
}

Status Engine::Apply(std::vector<Command> commands) {
  if (closed_) return Error{EBADF, "the engine is closed"};
  for (Command& command : commands) {
    if (auto* identity = std::get_if<SetIdentity>(&command)) {
      Result<std::shared_ptr<const IdentityContext>> context =
          IdentityContext::Create(identity->identity, identity->chain, identity->key, identity->roots);
      if (!context) return context.error();
      identity->context = std::move(*context);
      // The loops need no second copy of the key.
      std::fill(identity->key.begin(), identity->key.end(), '\0');
      identity->chain.clear();
      identity->key.clear();
      identity->roots.clear();
    }
    if (auto* set = std::get_if<SetRoute>(&command)) {
      for (RouteEndpoint& endpoint : set->route->endpoints) {
        if (!endpoint.tunnel) continue;
        if (endpoint.identities.empty()) {
          return Error{EINVAL, "route to " + set->destination.ToString() + ": tunnel without an expected identity"};
        }
        std::sort(endpoint.identities.begin(), endpoint.identities.end());
        endpoint.pool_key = endpoint.dial.ToString();
        for (const std::string& identity : endpoint.identities) endpoint.pool_key += '\n' + identity;
      }
    }
  }
  for (const Command& command : commands) {
    const auto* names = std::get_if<SetPodPolicies>(&command);
    if (names == nullptr || pods_.contains(names->pod)) policies_.Apply(command);
  }
  const auto batch = std::make_shared<const std::vector<Command>>(std::move(commands));
  for (auto& worker : workers_) {
    worker->Post([batch, raw = worker.get()] { raw->Apply(*batch); });
  }
  return Ok{};
}

std::vector<ConnectionRecord> Engine::Connections() {
  std::mutex mutex;
  std::vector<ConnectionRecord> records;
  OnEachLoop([&](Worker& worker) {
    std::vector<ConnectionRecord> mine;
    worker.CollectRecords(mine);
    std::lock_guard lock(mutex);
    std::move(mine.begin(), mine.end(), std::back_inserter(records));
  });
  return records;
}

EngineStats Engine::Stats() {
  std::mutex mutex;
  EngineStats stats;
  OnEachLoop([&](Worker& worker) {
    std::lock_guard lock(mutex);
    worker.CollectStats(stats.reasons, stats.buffered_bytes);
    stats.open_connections += worker.open_connections();
    stats.open_tunnels += worker.open_tunnels();
  });
  return stats;
}

void Engine::Drain(uint64_t deadline_ms, std::function<void()> done) {
  if (closed_ || drain_.started()) return done();
  OnEachLoop([](Worker& worker) { worker.Drain(); });
  // No loop watches them any more; closed, so that peers are refused at once and not left in a backlog.
  for (auto& [_, pod] : pods_) pod->CloseListeners();
  const auto idle = [this] {
    std::atomic<uint64_t> open = 0;
    OnEachLoop([&](Worker& worker) { open += worker.open_connections() + worker.open_tunnels(); });
    return open == 0;
  };
  const auto give_up = [this] { OnEachLoop([](Worker& worker) { worker.EndAll(WEFT_R_DRAINED); }); };
  drain_.Start(deadline_ms, idle, give_up, std::move(done));
}

void Engine::Close() {
  if (closed_) return;
  drain_.Abandon();
  closed_ = true;
  for (auto& worker : workers_) worker->Stop();
  pods_.clear();
}

}  // namespace weft
