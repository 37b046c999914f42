#include "waypoint/l7_engine.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "net/socket.h"

namespace weft::waypoint {
namespace {

// What HBONE's socket is called in Listening(); a Listener of the program may not be.
constexpr char kHboneName[] = "hbone";

Result<std::shared_ptr<const UniqueFd>> Listen(const std::string& address, uint16_t port) {
  const bool any = address.empty() || address == "::";
  const std::optional<IpAddress> ip = any ? std::nullopt : IpAddress::Parse(address);
  if (!any && !ip) return Error{EINVAL, "not an address: " + address};
  Result<UniqueFd> fd = any ? ListenTcpAny(port, true, kListenBacklog) : ListenTcp({*ip, port}, false, kListenBacklog);
  if (!fd) return fd.error();
  return std::make_shared<const UniqueFd>(std::move(*fd));
}

// Adds what one loop counts to what others did.
void Merge(std::vector<upstream::ClusterStats> from, std::map<std::string, upstream::ClusterStats>& into) {
  for (upstream::ClusterStats& cluster : from) {
    auto [at, fresh] = into.try_emplace(cluster.name, std::move(cluster));
    if (fresh) continue;
    for (upstream::EndpointStats& endpoint : cluster.endpoints) {
      auto& known = at->second.endpoints;
      const auto same =
          std::find_if(known.begin(), known.end(), [&](const auto& one) { return one.address == endpoint.address; });
      if (same == known.end()) {
        known.push_back(std::move(endpoint));
        continue;
      }
      // Counted by the process as a whole, in each loop's answer.
      same->active_requests = std::max(same->active_requests, endpoint.active_requests);
      same->connections += endpoint.connections;
      same->ejected = same->ejected || endpoint.ejected;
    }
  }
}

}  // namespace

L7Engine::L7Engine(L7Options options)
    : shared_(std::move(options.limits), std::move(options.catalog), std::move(options.records)),
      hbone_(options.hbone),
      catalog_(shared_.catalog),
      store_(catalog_) {}

L7Engine::~L7Engine() { Close(); }

Result<std::unique_ptr<L7Engine>> L7Engine::Create(L7Options options) {
  std::unique_ptr<L7Engine> engine(new L7Engine(std::move(options)));
  const uint32_t count = engine->shared_.limits.loops > 0 ? engine->shared_.limits.loops : DefaultLoops();
  std::vector<L7Worker*> all;
  for (uint32_t i = 0; i < count; ++i) {
    engine->workers_.push_back(std::make_unique<L7Worker>(engine->shared_, i));
    all.push_back(engine->workers_.back().get());
  }
  for (L7Worker* worker : all) worker->SetPeers(all);
  for (L7Worker* worker : all) {
    if (Status status = worker->Start(); !status) return status.error();
  }
  if (engine->hbone_) {
    const bool any = engine->hbone_->ip == IpAddress() || engine->hbone_->ip == *IpAddress::Parse("0.0.0.0");
    auto fd = Listen(any ? "" : engine->hbone_->ip.ToString(), engine->hbone_->port);
    if (!fd) return fd.error();
    auto socket = std::make_shared<ListenerSocket>();
    socket->fd = std::move(*fd);
    socket->bound = LocalAddress(socket->fd->get()).value_or(SocketAddress{});
    engine->sockets_[""] = socket;
    RunOnEach<L7Worker>(engine->workers_, [&](L7Worker& worker) { worker.AddListener(socket); });
  }
  return engine;
}

std::map<std::string, SocketAddress> L7Engine::Listening() const {
  std::map<std::string, SocketAddress> bound;
  for (const auto& [name, socket] : sockets_) bound[name.empty() ? kHboneName : name] = socket->bound;
  return bound;
}

Status L7Engine::SetIdentity(const std::string& id, const std::string& chain, const std::string& key,
                             const std::string& roots) {
  if (closed_) return Error{EBADF, "the engine is closed"};
  Result<std::shared_ptr<const IdentityContext>> context = IdentityContext::Create(id, chain, key, roots);
  if (!context) return context.error();
  for (auto& worker : workers_) {
    worker->Post([raw = worker.get(), context = *context] { raw->SetIdentity(context); });
  }
  return Ok{};
}

std::vector<l7::Rejection> L7Engine::Apply(std::span<const l7::ResourceUpdate> updated,
                                           std::span<const l7::ResourceName> removed) {
  std::vector<l7::Rejection> rejections = store_.Apply(updated, removed);
  std::vector<SocketRef> opened;
  std::vector<std::string> closed;
  for (l7::Rejection& refused : FollowListeners(opened, closed)) rejections.push_back(std::move(refused));
  const auto program = store_.program();
  const auto clusters = catalog_.snapshot();
  for (auto& worker : workers_) {
    worker->Post([raw = worker.get(), program, clusters, opened, closed] {
      raw->Publish(program, clusters);
      for (const std::string& name : closed) raw->RemoveListener(name);
      for (const SocketRef& socket : opened) raw->AddListener(socket);
    });
  }
  return rejections;
}

Result<L7Engine::SocketRef> L7Engine::Open(const l7::ListenerProgram& listener) const {
  const auto known = sockets_.find(listener.name);
  auto socket = std::make_shared<ListenerSocket>();
  socket->name = listener.name;
  socket->address = listener.address;
  socket->port = listener.port;
  socket->tls = listener.tls;
  if (listener.tls) {
    if (known != sockets_.end() && known->second->tls == listener.tls) {
      socket->server_tls = known->second->server_tls;
    } else {
      Result<std::shared_ptr<const TlsServerConfig>> config = MakeTlsServerConfig(*listener.tls);
      if (!config) return config.error();
      socket->server_tls = std::move(*config);
    }
  }
  if (known != sockets_.end() && known->second->address == listener.address && known->second->port == listener.port) {
    socket->fd = known->second->fd;
    socket->bound = known->second->bound;
    return SocketRef(std::move(socket));
  }
  Result<std::shared_ptr<const UniqueFd>> fd = Listen(listener.address, listener.port);
  if (!fd) return fd.error();
  socket->fd = std::move(*fd);
  socket->bound = LocalAddress(socket->fd->get()).value_or(SocketAddress{});
  return SocketRef(std::move(socket));
}

std::vector<l7::Rejection> L7Engine::FollowListeners(std::vector<SocketRef>& opened, std::vector<std::string>& closed) {
  std::vector<l7::Rejection> rejections;
  if (draining_) return rejections;
  const l7::Program& program = *store_.program();
  for (const auto& [name, listener] : program.listeners) {
    const auto known = sockets_.find(name);
    const bool same = known != sockets_.end() && known->second->address == listener->address &&
                      known->second->port == listener->port && known->second->tls == listener->tls;
    if (same) continue;
    Result<SocketRef> socket = name.empty() || name == kHboneName
                                   ? Result<SocketRef>(Error{EINVAL, "a listener may not be called that"})
                                   : Open(*listener);
    if (!socket) {
      rejections.push_back({l7::ResourceType::kListener, name, socket.error().what});
      continue;
    }
    sockets_[name] = *socket;
    opened.push_back(std::move(*socket));
  }
  for (auto at = sockets_.begin(); at != sockets_.end();) {
    if (at->first.empty() || program.listeners.contains(at->first)) {
      ++at;
      continue;
    }
    closed.push_back(at->first);
    at = sockets_.erase(at);
  }
  return rejections;
}

std::vector<uint8_t> L7Engine::Series() const {
  std::vector<const telemetry::SeriesBook*> books;
  for (const auto& worker : workers_) books.push_back(&worker->book());
  return telemetry::SumSeries(books);
}

L7Stats L7Engine::Stats() {
  L7Stats stats;
  if (closed_) return stats;
  std::mutex mutex;
  std::map<std::string, upstream::ClusterStats> clusters;
  RunOnEach<L7Worker>(workers_, [&](L7Worker& worker) {
    std::vector<upstream::ClusterStats> own = worker.clusters().Stats();
    const std::lock_guard lock(mutex);
    stats.open_connections += worker.open_connections();
    stats.open_requests += worker.open_requests();
    stats.open_tunnels += worker.open_tunnels();
    stats.buffered_bytes += worker.buffered_bytes();
    stats.series_overflowed += worker.book().overflowed();
    Merge(std::move(own), clusters);
  });
  if (shared_.records) stats.records_lost = shared_.records->lost();
  for (auto& [_, cluster] : clusters) stats.clusters.push_back(std::move(cluster));
  return stats;
}

void L7Engine::FlushRecords() {
  if (!closed_) RunOnEach<L7Worker>(workers_, [](L7Worker& worker) { worker.FlushRecords(); });
}

void L7Engine::Call(std::string cluster, security::CallRequest request,
                    std::function<void(security::CallAnswer)> done) {
  auto answer = std::make_shared<OwnAnswer>(std::move(done));
  if (closed_) return;
  L7Worker* const first = workers_.front().get();
  first->Post([first, cluster = std::move(cluster), request = std::move(request), answer] {
    OwnCall::Start(*first, cluster, request, answer);
  });
}

void L7Engine::Drain(uint64_t deadline_ms, std::function<void()> done) {
  if (closed_ || draining_) return done();
  draining_ = true;
  RunOnEach<L7Worker>(workers_, [](L7Worker& worker) { worker.Drain(); });
  // No loop watches them any more; closed, so that peers are refused at once and not left in a backlog.
  sockets_.clear();
  const auto idle = [this] {
    std::atomic<uint64_t> open = 0;
    RunOnEach<L7Worker>(workers_, [&](L7Worker& worker) { open += worker.open_connections() + worker.open_tunnels(); });
    return open == 0;
  };
  const auto give_up = [this] { RunOnEach<L7Worker>(workers_, [](L7Worker& worker) { worker.AbortAll(); }); };
  drain_.Start(deadline_ms, idle, give_up, std::move(done));
}

void L7Engine::Close() {
  if (std::exchange(closed_, true)) return;
  drain_.Abandon();
  for (auto& worker : workers_) worker->Stop();
  sockets_.clear();
}

}  // namespace weft::waypoint
