#include "upstream/http_pool.h"

#include <algorithm>
#include <utility>

namespace weft::upstream {
namespace {

PoolFailure FailureOf(StreamEnd end) {
  switch (end) {
    case StreamEnd::kTimeout:
      return PoolFailure::kConnectTimeout;
    case StreamEnd::kTlsError:
      return PoolFailure::kTlsFailure;
    default:
      return PoolFailure::kConnectFailure;
  }
}

}  // namespace

// From its dial to its end: first a stream that connects, then an HTTP connection.
class HttpPool::Connection final : private ByteStream::Handler, private http::ClientConnection::Owner {
 public:
  Connection(HttpPool& pool, std::unique_ptr<ByteStream> stream, uint64_t connect_ms)
      : pool_(pool), stream_(std::move(stream)), timer_([this] { OnTimer(); }) {
    stream_->set_handler(this);
    pool_.connector_.context().loop.Arm(timer_, connect_ms);
  }

  void Begin() {
    if (Status status = stream_->Begin(); !status) {
      // As any other failure: in a later turn.
      failure_ = status.error().what;
      pool_.connector_.context().loop.Arm(timer_, 1);
    }
  }
  bool connecting() const { return stream_ != nullptr; }
  bool HasRoom() const { return http_ != nullptr && !retired_ && http_->CanOpen(); }
  http::ClientConnection& http() { return *http_; }
  // One more request is sent on it.
  void Used() {
    timer_.Disarm();
    ++requests_;
    const uint32_t limit = pool_.cluster_->config->max_requests_per_connection;
    if (limit != 0 && requests_ >= limit) {
      retired_ = true;
      http_->Drain();
    }
  }
  void Retire() {
    retired_ = true;
    if (http_ != nullptr) http_->Drain();
  }
  void Abort() {
    timer_.Disarm();
    if (stream_) stream_->Abort();
    if (http_) http_->Abort();
  }
  // What it is made of, to be destroyed after this turn.
  void Dismantle(EpollLoop& loop) {
    timer_.Disarm();
    if (stream_) loop.Retire(std::move(stream_));
    if (http_) loop.Retire(std::move(http_));
  }

 private:
  void OnStreamUp() override {
    timer_.Disarm();
    const ClusterConfig& config = *pool_.cluster_->config;
    LoopContext& context = pool_.connector_.context();
    http::ClientLimits limits;
    limits.max_concurrent_streams = config.max_concurrent_streams;
    http_ = pool_.http2_ ? http::MakeHttp2Client(context, std::move(stream_), *this, limits)
                         : http::MakeHttp1Client(context, std::move(stream_), *this, limits);
    pool_.OnUp(*this);
  }
  void OnBytes(std::span<const uint8_t>) override {}
  void OnReadEnd() override {}
  void OnWritable() override {}
  void OnStreamDown(StreamEnd end, std::string_view detail) override { pool_.OnDown(*this, end, detail); }

  void OnCapacityChanged(http::ClientConnection&) override {
    if (http_->open_streams() == 0) pool_.connector_.context().loop.Arm(timer_, pool_.cluster_->config->http_idle_ms);
    pool_.OnRoom(*this);
  }
  void OnConnectionDown(http::ClientConnection&, StreamEnd end, std::string_view detail) override {
    pool_.OnDown(*this, end, detail);
  }
  void OnTimer() {
    if (stream_ == nullptr) {
      if (http_->open_streams() == 0) Retire();
      return;
    }
    stream_->Abort();
    if (failure_.empty()) return pool_.OnDown(*this, StreamEnd::kTimeout, "timed out connecting");
    pool_.OnDown(*this, StreamEnd::kRefused, failure_);
  }

  HttpPool& pool_;
  std::unique_ptr<ByteStream> stream_;
  std::unique_ptr<http::ClientConnection> http_;
  std::string failure_;
  uint32_t requests_ = 0;
  bool retired_ = false;
  Timer timer_;
};

HttpPool::HttpPool(Connector& connector, std::shared_ptr<const ClusterEntry> cluster,
                   std::shared_ptr<const EndpointEntry> endpoint, bool http2)
    : connector_(connector), cluster_(std::move(cluster)), endpoint_(std::move(endpoint)), http2_(http2) {}

HttpPool::~HttpPool() {
  while (NextWaiter() != nullptr) {
  }
  for (auto& connection : connections_) {
    connection->Abort();
    GiveOne(cluster_->counters->connections);
    connection->Dismantle(connector_.context().loop);
    connector_.context().loop.Retire(std::move(connection));
  }
}

void HttpPool::Request(PoolWaiter& waiter, const std::string& server_name) {
  if (draining_) return waiter.OnPoolFailure(PoolFailure::kGone, "the endpoint is no more");
  for (size_t i = connections_.size(); i-- > 0;) {
    Connection& connection = *connections_[i];
    if (!connection.HasRoom()) continue;
    // Used last is used next: to the end of the list.
    if (i + 1 < connections_.size()) std::swap(connections_[i], connections_.back());
    connection.Used();
    return waiter.OnConnection(connection.http());
  }
  if (!TakeOne(cluster_->counters->pending, cluster_->config->max_pending_requests)) {
    return waiter.OnPoolFailure(PoolFailure::kOverflow, "too many requests wait for a connection");
  }
  server_name_ = server_name;
  waiting_.PushBack(waiter.link_);
  ++n_waiting_;
  Serve();
}

// A waiter that gave up has left the list by itself, but not the count.
PoolWaiter* HttpPool::NextWaiter() {
  PoolWaiter* waiter = waiting_.PopFront();
  if (waiter == nullptr) {
    for (; n_waiting_ > 0; --n_waiting_) GiveOne(cluster_->counters->pending);
    return nullptr;
  }
  --n_waiting_;
  GiveOne(cluster_->counters->pending);
  return waiter;
}

void HttpPool::FailOne(PoolFailure failure, std::string_view detail) {
  if (PoolWaiter* waiter = NextWaiter()) waiter->OnPoolFailure(failure, detail);
}

void HttpPool::Serve() {
  // An HTTP/2 connection that is being made serves all who wait.
  while (!waiting_.empty() && (http2_ ? n_connecting_ == 0 : n_connecting_ < n_waiting_)) {
    if (!Dial()) return;
  }
}

bool HttpPool::Dial() {
  const ClusterConfig& config = *cluster_->config;
  if (config.tls && !config.tls->unusable.empty()) {
    FailOne(PoolFailure::kTlsFailure, config.tls->unusable);
    return !waiting_.empty();
  }
  if (!TakeOne(cluster_->counters->connections, config.max_connections)) {
    // They wait for one of those that are there, or find none here: then nobody would ever serve them.
    if (connections_.empty()) FailOne(PoolFailure::kOverflow, "too many connections");
    return false;
  }
  std::unique_ptr<ByteStream> stream = connector_.Open(config, endpoint_->config, server_name_, nullptr);
  connections_.push_back(std::make_unique<Connection>(*this, std::move(stream), config.connect_timeout_ms));
  ++n_connecting_;
  connections_.back()->Begin();
  return true;
}

void HttpPool::OnUp(Connection& connection) {
  --n_connecting_;
  if (draining_) return connection.Retire();
  OnRoom(connection);
}

void HttpPool::OnRoom(Connection& connection) {
  while (connection.HasRoom()) {
    PoolWaiter* waiter = NextWaiter();
    if (waiter == nullptr) break;
    connection.Used();
    waiter->OnConnection(connection.http());
  }
  if (draining_) return connection.Retire();
  Serve();
}

void HttpPool::OnDown(Connection& connection, StreamEnd end, std::string_view detail) {
  const auto found = std::ranges::find_if(connections_, [&](const auto& each) { return each.get() == &connection; });
  if (found == connections_.end()) return;
  std::unique_ptr<Connection> owned = std::move(*found);
  connections_.erase(found);
  GiveOne(cluster_->counters->connections);
  const bool was_connecting = owned->connecting();
  const std::string why(detail);
  owned->Dismantle(connector_.context().loop);
  connector_.context().loop.Retire(std::move(owned));
  if (was_connecting) {
    --n_connecting_;
    // Whoever waits for one that cannot be reached is told; with HTTP/2 all wait for the same.
    const size_t failing = http2_ ? n_waiting_ : std::min<size_t>(n_waiting_, 1);
    for (size_t i = 0; i < failing; ++i) FailOne(FailureOf(end), why);
  }
  Serve();
}

void HttpPool::Drain() {
  draining_ = true;
  std::vector<Connection*> connections;
  for (auto& each : connections_) connections.push_back(each.get());
  for (Connection* each : connections) {
    if (!each->connecting()) each->Retire();
  }
}

}  // namespace weft::upstream
