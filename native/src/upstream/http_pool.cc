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
    pool_.loop().Arm(timer_, connect_ms);
  }

  void Begin() {
    if (Status status = stream_->Begin(); !status) {
      // As any other failure: in a later turn.
      failure_ = status.error().what;
      pool_.loop().Arm(timer_, 1);
    }
  }
  bool listed = false;  // among those that may have room
  bool connecting() const { return stream_ != nullptr; }
  bool busy() const { return stream_ != nullptr || http_->open_streams() > 0; }
  bool HasRoom() const { return http_ != nullptr && !retired_ && http_->CanOpen(); }
  // One more request is sent on it: the last one when there were as many as it may have.
  void Give(PoolWaiter& waiter) {
    timer_.Disarm();
    const uint32_t limit = pool_.cluster_->config->max_requests_per_connection;
    retired_ = limit != 0 && ++requests_ >= limit;
    waiter.OnConnection(*http_);
    if (retired_ && http_ != nullptr) http_->Drain();
  }
  void AwaitUse() {
    if (http_ != nullptr && http_->open_streams() == 0) {
      pool_.loop().Arm(timer_, pool_.cluster_->config->http_idle_ms);
    }
  }
  void Retire() {
    retired_ = true;
    if (http_ != nullptr) http_->Drain();
  }
  // The pool is going: it is not called any more, also not by what was queued before.
  void Abort() {
    orphaned_ = true;
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
    LoopContext& context = pool_.connector_->context();
    http::ClientLimits limits;
    limits.max_concurrent_streams = config.max_concurrent_streams;
    http_ = pool_.http2_ ? http::MakeHttp2Client(context, std::move(stream_), *this, limits)
                         : http::MakeHttp1Client(context, std::move(stream_), *this, limits);
    pool_.OnUp(*this);
  }
  void OnBytes(std::span<const uint8_t>) override {}
  void OnReadEnd() override {}
  void OnWritable() override {}
  void OnStreamDown(StreamEnd end, std::string_view detail) override {
    if (!orphaned_) pool_.OnDown(*this, end, detail);
  }

  void OnCapacityChanged(http::ClientConnection&) override {
    if (!orphaned_) pool_.OnRoom(*this);
  }
  void OnConnectionDown(http::ClientConnection&, StreamEnd end, std::string_view detail) override {
    if (!orphaned_) pool_.OnDown(*this, end, detail);
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
  bool retired_ = false;  // gets no more requests
  bool orphaned_ = false;
  Timer timer_;
};

HttpPool::HttpPool(std::shared_ptr<Connector> connector, std::shared_ptr<const ClusterEntry> cluster,
                   std::shared_ptr<const EndpointEntry> endpoint, bool http2, std::string server_name)
    : connector_(std::move(connector)),
      cluster_(std::move(cluster)),
      endpoint_(std::move(endpoint)),
      http2_(http2),
      server_name_(std::move(server_name)),
      waiting_(cluster_->counters) {}

HttpPool::~HttpPool() {
  for (auto& connection : connections_) {
    connection->Abort();
    GiveOne(cluster_->counters->connections);
    connection->Dismantle(loop());
    loop().Retire(std::move(connection));
  }
}

bool HttpPool::busy() const {
  return !waiting_.empty() || std::ranges::any_of(connections_, [](const auto& each) { return each->busy(); });
}

void HttpPool::Request(PoolWaiter& waiter) {
  if (draining_) return waiter.OnPoolFailure(PoolFailure::kGone, "the endpoint is no more");
  while (!ready_.empty()) {
    Connection& connection = *ready_.back();
    if (connection.HasRoom()) return connection.Give(waiter);
    connection.listed = false;
    ready_.pop_back();
  }
  if (!waiting_.Push(waiter, cluster_->config->max_pending_requests)) {
    return waiter.OnPoolFailure(PoolFailure::kOverflow, "too many requests wait for a connection");
  }
  Serve();
}

void HttpPool::Serve() {
  // An HTTP/2 connection that is being made serves all who wait.
  while (!waiting_.empty() && (http2_ ? n_connecting_ == 0 : n_connecting_ < waiting_.size())) {
    if (!Dial()) return;
  }
}

bool HttpPool::Dial() {
  const ClusterConfig& config = *cluster_->config;
  std::atomic<uint32_t>& count = cluster_->counters->connections;
  if (!TakeOne(count, config.max_connections)) {
    // They wait for one of those that are there. Where there is none (others have them all), nobody would ever serve
    // them: each endpoint and loop may have one beyond the limit, as in Envoy.
    if (!connections_.empty()) return false;
    TakeOne(count, 0);
  }
  std::unique_ptr<ByteStream> stream =
      connector_->Open(config, endpoint_->config, server_name_, http2_ ? "h2" : "http/1.1", nullptr);
  connections_.push_back(std::make_unique<Connection>(*this, std::move(stream), config.connect_timeout_ms));
  ++n_connecting_;
  connections_.back()->Begin();
  return true;
}

void HttpPool::OnUp(Connection& connection) {
  --n_connecting_;
  OnRoom(connection);
}

void HttpPool::OnRoom(Connection& connection) {
  while (connection.HasRoom()) {
    PoolWaiter* const waiter = waiting_.PopFront();
    if (waiter == nullptr) break;
    connection.Give(*waiter);
  }
  if (draining_) connection.Retire();
  if (connection.HasRoom() && !connection.listed) {
    connection.listed = true;
    ready_.push_back(&connection);
  }
  connection.AwaitUse();
  Serve();
}

void HttpPool::OnDown(Connection& connection, StreamEnd end, std::string_view detail) {
  const auto found = std::ranges::find_if(connections_, [&](const auto& each) { return each.get() == &connection; });
  if (found == connections_.end()) return;
  std::unique_ptr<Connection> owned = std::move(*found);
  connections_.erase(found);
  if (owned->listed) std::erase(ready_, owned.get());
  GiveOne(cluster_->counters->connections);
  const bool was_connecting = owned->connecting();
  const std::string why(detail);
  owned->Dismantle(loop());
  loop().Retire(std::move(owned));
  if (was_connecting) {
    --n_connecting_;
    // Whoever waits for one that cannot be reached is told; with HTTP/2 all wait for the same.
    for (size_t n = http2_ ? waiting_.size() : 1; n > 0; --n) {
      PoolWaiter* const waiter = waiting_.PopFront();
      if (waiter == nullptr) break;
      waiter->OnPoolFailure(FailureOf(end), why);
    }
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
