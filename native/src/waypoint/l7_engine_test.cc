// The whole L7 engine in this process: clients and servers are blocking sockets, tunnels come from an agent's engine.
#include "waypoint/l7_engine.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "l7.pb.h"
#include "l7_node.h"
#include "test_mesh.h"

namespace weft::test {
namespace {

using l7::ResourceType;

constexpr char kGet[] = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";

// A server that answers each request on each connection with its own name, one connection after the other.
class HttpServer {
 public:
  explicit HttpServer(std::string name) : name_(std::move(name)), listener_(Listen(At("127.0.0.1", 0))) {
    thread_ = std::thread([this] { Run(); });
  }
  ~HttpServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    // The engine keeps its connections for more requests; they are not to keep us.
    for (auto& [fd, thread] : connections_) {
      shutdown(fd->get(), SHUT_RDWR);
      thread.join();
    }
  }
  uint16_t port() const { return PortOf(listener_); }

 private:
  void Run() {
    for (;;) {
      auto fd = std::make_shared<UniqueFd>(accept(listener_.get(), nullptr, nullptr));
      if (!*fd) return;
      connections_.emplace_back(fd, std::thread([this, fd] { Serve(*fd); }));
    }
  }
  void Serve(const UniqueFd& fd) {
    std::string seen;
    char bytes[4096];
    for (;;) {
      const ssize_t n = recv(fd.get(), bytes, sizeof bytes, 0);
      if (n <= 0) return;
      seen.append(bytes, static_cast<size_t>(n));
      for (size_t end; (end = seen.find("\r\n\r\n")) != std::string::npos; seen.erase(0, end + 4)) {
        const std::string answer =
            "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(name_.size()) + "\r\n\r\n" + name_;
        if (!SendAll(fd, answer)) return;
      }
    }
  }
  std::string name_;
  UniqueFd listener_;
  std::thread thread_;
  std::vector<std::pair<std::shared_ptr<UniqueFd>, std::thread>> connections_;
};

l7::Chain HttpTo(const std::string& cluster, l7::Chain::Protocol protocol = l7::Chain::HTTP) {
  l7::Chain chain;
  chain.set_protocol(protocol);
  l7::VirtualHost& host = *chain.mutable_http()->add_hosts();
  host.add_domains("*");
  host.add_routes()->mutable_forward()->add_clusters()->set_cluster(cluster);
  return chain;
}

void AddTcp(l7::Chain& chain, const std::string& cluster) { chain.add_tcp()->add_clusters()->set_cluster(cluster); }

l7::Listener ListenerOf(const std::string& name, l7::Chain chain) {
  l7::Listener listener;
  listener.set_name(name);
  listener.set_address("127.0.0.1");
  *listener.mutable_chain() = std::move(chain);
  return listener;
}

l7::Destination DestinationOf(const std::string& ip, uint16_t port, l7::Chain chain) {
  l7::Destination destination;
  destination.set_name("default/web.default.svc.cluster.local");
  destination.set_namespace_("default");
  destination.set_hostname("web.default.svc.cluster.local");
  destination.add_addresses(ip);
  l7::DestinationPort& one = *destination.add_ports();
  one.set_port(port);
  *one.mutable_chain() = std::move(chain);
  return destination;
}

// The head of the next answer, and its body of `n` bytes.
std::pair<std::string, std::string> ReadAnswer(const UniqueFd& fd, size_t n) {
  std::string head;
  while (!head.ends_with("\r\n\r\n")) {
    const std::string one = ReadN(fd, 1);
    if (one.empty()) return {head, ""};
    head += one;
  }
  return {head, ReadN(fd, n)};
}

class L7EngineTest : public testing::Test {
 protected:
  // A route of the client's agent through the waypoint.
  void RouteThroughWaypoint(const std::string& authority) {
    auto route = std::make_shared<Route>();
    route->kind = Route::Kind::kEndpoints;
    RouteEndpoint endpoint;
    endpoint.key = 1;
    endpoint.dial = node.hbone();
    endpoint.tunnel = true;
    endpoint.authority = authority;
    endpoint.identities = {kWaypointId};
    route->endpoints.push_back(std::move(endpoint));
    client.Apply(SetRoute{TestNode::kPod, service, std::move(route)});
  }
  SocketAddress Open(l7::Chain chain) {
    node.Put(ResourceType::kListener, "plain", ListenerOf("plain", std::move(chain)));
    EXPECT_TRUE(node.Apply().empty());
    return node.listener("plain");
  }

  TestCa ca;
  L7Node node{ca};
  TestNode client{ca, kClientId, "127.0.0.1"};
  const SocketAddress service = At("10.96.0.1", 80);
};

TEST_F(L7EngineTest, AListenerServesRequestAfterRequestOnOneConnection) {
  HttpServer web("web-1");
  node.PutCluster("web", web.port());
  const UniqueFd fd = Connect(Open(HttpTo("web")));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(SendAll(fd, kGet));
    const auto [head, body] = ReadAnswer(fd, 5);
    EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\n")) << head;
    EXPECT_EQ(body, "web-1");
  }
}

TEST_F(L7EngineTest, ARequestSeesWhatWasAppliedBeforeItAlsoOnAnOpenConnection) {
  HttpServer one("web-1"), two("web-2");
  node.PutCluster("one", one.port()).PutCluster("two", two.port());
  const SocketAddress address = Open(HttpTo("one"));
  const UniqueFd fd = Connect(address);
  ASSERT_TRUE(SendAll(fd, kGet));
  EXPECT_EQ(ReadAnswer(fd, 5).second, "web-1");
  EXPECT_EQ(Open(HttpTo("two")), address);
  ASSERT_TRUE(SendAll(fd, kGet));
  EXPECT_EQ(ReadAnswer(fd, 5).second, "web-2");
}

TEST_F(L7EngineTest, WhatIsRefusedLeavesWhatIsThere) {
  HttpServer web("web-1");
  node.PutCluster("web", web.port());
  const SocketAddress address = Open(HttpTo("web"));
  l7::Chain bad = HttpTo("web");
  bad.mutable_http()->mutable_hosts(0)->mutable_routes(0)->mutable_match()->mutable_path()->set_regex("(");
  node.Put(ResourceType::kListener, "plain", ListenerOf("plain", bad));
  l7::Listener elsewhere = ListenerOf("other", HttpTo("web"));
  elsewhere.set_port(address.port);  // taken
  node.Put(ResourceType::kListener, "other", elsewhere);
  const std::vector<l7::Rejection> rejections = node.Apply();
  ASSERT_EQ(rejections.size(), 2U);
  EXPECT_EQ(rejections[0].name, "plain");
  EXPECT_EQ(rejections[1].name, "other");
  const UniqueFd fd = Connect(address);
  ASSERT_TRUE(SendAll(fd, kGet));
  EXPECT_EQ(ReadAnswer(fd, 5).second, "web-1");
}

TEST_F(L7EngineTest, AListenerThatIsRemovedIsClosed) {
  HttpServer web("web-1");
  node.PutCluster("web", web.port());
  const SocketAddress address = Open(HttpTo("web"));
  node.Remove(ResourceType::kListener, "plain").Apply();
  EXPECT_FALSE(Connect(address));
}

TEST_F(L7EngineTest, ATunnelsRequestsGoToTheirDestination) {
  HttpServer web("web-1");
  node.PutCluster("web", web.port());
  node.Put(ResourceType::kDestination, "d", DestinationOf("10.96.0.1", 80, HttpTo("web")));
  ASSERT_TRUE(node.Apply().empty());
  RouteThroughWaypoint("10.96.0.1:80");
  const UniqueFd fd = client.Dial(service);
  ASSERT_TRUE(fd);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(SendAll(fd, kGet));
    EXPECT_EQ(ReadAnswer(fd, 5).second, "web-1");
  }
  EXPECT_EQ(node.engine().Stats().open_tunnels, 1U);
  EXPECT_EQ(node.engine().Stats().open_connections, 1U);
}

TEST_F(L7EngineTest, ADestinationIsFoundByItsName) {
  HttpServer web("web-1");
  node.PutCluster("web", web.port());
  node.Put(ResourceType::kDestination, "d", DestinationOf("10.96.0.1", 80, HttpTo("web")));
  ASSERT_TRUE(node.Apply().empty());
  RouteThroughWaypoint("Web.default.svc.cluster.local:80");
  const UniqueFd fd = client.Dial(service);
  ASSERT_TRUE(SendAll(fd, kGet));
  EXPECT_EQ(ReadAnswer(fd, 5).second, "web-1");
}

TEST_F(L7EngineTest, AnUnknownDestinationAndAPortOfTheMeshAreRefused) {
  node.Put(ResourceType::kDestination, "d", DestinationOf("10.96.0.1", 80, HttpTo("web")));
  ASSERT_TRUE(node.Apply().empty());
  size_t n = 0;
  for (const char* authority : {"10.96.0.2:80", "10.96.0.1:81", "10.96.0.1:15008", "nobody:80"}) {
    RouteThroughWaypoint(authority);
    const UniqueFd fd = client.Dial(service);
    ASSERT_TRUE(fd);
    EXPECT_LT(ReadOnce(fd), 0) << authority;
    EXPECT_EQ(client.log().Closed(n++).reason, WEFT_R_TUNNEL_REFUSED) << authority;
  }
}

TEST_F(L7EngineTest, ATcpChainIsAnsweredWhenItsEndpointIs) {
  const UniqueFd app = Listen(At("127.0.0.1", 0));
  l7::Chain chain;
  chain.set_protocol(l7::Chain::TCP);
  AddTcp(chain, "db");
  node.PutCluster("db", PortOf(app));
  node.Put(ResourceType::kDestination, "d", DestinationOf("10.96.0.1", 80, chain));
  ASSERT_TRUE(node.Apply().empty());
  RouteThroughWaypoint("10.96.0.1:80");
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  ASSERT_TRUE(SendAll(up, "welcome"));  // the server speaks first
  EXPECT_EQ(ReadN(down, 7), "welcome");
  const std::string request = Noise(8 << 20, 1), response = Noise(8 << 20, 2);
  auto send_request = std::async(std::launch::async, [&] {
    const bool ok = SendAll(down, request);
    shutdown(down.get(), SHUT_WR);
    return ok;
  });
  EXPECT_TRUE(ReadToEnd(up) == request);
  EXPECT_TRUE(send_request.get());
  auto send_response = std::async(std::launch::async, [&] {
    const bool ok = SendAll(up, response);
    up.Reset();
    return ok;
  });
  EXPECT_TRUE(ReadToEnd(down) == response);
  EXPECT_TRUE(send_response.get());
  down.Reset();
  EXPECT_TRUE(Eventually([&] { return node.engine().Stats().open_connections == 0; }));
}

TEST_F(L7EngineTest, ATcpChainWithoutSomebodyWhoAcceptsIsRefused) {
  l7::Chain chain;
  chain.set_protocol(l7::Chain::TCP);
  AddTcp(chain, "db");
  uint16_t port = 0;
  {
    const UniqueFd gone = Listen(At("127.0.0.1", 0));
    port = PortOf(gone);
  }
  node.PutCluster("db", port);
  node.Put(ResourceType::kDestination, "d", DestinationOf("10.96.0.1", 80, chain));
  ASSERT_TRUE(node.Apply().empty());
  RouteThroughWaypoint("10.96.0.1:80");
  const UniqueFd fd = client.Dial(service);
  EXPECT_LT(ReadOnce(fd), 0);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_TUNNEL_REFUSED);
}

TEST_F(L7EngineTest, FirstBytesDecideBetweenHttpAndTcp) {
  HttpServer web("web-1");
  const UniqueFd app = Listen(At("127.0.0.1", 0));
  node.PutCluster("web", web.port()).PutCluster("app", PortOf(app));
  l7::Chain chain = HttpTo("web", l7::Chain::SNIFF);
  AddTcp(chain, "app");
  const SocketAddress address = Open(chain);

  const UniqueFd http = Connect(address);
  for (const char* piece : {"GET /", "a HTTP", "/1.1\r\nhost", ": web\r\n\r\n"}) ASSERT_TRUE(SendAll(http, piece));
  EXPECT_EQ(ReadAnswer(http, 5).second, "web-1");

  const UniqueFd redis = Connect(address);
  ASSERT_TRUE(SendAll(redis, "GET key\r\n"));
  const UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  EXPECT_EQ(ReadN(up, 9), "GET key\r\n");
  ASSERT_TRUE(SendAll(up, "$-1\r\n"));
  EXPECT_EQ(ReadN(redis, 5), "$-1\r\n");

  // One that ends without a word is passed on as what it is.
  const UniqueFd silent = Connect(address);
  shutdown(silent.get(), SHUT_WR);
  const UniqueFd quiet = Accept(app);
  ASSERT_TRUE(quiet);
  EXPECT_EQ(ReadToEnd(quiet), "");
}

TEST_F(L7EngineTest, TlsIsPassedOnByTheNameThatItAsksFor) {
  const UniqueFd api = Listen(At("127.0.0.1", 0)), rest = Listen(At("127.0.0.1", 0));
  node.PutCluster("api", PortOf(api)).PutCluster("rest", PortOf(rest));
  l7::Chain chain;
  chain.set_protocol(l7::Chain::TLS);
  l7::TlsRoute& route = *chain.add_tls();
  route.add_sni("*.example.com");
  route.mutable_route()->add_clusters()->set_cluster("api");
  AddTcp(chain, "rest");
  const SocketAddress address = Open(chain);

  // The seed of the fuzz target: OpenSSL asking for api.example.com.
  std::string hello;
  FILE* file = std::fopen(WEFT_FUZZ_CORPUS "/client-hello/openssl", "rb");
  ASSERT_NE(file, nullptr);
  char bytes[4096];
  hello.assign(bytes, std::fread(bytes, 1, sizeof bytes, file));
  std::fclose(file);
  const UniqueFd named = Connect(address);
  ASSERT_TRUE(SendAll(named, hello.substr(0, 100)));
  ASSERT_TRUE(SendAll(named, hello.substr(100)));
  const UniqueFd got = Accept(api);
  ASSERT_TRUE(got);
  EXPECT_TRUE(ReadN(got, hello.size()) == hello);

  const UniqueFd other = Connect(address);
  ASSERT_TRUE(SendAll(other, "SSH-2.0-x\r\n"));
  const UniqueFd plain = Accept(rest);
  ASSERT_TRUE(plain);
  EXPECT_EQ(ReadN(plain, 11), "SSH-2.0-x\r\n");
}

TEST_F(L7EngineTest, ADrainLetsRequestsEndSaysCloseAndTakesNoMore) {
  const UniqueFd app = Listen(At("127.0.0.1", 0));
  node.PutCluster("web", PortOf(app));
  const SocketAddress address = Open(HttpTo("web"));
  const UniqueFd idle = Connect(address);
  const UniqueFd busy = Connect(address);
  ASSERT_TRUE(SendAll(busy, kGet));
  const UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  ASSERT_FALSE(ReadN(up, 1).empty());
  auto drained = std::async(std::launch::async, [&] { return node.Drain(10'000); });
  ASSERT_TRUE(Eventually([&] { return !Connect(address); }));
  ASSERT_TRUE(SendAll(up, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
  const auto [head, body] = ReadAnswer(busy, 2);
  EXPECT_NE(head.find("connection: close"), std::string::npos) << head;
  EXPECT_EQ(body, "ok");
  EXPECT_EQ(ReadToEnd(busy), "");
  EXPECT_EQ(ReadToEnd(idle), "");
  EXPECT_TRUE(drained.get());
}

TEST_F(L7EngineTest, ADrainDoesNotLastBeyondItsDeadline) {
  const UniqueFd app = Listen(At("127.0.0.1", 0));
  l7::Chain chain;
  chain.set_protocol(l7::Chain::TCP);
  AddTcp(chain, "db");
  node.PutCluster("db", PortOf(app));
  const UniqueFd down = Connect(Open(chain));
  const UniqueFd up = Accept(app);
  ASSERT_TRUE(SendAll(down, "x"));
  EXPECT_EQ(ReadN(up, 1), "x");
  EXPECT_FALSE(node.Drain(100));
  EXPECT_LT(ReadOnce(down), 0);  // reset
}

TEST_F(L7EngineTest, TheEndOfTheEngineIsTheEndOfEverything) {
  HttpServer web("web-1");
  node.PutCluster("web", web.port());
  node.Put(ResourceType::kDestination, "d", DestinationOf("10.96.0.1", 80, HttpTo("web")));
  const UniqueFd plain = Connect(Open(HttpTo("web")));
  ASSERT_TRUE(SendAll(plain, kGet));
  EXPECT_EQ(ReadAnswer(plain, 5).second, "web-1");
  RouteThroughWaypoint("10.96.0.1:80");
  const UniqueFd tunnelled = client.Dial(service);
  ASSERT_TRUE(SendAll(tunnelled, kGet));
  EXPECT_EQ(ReadAnswer(tunnelled, 5).second, "web-1");
  node.engine().Close();
  EXPECT_LE(ReadOnce(plain), 0);
  EXPECT_LE(ReadOnce(tunnelled), 0);
}

// What came of a request of the process itself.
security::CallAnswer AnswerOf(waypoint::L7Engine& engine, const std::string& cluster) {
  auto told = std::make_shared<std::promise<security::CallAnswer>>();
  security::CallRequest request;
  request.path = "/spans";
  request.authority = "collector";
  request.timeout_ms = 10'000;
  engine.Call(cluster, std::move(request), [told](security::CallAnswer answer) { told->set_value(std::move(answer)); });
  return told->get_future().get();
}

TEST_F(L7EngineTest, TheProcessItselfAsksByWayOfAClusterToo) {
  HttpServer collector("taken");
  node.PutCluster("collector", collector.port());
  EXPECT_TRUE(node.Apply().empty());
  for (int i = 0; i < 2; ++i) {
    const security::CallAnswer answer = AnswerOf(node.engine(), "collector");
    EXPECT_EQ(answer.failure, "");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "taken");
  }
  EXPECT_EQ(AnswerOf(node.engine(), "nobody").failure, "there is no cluster nobody");
}

TEST_F(L7EngineTest, ARequestOfTheProcessIsToldThatTheEngineEnds) {
  UniqueFd silent = Listen(At("127.0.0.1", 0));
  node.PutCluster("silent", PortOf(silent));
  EXPECT_TRUE(node.Apply().empty());
  auto told = std::make_shared<std::promise<std::string>>();
  security::CallRequest request;
  request.timeout_ms = 60'000;
  const auto done = [told](const security::CallAnswer& answer) { told->set_value(answer.failure); };
  node.engine().Call("silent", std::move(request), done);
  node.engine().Close();
  EXPECT_EQ(told->get_future().get(), "the engine is closed");
  EXPECT_EQ(AnswerOf(node.engine(), "silent").failure, "the engine is closed");
}

}  // namespace
}  // namespace weft::test
