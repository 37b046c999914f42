#include "waypoint/l7_worker.h"

#include <latch>
#include <utility>

#include "base/clock.h"
#include "l7/program.h"
#include "loop/placement.h"
#include "net/socket.h"
#include "waypoint/http_connection.h"
#include "waypoint/sniff_connection.h"
#include "waypoint/tcp_proxy.h"

namespace weft::waypoint {

L7Worker::L7Worker(L7Shared& shared, size_t index) : shared_(shared), index_(index) {}

L7Worker::~L7Worker() = default;

Status L7Worker::Start() {
  if (Status status = thread_.Start(); !status) return status;
  std::latch made(1);
  Post([&] {
    telemetry_ = std::make_unique<telemetry::LoopTelemetry>(thread_.loop(), shared_.records);
    clusters_ = upstream::MakeLoopClusters(thread_.context(), shared_.catalog);
    services_ = std::make_unique<l7::LoopServices>(thread_.context(), *clusters_, *telemetry_, telemetry_->hooks());
    made.count_down();
  });
  made.wait();
  return Ok{};
}

void L7Worker::Stop() {
  thread_.Stop([this] {
    for (auto& [_, listener] : listeners_) listener->Close();
    listeners_.clear();
    AbortAll();
    while (OwnCall* left = own_calls_.PopFront()) delete left;
  });
  // What wanted another turn to go in order.
  while (Downstream* left = downstreams_.PopFront()) delete left;
  while (Tunnel* left = tunnels_.PopFront()) delete left;
}

// ---- what is told ---------------------------------------------------------------------------------------------------

void L7Worker::Publish(std::shared_ptr<const l7::Program> program,
                       std::shared_ptr<const upstream::ClusterSnapshot> clusters) {
  clusters_->Publish(std::move(clusters));
  program_ = std::move(program);
  for (auto at = ports_.begin(); at != ports_.end();) {
    const std::shared_ptr<Port> port = at->second.lock();
    // A port that is gone keeps its last chain for the connections that it has; nobody finds it any more.
    if (port && port->Follow(*program_)) {
      ++at;
    } else {
      at = ports_.erase(at);
    }
  }
}

void L7Worker::SetIdentity(std::shared_ptr<const IdentityContext> identity) {
  identity_ = std::move(identity);
  clusters_->SetIdentity(identity_);
  tunnels_.ForEach([this](Tunnel& tunnel) { tunnel.OnIdentityChanged(*identity_); });
}

void L7Worker::AddListener(std::shared_ptr<const ListenerSocket> socket) {
  if (draining_) return;
  const std::string name = socket->name;
  RemoveListener(name);
  listeners_[name] = std::make_unique<LoopListener>(*this, std::move(socket));
}

void L7Worker::RemoveListener(const std::string& name) {
  const auto found = listeners_.find(name);
  if (found == listeners_.end()) return;
  found->second->Close();
  thread_.loop().Retire(std::move(found->second));
  listeners_.erase(found);
}

void L7Worker::Drain() {
  draining_ = true;
  for (auto& [_, listener] : listeners_) {
    listener->Close();
    thread_.loop().Retire(std::move(listener));
  }
  listeners_.clear();
  downstreams_.ForEach([](Downstream& downstream) { downstream.Drain(); });
  tunnels_.ForEach([](Tunnel& tunnel) { tunnel.Drain(); });
}

void L7Worker::AbortAll() {
  draining_ = true;
  downstreams_.ForEach([](Downstream& downstream) { downstream.Abort(); });
  tunnels_.ForEach([](Tunnel& tunnel) { tunnel.Abort(WEFT_R_DRAINED, "shutting down"); });
}

size_t L7Worker::open_requests() const {
  size_t sum = 0;
  downstreams_.ForEach([&](Downstream& downstream) { sum += downstream.open_requests(); });
  return sum;
}

// ---- connections ----------------------------------------------------------------------------------------------------

uint32_t L7Worker::load(bool tunnels) const {
  const uint32_t here = tunnels ? open_tunnels() : open_connections();
  return here + arriving_.load(std::memory_order_relaxed);
}

void L7Worker::Place(const std::string& listener, UniqueFd fd, const SocketAddress& peer) {
  const bool tunnel = listener.empty();
  L7Worker* const best =
      peers_[PlaceConnection(index_, peers_.size(), [&](size_t i) { return peers_[i]->load(tunnel); })];
  if (best == this) return Take(listener, std::move(fd), peer);
  best->arriving_.fetch_add(1, std::memory_order_relaxed);
  // std::function wants a copyable task, so the descriptor is shared; a loop that ends without running it closes it.
  auto shared = std::make_shared<UniqueFd>(std::move(fd));
  best->Post([best, listener, shared, peer] {
    best->arriving_.fetch_sub(1, std::memory_order_relaxed);
    best->Take(listener, std::move(*shared), peer);
  });
}

void L7Worker::Take(const std::string& listener, UniqueFd fd, const SocketAddress& peer) {
  if (draining_) return CloseWithReset(fd);
  if (listener.empty()) return Tunnel::Accept(*this, std::move(fd), peer);
  AcceptConnection(listener, std::move(fd), peer);
}

void L7Worker::AcceptConnection(const std::string& name, UniqueFd fd, const SocketAddress& peer) {
  const auto listener = listeners_.find(name);
  std::shared_ptr<Port> port = listener == listeners_.end() ? nullptr : FindPort(ListenerName{name});
  const std::optional<SocketAddress> local = LocalAddress(fd.get());
  if (!port || !local || open_connections() >= limits().max_connections) return CloseWithReset(fd);
  SetTcpOptions(fd.get(), limits().keepalive);
  std::unique_ptr<ByteStream> stream = MakeTcpStream(context(), std::move(fd), peer);
  const auto& tls = listener->second->socket().server_tls;
  if (tls) stream = MakeTlsServer(context(), std::move(stream), tls);
  StartChain(std::move(port), std::move(stream), nullptr, *local, tls != nullptr);
}

std::shared_ptr<Port> L7Worker::FindPort(const PortKey& key) {
  if (!program_) return nullptr;
  if (const auto found = ports_.find(key); found != ports_.end()) {
    if (std::shared_ptr<Port> port = found->second.lock()) return port;
  }
  std::shared_ptr<Port> port = Port::Find(*program_, key);
  if (port) ports_[key] = port;
  return port;
}

void L7Worker::StartChain(std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream,
                          std::unique_ptr<ConnectAnswer> answer, const SocketAddress& destination, bool handshake) {
  if (Status status = stream->Begin(); !status) {
    stream->Abort();
    context().loop.Retire(std::move(stream));
    return;
  }
  if (port->chain().protocol != l7::ChainProtocol::kTcp) {
    // The client's bytes decide, and it sends none before it is answered.
    if (answer) answer->Accept();
    return SniffConnection::Start(*this, std::move(port), std::move(stream), destination);
  }
  TcpProxy::Begin begin;
  begin.stream = std::move(stream);
  begin.answer = std::move(answer);
  begin.destination = destination;
  begin.handshake = handshake;
  TcpProxy::Start(*this, std::move(port), std::move(begin));
}

void L7Worker::StartHttp(std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream, bool http2,
                         std::span<const uint8_t> first) {
  HttpConnection::Start(*this, std::move(port), std::move(stream), http2, first);
}

void L7Worker::RecordRefusal(const StreamInfo& client, l7::Flag flag, std::string_view why) {
  l7::RequestRecord record;
  record.tcp = true;
  record.start_unix_ms = UnixMs();
  record.downstream = &client;
  record.client = client.remote;
  record.flags.Set(flag);
  record.termination_details = why;
  if (program_) record.telemetry = program_->telemetry.get();
  records().OnRecord(record);
}

}  // namespace weft::waypoint
