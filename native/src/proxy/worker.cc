#include "proxy/worker.h"

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "loop/placement.h"
#include "net/socket.h"
#include "proxy/inbound_hbone.h"
#include "proxy/outbound.h"
#include "proxy/plain_connection.h"
#include "proxy/pod_listener.h"

namespace weft {
namespace {

constexpr uint64_t kRecordDelayMs = 25;
constexpr size_t kRecordsPerFlush = 256;

uint64_t Seed() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) std::abort();  // cannot happen after boot
  return seed;
}

}  // namespace

Worker::Worker(const EngineLimits& limits, Capture* capture, EventSink& sink, uint32_t index, uint32_t count)
    : limits_(limits),
      capture_(capture),
      sink_(sink),
      index_(index),
      count_(count),
      pending_(limits.pending_bytes),
      random_(Seed()),
      refusals_(limits.refusals_burst, limits.refusals_per_second),
      event_task_([this] { FlushEvents(); }),
      record_timer_([this] { FlushEvents(); }) {}

Worker::~Worker() = default;

Status Worker::Start() {
  return thread_.Start([this] {
    if (Result<ThreadNetNs> ns = ThreadNetNs::OfThisThread()) netns_ = std::move(*ns);
  });
}

void Worker::Stop() {
  thread_.Stop([this] {
    EndAll(WEFT_R_DRAINED);
    pods_.clear();
    FlushEvents();
  });
}

// ---- pods ---------------------------------------------------------------------------------------------------------

void Worker::AddPod(std::shared_ptr<PodShared> shared) {
  const PodId id = shared->config.id;
  auto pod = std::make_unique<PodState>(*this, std::move(shared));
  for (const ListenerKind kind :
       {ListenerKind::kOutbound, ListenerKind::kInboundPlaintext, ListenerKind::kInboundHbone}) {
    pod->listeners.push_back(std::make_unique<PodListener>(*this, *pod, kind));
  }
  pods_[id] = std::move(pod);
}

void Worker::RemovePod(PodId id) {
  const auto found = pods_.find(id);
  if (found == pods_.end()) return;
  PodState& pod = *found->second;
  pod.EndAll(WEFT_R_POD_REMOVED, "pod removed");
  for (auto& listener : pod.listeners) listener->Close();
  netns_.Leave(pod.shared->netns);
  thread_.loop().Retire(std::move(found->second));
  pods_.erase(found);
}

PodState* Worker::FindPod(PodId id) {
  const auto found = pods_.find(id);
  return found == pods_.end() ? nullptr : found->second.get();
}

void Worker::Drain() {
  draining_ = true;
  for (auto& [_, pod] : pods_) {
    for (auto& listener : pod->listeners) listener->Close();
    pod->Drain();
  }
}

void Worker::EndAll(weft_reason reason) {
  draining_ = true;
  for (auto& [_, pod] : pods_) pod->EndAll(reason, "agent is shutting down");
}

void Worker::CollectRecords(std::vector<ConnectionRecord>& into) const {
  for (const auto& [_, pod] : pods_) {
    pod->connections.ForEach([&](Connection& connection) { into.push_back(connection.Snapshot()); });
  }
}

void Worker::CollectStats(uint64_t (&reasons)[WEFT_R_MAX], uint64_t& buffered) const {
  for (size_t i = 0; i < WEFT_R_MAX; ++i) reasons[i] += reasons_[i];
  buffered += thread_.context().buffers.in_use();
}

uint32_t Worker::open_tunnels() const {
  size_t n = 0;
  for (const auto& [_, pod] : pods_) n += pod->pool.size() + pod->tunnel_count;
  return static_cast<uint32_t>(n);
}

// ---- connections --------------------------------------------------------------------------------------------------

void Worker::Place(ListenerKind kind, PodState& pod, UniqueFd fd, const SocketAddress& peer) {
  const size_t chosen = PlaceConnection(
      index_, peers_.size(), [&](size_t i) { return peers_[i]->load(kind).load(std::memory_order_relaxed); });
  Worker* const best = peers_[chosen];
  if (best == this) {
    load(kind).fetch_add(1, std::memory_order_relaxed);
    Take(kind, pod.config().id, std::move(fd), peer);
    return;
  }
  best->load(kind).fetch_add(1, std::memory_order_relaxed);
  // std::function wants a copyable task, so the descriptor is shared; a loop that ends without running it closes it.
  auto shared = std::make_shared<UniqueFd>(std::move(fd));
  best->Post([best, kind, id = pod.config().id, shared, peer] { best->Take(kind, id, std::move(*shared), peer); });
}

void Worker::Take(ListenerKind kind, PodId id, UniqueFd fd, const SocketAddress& peer) {
  PodState* pod = FindPod(id);
  const bool hbone = kind == ListenerKind::kInboundHbone;
  if (pod == nullptr || draining_) {
    load(kind).fetch_sub(1, std::memory_order_relaxed);
    return CloseWithReset(fd);
  }
  if (!hbone && pod->shared->connections.load(std::memory_order_relaxed) >= limits_.max_connections_per_pod) {
    load(kind).fetch_sub(1, std::memory_order_relaxed);
    Count(WEFT_R_LIMIT_EXCEEDED);
    return CloseWithReset(fd);
  }
  switch (kind) {
    case ListenerKind::kOutbound:
      return AcceptOutbound(*this, *pod, std::move(fd), peer);
    case ListenerKind::kInboundPlaintext:
      return AcceptPlaintext(*this, *pod, std::move(fd), peer);
    case ListenerKind::kInboundHbone:
      return AcceptTunnel(*this, *pod, std::move(fd), peer);
  }
}

Result<UniqueFd> Worker::OpenSocket(const PodState& pod, const SocketAddress& address) {
  if (Status status = netns_.Enter(pod.shared->netns); !status) return status.error();
  Result<UniqueFd> fd = OpenTcp(address);
  if (fd) SetTcpOptions(fd->get(), limits_.keepalive);
  return fd;
}

Result<UniqueFd> Worker::DialApplication(const PodState& pod, const SocketAddress& address,
                                         const SocketAddress& client) {
  Result<UniqueFd> fd = OpenSocket(pod, address);
  if (!fd) return fd;
  if (capture_ != nullptr) {
    if (Status status = capture_->AnnounceClient(fd->get(), client); !status) return status.error();
  }
  Result<bool> connected = StartConnect(fd->get(), address);
  if (!connected) return connected.error();
  return fd;
}

ConnectionRecord Worker::NewRecord(Path path, const PodState& pod, const SocketAddress& source) {
  using namespace std::chrono;
  ConnectionRecord record;
  record.id = next_id_++ * count_ + index_ + 1;
  record.pod = pod.config().id;
  record.path = path;
  record.source = source;
  record.opened_at_ms = duration<double, std::milli>(system_clock::now().time_since_epoch()).count();
  record.opened_mono_us =
      static_cast<uint64_t>(duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count());
  for (size_t i = 0; i < record.trace_id.size(); i += 8) {
    const uint64_t random = random_();
    std::copy_n(reinterpret_cast<const uint8_t*>(&random), 8, record.trace_id.begin() + static_cast<ptrdiff_t>(i));
  }
  return record;
}

H2Config Worker::MakeH2Config(bool server) const {
  H2Config config;
  config.server = server;
  config.max_window = std::max(limits_.stream_window, h2::kDefaultWindow);
  config.base_window = std::min(config.base_window, config.max_window);
  config.connection_window = std::max(limits_.connection_window, h2::kDefaultWindow);
  config.max_frame = std::max(limits_.frame_bytes, h2::kMinMaxFrame);
  config.max_streams = kServerStreams;
  config.max_header_list = server ? kServerHeaderList : kClientHeaderList;
  return config;
}

// ---- events -------------------------------------------------------------------------------------------------------

void Worker::Emit(Event event) {
  // Records may wait for company, so that thousands of short connections do not wake the JS thread for each.
  const bool record = std::holds_alternative<Closed>(event);
  events_.push_back(std::move(event));
  if (!record || events_.size() >= kRecordsPerFlush) {
    thread_.loop().AtEndOfTurn(event_task_);
  } else if (!record_timer_.armed()) {
    thread_.loop().Arm(record_timer_, kRecordDelayMs);
  }
}

void Worker::EmitRefusal(ConnectionRecord record) {
  if (!refusals_.Take(record.source.ip, thread_.loop().now_ms())) return Count(WEFT_R_EVENT_LOST);
  Emit(Closed(std::move(record)));
}

void Worker::FlushEvents() {
  record_timer_.Disarm();
  if (!events_.empty()) sink_.OnEvents(std::exchange(events_, {}));
}

void Worker::ReportIdentityMiss(const std::string& identity) { Emit(IdentityMiss{identity}); }

// ---- tables -------------------------------------------------------------------------------------------------------

std::shared_ptr<const IdentityContext> Worker::FindIdentity(const std::string& identity) const {
  const auto found = identities_.find(identity);
  return found == identities_.end() ? nullptr : found->second;
}

void Worker::Apply(const std::vector<Command>& commands) {
  for (const Command& command : commands) {
    std::visit([this](const auto& one) { ApplyOne(one); }, command);
  }
  if (!std::exchange(policies_dirty_, false)) return;
  // Once per batch: a push may change many policies, and connections see the outcome of all of it.
  for (auto& [_, pod] : pods_) {
    ResolvePolicies(*pod);
    pod->connections.ForEach([](Connection& connection) { connection.CheckPolicy(); });
  }
  old_policies_.clear();
}

void Worker::ResolvePolicies(PodState& pod) {
  pod.policies.clear();
  pod.unknown_policy.clear();
  if (!pod.policy_names) return;
  for (const std::string& name : *pod.policy_names) {
    const auto found = policies_.find(name);
    if (found == policies_.end()) {
      pod.unknown_policy = name;
    } else {
      pod.policies.push_back(found->second.get());
    }
  }
}

void Worker::ApplyOne(const SetRoute& command) {
  PodState* pod = FindPod(command.pod);
  if (pod == nullptr) return;
  pod->routes[command.destination] = command.route;
  pod->shared->Answered(command.destination);
  RouteWaiter::Answer(*pod, command.destination);
}

void Worker::ApplyOne(const RemoveRoute& command) {
  if (PodState* pod = FindPod(command.pod)) pod->routes.erase(command.destination);
}

void Worker::ApplyOne(const SetIdentity& command) {
  identities_[command.identity] = command.context;
  for (auto& [_, pod] : pods_) {
    if (pod->config().identity == command.identity) pod->OnIdentityChanged(command.context);
  }
}

void Worker::ApplyOne(const RemoveIdentity& command) {
  identities_.erase(command.identity);
  for (auto& [_, pod] : pods_) {
    if (pod->config().identity == command.identity) pod->OnIdentityRemoved();
  }
}

void Worker::ApplyOne(const SetPolicy& command) {
  auto& slot = policies_[command.policy->name];
  if (slot) old_policies_.push_back(std::move(slot));
  slot = command.policy;
  policies_dirty_ = true;
}

void Worker::ApplyOne(const RemovePolicy& command) {
  const auto found = policies_.find(command.name);
  if (found == policies_.end()) return;
  old_policies_.push_back(std::move(found->second));
  policies_.erase(found);
  policies_dirty_ = true;
}

void Worker::ApplyOne(const SetPodPolicies& command) {
  PodState* pod = FindPod(command.pod);
  if (pod == nullptr) return;
  pod->policy_names = command.policies;
  policies_dirty_ = true;
}

void Worker::ApplyOne(const SetPodBaggage& command) {
  if (PodState* pod = FindPod(command.pod)) pod->baggage = command.baggage;
}

void Worker::ApplyOne(const SetPodHosts& command) {
  if (PodState* pod = FindPod(command.pod)) pod->hosts = command.hosts;
}

}  // namespace weft
