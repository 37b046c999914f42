#include "upstream/hbone_tunnels.h"

#include <algorithm>
#include <utility>

namespace weft::upstream {
namespace {

constexpr uint32_t kHeaderList = 16 * 1024;

StreamEnd EndOf(weft_reason reason) {
  switch (reason) {
    case WEFT_R_TLS_FAILURE:
    case WEFT_R_CERT_REVOKED:
      return StreamEnd::kTlsError;
    case WEFT_R_NETWORK_POLICY:
    case WEFT_R_UPSTREAM_TIMEOUT:
      return StreamEnd::kTimeout;
    default:
      return StreamEnd::kRefused;
  }
}

}  // namespace

struct HboneTunnels::Group {
  std::string key;
  SocketAddress agent;
  std::vector<std::string> identities;
  std::vector<std::unique_ptr<Tunnel>> tunnels;
  IntrusiveList<HboneClientStream> waiting;
};

class HboneTunnels::Tunnel final : public H2Connection::Owner {
 public:
  Tunnel(HboneTunnels& tunnels, Group& group) : tunnels_(tunnels), group_(group), idle_timer_([this] { OnIdle(); }) {}

  bool HasRoom() const {
    if (!connection->up() || retired || !connection->session().CanOpen()) return false;
    return connection->session().open_streams() < std::min(kMaxStreams, connection->session().max_open_streams());
  }
  bool opening() const { return !connection->up() && !retired; }

  std::unique_ptr<H2Connection> connection;
  bool retired = false;

  void OnUp(H2Connection&) override {
    if (retired) return connection->Drain();
    tunnels_.Dispatch(group_);
  }
  void OnRequest(H2Connection&, H2Stream&, HeaderBlock, bool) override {}
  void OnCapacityChanged(H2Connection&) override {
    if (connection->session().open_streams() == 0) tunnels_.context_.loop.Arm(idle_timer_, kIdleMs);
    tunnels_.Dispatch(group_);
  }
  void OnBatchEnd() override {}
  void OnDown(H2Connection&) override { tunnels_.Remove(*this); }
  Group& group() { return group_; }

 private:
  void OnIdle() {
    if (connection->session().open_streams() == 0) connection->Drain();
  }

  HboneTunnels& tunnels_;
  Group& group_;
  Timer idle_timer_;
};

HboneTunnels::HboneTunnels(LoopContext& context, const TunnelTimeouts& timeouts, const Keepalive& keepalive)
    : context_(context), timeouts_(timeouts), keepalive_(keepalive) {}

HboneTunnels::~HboneTunnels() {
  for (auto& [_, group] : groups_) {
    while (HboneClientStream* stream = group->waiting.PopFront()) stream->Fail(StreamEnd::kAborted, "shutting down");
  }
}

void HboneTunnels::SetIdentity(std::shared_ptr<const IdentityContext> identity) {
  identity_ = std::move(identity);
  for (auto& [_, group] : groups_) {
    for (auto& tunnel : group->tunnels) tunnel->retired = true;
  }
  DrainAll();
  std::vector<Group*> groups;
  for (auto& [_, group] : groups_) groups.push_back(group.get());
  for (Group* group : groups) Dispatch(*group);
}

// A tunnel that has nothing to do is gone at once, and its group with it.
void HboneTunnels::DrainAll() {
  std::vector<H2Connection*> connections;
  for (auto& [_, group] : groups_) {
    for (auto& tunnel : group->tunnels) {
      // Those that are still being made end when they are up, if nobody waits for them.
      if (tunnel->connection->up()) connections.push_back(tunnel->connection.get());
    }
  }
  for (H2Connection* connection : connections) connection->Drain();
}

std::unique_ptr<ByteStream> HboneTunnels::Open(const SocketAddress& agent, const std::vector<std::string>& identities,
                                               StreamInfo info, Asked asked) {
  std::string key = agent.ToString();
  for (const std::string& each : identities) key += "," + each;
  std::unique_ptr<Group>& group = groups_[key];
  if (!group) {
    group = std::make_unique<Group>();
    group->key = key;
    group->agent = agent;
    group->identities = identities;
  }
  auto stream = std::make_unique<HboneClientStream>(context_, std::move(info), std::move(asked.authority),
                                                    std::move(asked.baggage), std::move(asked.traceparent));
  group->waiting.PushBack(stream->link_);
  Dispatch(*group);
  return stream;
}

void HboneTunnels::Dispatch(Group& group) {
  for (size_t i = 0; i < group.tunnels.size() && !group.waiting.empty(); ++i) {
    while (i < group.tunnels.size() && group.tunnels[i]->HasRoom() && !group.waiting.empty()) {
      HboneClientStream* stream = group.waiting.PopFront();
      if (stream->OpenIn(*group.tunnels[i]->connection)) continue;
      group.waiting.PushBack(stream->link_);
      break;
    }
  }
  const bool opening = std::ranges::any_of(group.tunnels, [](const auto& each) { return each->opening(); });
  if (!group.waiting.empty() && !opening) Dial(group);
  Prune(group);
}

void HboneTunnels::Prune(Group& group) {
  if (!group.tunnels.empty() || !group.waiting.empty()) return;
  // Others of this turn may still refer to it.
  if (auto found = groups_.extract(group.key)) context_.loop.Retire(std::move(found.mapped()));
}

void HboneTunnels::Dial(Group& group) {
  if (!identity_) return FailWaiting(group, StreamEnd::kTlsError, "this proxy has no certificate yet");
  Result<std::unique_ptr<TlsConn>> tls = TlsConn::Client(identity_, group.identities);
  Result<UniqueFd> fd = OpenTcp(group.agent);
  if (!tls || !fd) return FailWaiting(group, StreamEnd::kRefused, !tls ? tls.error().what : fd.error().what);
  SetTcpOptions(fd->get(), keepalive_);
  const Result<bool> begun = StartConnect(fd->get(), group.agent);
  if (!begun) return FailWaiting(group, StreamEnd::kRefused, begun.error().what);
  H2Config config;
  config.max_streams = kMaxStreams;
  config.max_header_list = kHeaderList;
  auto tunnel = std::make_unique<Tunnel>(*this, group);
  tunnel->connection =
      std::make_unique<H2Connection>(context_, *tunnel, std::move(*fd), std::move(*tls), config, timeouts_, *begun);
  H2Connection& connection = *tunnel->connection;
  group.tunnels.push_back(std::move(tunnel));
  if (Status status = connection.Begin(); !status) connection.Abort(WEFT_R_INTERNAL, status.error().what);
}

void HboneTunnels::Remove(Tunnel& tunnel) {
  Group& group = tunnel.group();
  const auto found = std::ranges::find_if(group.tunnels, [&](const auto& each) { return each.get() == &tunnel; });
  if (found == group.tunnels.end()) return;
  std::unique_ptr<Tunnel> owned = std::move(*found);
  group.tunnels.erase(found);
  const weft_reason reason = owned->connection->down_reason();
  const std::string detail = owned->connection->down_detail();
  const bool was_up = owned->connection->tls().established();
  const bool retired = owned->retired;
  context_.loop.Retire(std::move(owned->connection));
  context_.loop.Retire(std::move(owned));
  // Nobody waits for one that was made with a certificate of before.
  if (!was_up && !retired) FailWaiting(group, EndOf(reason), detail);
  Dispatch(group);
}

void HboneTunnels::FailWaiting(Group& group, StreamEnd end, const std::string& detail) {
  while (HboneClientStream* stream = group.waiting.PopFront()) stream->Fail(end, detail);
}

void HboneTunnels::Drain() { DrainAll(); }

size_t HboneTunnels::size() const {
  size_t n = 0;
  for (const auto& [_, group] : groups_) n += group->tunnels.size();
  return n;
}

}  // namespace weft::upstream
