#include "clusters_fixture.h"

#include "on_loop.h"

namespace weft::test {

Caller::~Caller() {
  if (stream_ != nullptr) stream_->Reset(http::StreamError::kLocal);
}

bool Caller::Ask(const upstream::PickContext& context, http::Protocol protocol) {
  endpoint = cluster_->Pick(context);
  if (!endpoint) return false;
  attempt = cluster_->Begin(endpoint);
  if (!attempt) return false;
  attempt->Connect(protocol, authority, *this);
  return true;
}

void Caller::OnConnection(http::ClientConnection& connection) {
  Arena arena;
  http::RequestHead head(arena);
  head.method = "GET";
  head.scheme = "http";
  head.authority = "c";
  head.path = "/";
  stream_ = connection.Open(head, true, *this);
  EXPECT_NE(stream_, nullptr);
}

void Caller::OnPoolFailure(upstream::PoolFailure with, std::string_view why) {
  failure = with;
  detail = why;
}

// As the router does: the attempt, and with it maybe the last that holds the endpoint, goes within this call.
void Caller::OnStreamClosed(http::StreamError) {
  stream_ = nullptr;
  closed = true;
  endpoint.reset();
  attempt.reset();
}

StreamEndpoint::~StreamEndpoint() {
  if (!down) stream->Abort();
  loop_.Retire(std::move(stream));
}

void ClustersTest::SetUp() {
  catalog_ = std::make_unique<upstream::ClusterCatalog>(options_);
  ASSERT_TRUE(thread_.Start());
  On([&] { clusters_ = upstream::MakeLoopClusters(thread_.context(), options_); });
}

void ClustersTest::TearDown() {
  On([&] {
    callers_.clear();
    streams_.clear();
    clusters_.reset();
  });
  thread_.Stop([] {});
}

void ClustersTest::Publish(const l7::Cluster& cluster, const std::vector<SocketAddress>& endpoints) {
  l7::Cluster named = cluster;
  named.set_name("c");
  if (named.service_hostname().empty()) named.set_service_hostname("c.test");
  const Status status = catalog_->SetCluster("c", named.SerializeAsString());
  ASSERT_TRUE(status) << status.error().what;
  PublishEndpoints(EndpointsAt(endpoints));
}

void ClustersTest::PublishEndpoints(const l7::Endpoints& endpoints) {
  const Status status = catalog_->SetEndpoints("c", endpoints.SerializeAsString());
  ASSERT_TRUE(status) << status.error().what;
  On([&] { clusters_->Publish(catalog_->snapshot()); });
}

l7::Endpoints ClustersTest::EndpointsAt(const std::vector<SocketAddress>& addresses) {
  l7::Endpoints endpoints;
  endpoints.set_cluster("c");
  for (const SocketAddress& each : addresses) {
    l7::Endpoint& endpoint = *endpoints.add_endpoints();
    endpoint.set_ip(each.ip.ToString());
    endpoint.set_port(each.port);
  }
  return endpoints;
}

void ClustersTest::On(const std::function<void()>& run) { OnLoop(thread_, run); }

void ClustersTest::Until(const std::function<bool()>& condition) { EXPECT_TRUE(EventuallyOnLoop(thread_, condition)); }

std::shared_ptr<upstream::Cluster> ClustersTest::cluster() {
  std::shared_ptr<upstream::Cluster> found;
  On([&] { found = clusters_->Find("c"); });
  return found;
}

Caller& ClustersTest::Ask(http::Protocol protocol, const std::string& authority) {
  On([&] {
    callers_.push_back(std::make_unique<Caller>(clusters_->Find("c")));
    callers_.back()->authority = authority;
    EXPECT_TRUE(callers_.back()->Ask({}, protocol));
  });
  return *callers_.back();
}

void ClustersTest::AwaitDone(Caller& caller) {
  Until([&] { return caller.done(); });
}

StreamEndpoint& ClustersTest::Open(const StreamInfo& downstream) {
  On([&] {
    const std::shared_ptr<upstream::Cluster> found = clusters_->Find("c");
    upstream::PickContext context;
    std::unique_ptr<ByteStream> stream = found->Open(found->Pick(context), downstream);
    streams_.push_back(std::make_unique<StreamEndpoint>(thread_.loop(), std::move(stream)));
    EXPECT_TRUE(streams_.back()->stream->Begin());
  });
  return *streams_.back();
}

uint32_t ClustersTest::Connections() {
  uint32_t n = 0;
  On([&] {
    for (const upstream::ClusterStats& each : clusters_->Stats()) {
      for (const upstream::EndpointStats& endpoint : each.endpoints) n += endpoint.connections;
    }
  });
  return n;
}

std::string ClustersTest::ReadHead(const UniqueFd& fd) {
  std::string head;
  while (!head.ends_with("\r\n\r\n")) {
    const std::string next = ReadN(fd, 1);
    if (next.empty()) break;
    head += next;
  }
  return head;
}

void ClustersTest::Answer(const UniqueFd& fd, const std::string& body) {
  EXPECT_TRUE(SendAll(fd, "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body));
}

}  // namespace weft::test
