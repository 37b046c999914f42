#include "exchange_fixture.h"

#include "l7/exchange.h"
#include "l7/exchange_pool.h"
#include "l7/program_compiler.h"
#include "on_loop.h"
#include "test_net.h"

namespace weft::test {

ExchangeTest::ExchangeTest() : loop_(std::move(*EpollLoop::Create())), context_(*loop_) {
  info_.remote = At("10.1.2.3", 55000);
  info_.local = At("10.0.0.2", 9080);
  info_.peer_identity = "spiffe://cluster.local/ns/web/sa/front";
  downstream_ = std::make_unique<l7::Downstream>(info_);
  l7::RecordSink& records = *this;
  services_ = std::make_unique<l7::LoopServices>(context_, clusters_, records, hooks_);
  runner_ = std::thread([this] { loop_->Run(); });
}

ExchangeTest::~ExchangeTest() {
  loop_->Stop();
  runner_.join();
  services_.reset();
}

l7::Route& ExchangeTest::AddRoute(const std::string& prefix) {
  cluster("reviews");
  if (routes_.hosts_size() == 0) routes_.add_hosts()->add_domains("*");
  l7::Route* const route = routes_.mutable_hosts(0)->add_routes();
  route->set_name("default");
  route->mutable_match()->mutable_path()->set_prefix(prefix);
  route->mutable_forward()->add_clusters()->set_cluster("reviews");
  return *route;
}

void ExchangeTest::Publish() {
  auto chain = std::make_shared<l7::ChainProgram>();
  chain->settings = std::make_shared<l7::SettingsProgram>(settings_);
  if (routes_.hosts_size() > 0) {
    Result<std::shared_ptr<const l7::HttpProgram>> http = l7::CompileHttp(routes_, {});
    ASSERT_TRUE(http) << http.error().what;
    chain->http = *http;
  }
  On([&] { handle_.Set(chain); });
}

void ExchangeTest::On(const std::function<void()>& run) {
  OnLoop(*loop_, run);
  OnLoop(*loop_, [] {});
}

FakeServerStream& ExchangeTest::Ask(const AskedRequest& request) {
  FakeServerStream& stream = *streams_.emplace_back(std::make_unique<FakeServerStream>());
  http::RequestHead& head = stream.head();
  Arena& arena = head.headers.arena();
  head.protocol = request.protocol;
  head.method = arena.Copy(request.method);
  head.path = arena.Copy(request.path);
  head.authority = arena.Copy(request.authority);
  head.upgrade = arena.Copy(request.upgrade);
  head.expect_continue = request.expect_continue;
  stream.asked = request.end;
  for (const auto& [name, value] : request.fields) head.headers.Add(name, value);
  On([&] {
    l7::Exchange& exchange = services_->exchanges->Take();
    exchange.Begin(stream, head, request.end, *downstream_, handle_);
    stream.set_handler(&exchange);
  });
  return stream;
}

FakeClientStream& ExchangeTest::Asked(size_t i, const std::string& name) {
  AwaitRequests(i + 1, name);
  return cluster(name).stream(i);
}

void ExchangeTest::AwaitRequests(size_t n, const std::string& name) {
  ASSERT_TRUE(Await([&] { return cluster(name).requests() >= n; })) << n << " requests at " << name;
}

void ExchangeTest::AwaitAnswer(FakeServerStream& stream) {
  ASSERT_TRUE(Await([&] { return stream.closed; }));
}

bool ExchangeTest::Await(const std::function<bool()>& condition) {
  return Eventually([&] {
    bool holds = false;
    On([&] { holds = condition(); });
    return holds;
  });
}

void ExchangeTest::OnRecord(const l7::RequestRecord& record) {
  SeenRecord seen;
  seen.status = record.status;
  seen.grpc_status = record.grpc_status;
  seen.flags = record.flags.Text();
  seen.details = record.details;
  seen.route = record.route_name;
  seen.cluster = record.cluster_name;
  seen.endpoint = record.endpoint ? record.endpoint->address_text() : std::string_view();
  seen.path = record.path;
  seen.original_path = record.original_path;
  seen.request_id = record.request_id;
  seen.transport_failure = record.transport_failure;
  seen.received = record.bytes_received;
  seen.sent = record.bytes_sent;
  seen.grpc_requests = record.grpc_request_messages;
  seen.grpc_responses = record.grpc_response_messages;
  seen.attempts = record.attempts;
  records_.push_back(seen);
}

}  // namespace weft::test
