#include "test_node.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace weft::test {

std::optional<CapturedConnection> FakeCapture::OriginalDestination(uint64_t, const SocketAddress& peer,
                                                                   const SocketAddress&) {
  std::lock_guard lock(mutex_);
  const auto found = originals_.find(peer);
  if (found == originals_.end()) return std::nullopt;
  return found->second;
}

Status FakeCapture::AnnounceClient(int, const SocketAddress& client) {
  std::lock_guard lock(mutex_);
  announced_.push_back(client);
  return Ok{};
}

Status FakeCapture::SetInboundListener(uint64_t, int, int) { return Ok{}; }

void FakeCapture::Put(const SocketAddress& client, const SocketAddress& destination, uint32_t endpoint_key) {
  std::lock_guard lock(mutex_);
  originals_[client] = {destination, endpoint_key};
}

std::vector<SocketAddress> FakeCapture::announced() {
  std::lock_guard lock(mutex_);
  return announced_;
}

void EventLog::OnEvents(std::vector<Event> events) {
  std::lock_guard lock(mutex_);
  for (Event& event : events) {
    if (const auto* closed = std::get_if<weft::Closed>(&event)) closed_.push_back(*closed->record);
    if (const auto* miss = std::get_if<RouteMiss>(&event)) route_misses_.push_back(*miss);
    if (const auto* miss = std::get_if<IdentityMiss>(&event)) identity_misses_.push_back(miss->identity);
    if (const auto* dry_run = std::get_if<DryRun>(&event)) dry_runs_.push_back(*dry_run);
  }
}

std::vector<ConnectionRecord> EventLog::closed() {
  std::lock_guard lock(mutex_);
  return closed_;
}

std::vector<RouteMiss> EventLog::route_misses() {
  std::lock_guard lock(mutex_);
  return route_misses_;
}

std::vector<std::string> EventLog::identity_misses() {
  std::lock_guard lock(mutex_);
  return identity_misses_;
}

std::vector<DryRun> EventLog::dry_runs() {
  std::lock_guard lock(mutex_);
  return dry_runs_;
}

ConnectionRecord EventLog::Closed(size_t index) {
  if (!Eventually([&] { return closed().size() > index; })) return {};
  return closed()[index];
}

TestNode::TestNode(const TestCa& ca, const std::string& identity, const std::string& ip, const EngineLimits& limits)
    : identity_(identity), ip_(ip), capture_(std::make_shared<FakeCapture>()) {
  Result<std::unique_ptr<Engine>> engine = Engine::Create(limits, capture_, log_);
  if (!engine) std::abort();
  engine_ = std::move(*engine);
  PodConfig pod;
  pod.id = kPod;
  pod.uid = "pod-" + ip;
  pod.netns_path = "/proc/self/ns/net";
  pod.addresses = {*IpAddress::Parse(ip)};
  pod.identity = identity;
  pod.baggage = "k8s.pod.name=" + ip;
  if (Status status = engine_->AddPod(pod); !status) {
    std::fprintf(stderr, "%s\n", status.error().what.c_str());
    std::abort();
  }
  ports_ = engine_->Ports(kPod);
  SetIdentity(ca.Issue(identity), ca.roots());
  SetPolicies({});
}

void TestNode::Apply(Command command) {
  std::vector<Command> commands;
  commands.push_back(std::move(command));
  if (Status status = engine_->Apply(std::move(commands)); !status) {
    std::fprintf(stderr, "%s\n", status.error().what.c_str());
    std::abort();
  }
}

void TestNode::SetIdentity(const Svid& svid, const std::string& roots) {
  Apply(weft::SetIdentity{identity_, svid.chain, svid.key, roots, {}});
}

void TestNode::SetPolicies(std::vector<NamedPolicy> policies) {
  std::vector<Command> commands;
  SetPodPolicies names{kPod, {}};
  for (NamedPolicy& policy : policies) {
    names.policies.push_back(policy.name);
    commands.push_back(SetPolicy{std::make_shared<NamedPolicy>(std::move(policy))});
  }
  commands.push_back(std::move(names));
  if (!engine_->Apply(std::move(commands))) std::abort();
}

UniqueFd TestNode::Dial(const SocketAddress& destination, uint32_t endpoint_key) {
  return Connect(At(ip_, ports_[0]), [&](const SocketAddress& own) { capture_->Put(own, destination, endpoint_key); });
}

void TestNode::RouteTo(const SocketAddress& destination, const TestNode& to, uint16_t port,
                       std::vector<std::string> expected) {
  auto route = std::make_shared<Route>();
  route->kind = Route::Kind::kEndpoints;
  RouteEndpoint endpoint;
  endpoint.key = 42;
  endpoint.dial = to.hbone();
  endpoint.tunnel = true;
  endpoint.authority = At(to.ip_, port).ToString();
  endpoint.identities = expected.empty() ? std::vector<std::string>{to.identity()} : std::move(expected);
  route->endpoints.push_back(std::move(endpoint));
  route->service_host = "server.default.svc.cluster.local";
  Apply(SetRoute{kPod, destination, std::move(route)});
}

}  // namespace weft::test
