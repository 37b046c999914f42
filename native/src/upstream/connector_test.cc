// How endpoints are reached: TLS, the PROXY header, tunnels, against servers on loopback.
#include "upstream/connector.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "clusters_fixture.h"
#include "net/transport.h"
#include "test_ca.h"

namespace weft::upstream {
namespace {

using test::Accept;
using test::At;
using test::Caller;
using test::Listen;
using test::ReadN;
using test::ReadToEnd;
using test::StreamEndpoint;
using test::Svid;
using test::SvidOptions;
using test::TestCa;

class ConnectorTest : public test::ClustersTest {
 protected:
  // The next connection to the server, on the loop under TLS.
  StreamEndpoint& ServeTls(const TestCa& ca, const std::string& name) {
    const Svid svid = ca.Issue(SvidOptions{.uris = {}, .dns_names = {name}});
    TlsServerOptions options;
    options.certificate_chain = svid.chain;
    options.private_key = svid.key;
    options.alpn = {"h2", "http/1.1"};
    auto config = MakeTlsServerConfig(options);
    EXPECT_TRUE(config);
    UniqueFd fd = Accept(server_);
    fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    On([&] {
      streams_.push_back(std::make_unique<StreamEndpoint>(
          thread_.loop(),
          MakeTlsServer(thread_.context(), MakeTcpStream(thread_.context(), std::move(fd), {}), *config)));
      EXPECT_TRUE(streams_.back()->stream->Begin());
    });
    return *streams_.back();
  }
  TestCa ca_;
};

TEST_F(ConnectorTest, TlsShowsTheNameAndOffersTheProtocolThatIsSpoken) {
  l7::Cluster cluster;
  cluster.mutable_tls()->set_ca(ca_.roots());
  cluster.set_service_hostname("web.test");
  Publish(cluster, {address_});
  Ask();
  StreamEndpoint& server = ServeTls(ca_, "web.test");
  Until([&] { return server.received.ends_with("\r\n\r\n"); });
  EXPECT_EQ(server.stream->info().sni, "web.test");
  EXPECT_EQ(server.stream->info().alpn, "http/1.1");
  // What is inside is not known of TCP.
  StreamEndpoint& client = Open();
  StreamEndpoint& tcp = ServeTls(ca_, "web.test");
  Until([&] { return client.up && tcp.up; });
  EXPECT_EQ(tcp.stream->info().alpn, "");
}

TEST_F(ConnectorTest, ACertificateOfSomebodyElseIsNotTaken) {
  l7::Cluster cluster;
  cluster.mutable_tls()->set_ca(ca_.roots());
  cluster.mutable_tls()->set_sni("web.test");
  Publish(cluster, {address_});
  Caller& other_name = Ask();
  ServeTls(ca_, "other.test");
  AwaitDone(other_name);
  EXPECT_EQ(other_name.failure, PoolFailure::kTlsFailure);
  Caller& other_ca = Ask();
  ServeTls(TestCa(), "web.test");
  AwaitDone(other_ca);
  EXPECT_EQ(other_ca.failure, PoolFailure::kTlsFailure);
  EXPECT_NE(other_ca.detail, "");
}

TEST_F(ConnectorTest, AmongManyHostsTheRequestSaysWhichOneTlsAsksFor) {
  l7::Cluster cluster;
  cluster.mutable_tls()->set_ca(ca_.roots());
  cluster.set_service_hostname("*.many.test");
  Publish(cluster, {address_});
  // What is connected to one is for no other, though their addresses are the same.
  for (const std::string authority : {"A.many.test:8443", "b.many.test"}) {
    const std::string host = authority.starts_with('A') ? "a.many.test" : authority;
    Ask(http::Protocol::kHttp11, authority);
    StreamEndpoint& server = ServeTls(ca_, host);
    Until([&] { return server.received.ends_with("\r\n\r\n"); });
    EXPECT_EQ(server.stream->info().sni, host);
  }
  for (const std::string authority : {"", "many.test", "evil.test"}) {
    Caller& stranger = Ask(http::Protocol::kHttp11, authority);
    AwaitDone(stranger);
    EXPECT_EQ(stranger.failure, PoolFailure::kTlsFailure) << authority;
  }
  StreamEndpoint& nameless = Open();
  Until([&] { return nameless.down; });
  EXPECT_EQ(nameless.end, StreamEnd::kTlsError);
}

TEST_F(ConnectorTest, ClientsMakeNoMorePoolsThanThereAreHostsInUse) {
  l7::Cluster cluster;
  cluster.mutable_tls()->set_ca(ca_.roots());
  cluster.set_service_hostname("*.many.test");
  Publish(cluster, {address_});
  constexpr int kMost = 64;
  for (int i = 0; i < kMost; ++i) Ask(http::Protocol::kHttp11, "h" + std::to_string(i) + ".many.test");
  Caller& one_more = Ask(http::Protocol::kHttp11, "more.many.test");
  EXPECT_EQ(one_more.failure, PoolFailure::kOverflow);
  // Those that nobody waits for any more make room.
  On([&] { callers_.erase(callers_.begin(), callers_.end() - 1); });
  for (int i = 0; i < kMost; ++i) Accept(server_).Reset();
  EXPECT_TRUE(test::Eventually([&] { return Connections() == 0; }));
  Caller& next = Ask(http::Protocol::kHttp11, "more.many.test");
  ServeTls(ca_, "more.many.test");
  EXPECT_FALSE(next.failure);
}

TEST_F(ConnectorTest, OtherCertificatesMakeOtherConnections) {
  l7::Cluster cluster;
  cluster.mutable_tls()->set_ca(ca_.roots());
  cluster.set_service_hostname("web.test");
  const auto prove = [&] {
    const Svid svid = ca_.Issue(SvidOptions{.uris = {}, .dns_names = {"client.test"}});
    cluster.mutable_tls()->set_mode(l7::ClientTls::MUTUAL);
    cluster.mutable_tls()->set_certificate_chain(svid.chain);
    cluster.mutable_tls()->set_private_key(svid.key);
  };
  const auto answer = [&](StreamEndpoint& server) {
    Until([&] { return server.received.ends_with("\r\n\r\n"); });
    On([&] {
      const std::string text = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
      server.received.clear();
      server.stream->Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    });
  };
  prove();
  Publish(cluster, {address_});
  Caller& first = Ask();
  StreamEndpoint& before = ServeTls(ca_, "web.test");
  answer(before);
  AwaitDone(first);
  // The same once more, with another policy: the connection is good for it.
  cluster.mutable_pool()->set_max_retries(3);
  Publish(cluster, {address_});
  Caller& second = Ask();
  answer(before);
  AwaitDone(second);
  prove();
  Publish(cluster, {address_});
  Until([&] { return before.down || before.read_end; });
  Ask();
  StreamEndpoint& after = ServeTls(ca_, "web.test");
  Until([&] { return after.received.ends_with("\r\n\r\n"); });
}

TEST_F(ConnectorTest, AHandshakeThatDoesNotEndIsATimeout) {
  l7::Cluster cluster;
  cluster.mutable_tls()->set_skip_verify(true);
  cluster.set_connect_timeout_ms(30);
  Publish(cluster, {address_});
  Caller& caller = Ask();
  AwaitDone(caller);
  EXPECT_EQ(caller.failure, PoolFailure::kConnectTimeout);
}

TEST_F(ConnectorTest, WhatCannotBeEncryptedIsNotSent) {
  l7::Cluster unusable, mesh;
  unusable.mutable_tls()->set_unusable("secret default/ca is missing");
  mesh.mutable_tls()->set_mode(l7::ClientTls::MESH);
  for (const l7::Cluster& cluster : {unusable, mesh}) {
    Publish(cluster, {address_});
    Caller& caller = Ask();
    AwaitDone(caller);
    EXPECT_EQ(caller.failure, PoolFailure::kTlsFailure);
    StreamEndpoint& stream = Open();
    Until([&] { return stream.down; });
    EXPECT_EQ(stream.end, StreamEnd::kTlsError);
    EXPECT_EQ(stream.detail, caller.detail);
  }
  EXPECT_EQ(streams_.front()->detail, "secret default/ca is missing");
}

TEST_F(ConnectorTest, ThePROXYHeaderNamesTheClient) {
  l7::Cluster cluster;
  cluster.set_proxy_protocol_v2(true);
  Publish(cluster, {address_});
  static const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
  StreamInfo info;
  info.remote = At("10.1.2.3", 0x1234);
  info.local = At("10.9.9.9", 80);
  Open(info);
  EXPECT_EQ(ReadN(Accept(server_), 28),
            kSignature + std::string("\x21\x11\0\x0c\x0a\x01\x02\x03\x0a\x09\x09\x09\x12\x34\0\x50", 16));
  // By a tunnel: what the client asked for.
  info.authority = At("fd00::1", 443);
  Open(info);
  const std::string header = ReadN(Accept(server_), 52);
  EXPECT_EQ(header.substr(0, 16), kSignature + std::string("\x21\x21\0\x24", 4));
  EXPECT_EQ(header.substr(16, 16), std::string("\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03", 16));
  EXPECT_EQ(header.substr(32), std::string("\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34\x01\xbb", 20));
  // A connection for many clients is the proxy's own.
  Ask();
  EXPECT_EQ(ReadN(Accept(server_), 19), kSignature + std::string("\x20\0\0\0GET", 7));
}

TEST_F(ConnectorTest, StreamsAreCountedAsConnections) {
  l7::Cluster cluster;
  cluster.mutable_pool()->set_max_connections(1);
  Publish(cluster, {address_});
  Open();
  On([&] {
    const auto found = clusters_->Find("c");
    EXPECT_EQ(found->Open(found->Pick({}), {}), nullptr);
    streams_.clear();
  });
  On([&] {
    const auto found = clusters_->Find("c");
    EXPECT_NE(found->Open(found->Pick({}), {}), nullptr);
  });
}

// ---- tunnels
// ----------------------------------------------------------------------------------------------------------

constexpr char kAgent[] = "spiffe://cluster.local/ns/default/sa/server";
constexpr char kWaypoint[] = "spiffe://cluster.local/ns/default/sa/waypoint";

// The agent of an endpoint: it takes every stream and keeps what came.
class Agent final : public H2Connection::Owner {
 public:
  Agent(LoopContext& context, UniqueFd fd, const std::shared_ptr<const IdentityContext>& identity) : context_(context) {
    fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    H2Config config;
    config.server = true;
    connection_ = std::make_unique<H2Connection>(context, *this, std::move(fd), std::move(*TlsConn::Server(identity)),
                                                 config, timeouts_, true);
    EXPECT_TRUE(connection_->Begin());
  }
  // Before it is destroyed, in an earlier turn.
  void Abort() {
    streams.clear();
    if (connection_) connection_->Abort(WEFT_R_DRAINED, "over");
  }
  std::vector<std::unique_ptr<StreamEndpoint>> streams;
  std::vector<std::string> asked;  // authority, baggage
  bool down = false;

 private:
  void OnUp(H2Connection&) override {}
  void OnRequest(H2Connection& tunnel, H2Stream& stream, HeaderBlock headers, bool) override {
    asked.push_back(std::string(headers.authority) + " " + std::string(headers.baggage));
    auto served = std::make_unique<HboneServerStream>(context_, tunnel, stream, StreamInfo());
    HboneServerStream& answering = *served;
    streams.push_back(std::make_unique<StreamEndpoint>(context_.loop, std::move(served)));
    EXPECT_TRUE(answering.Begin());
    answering.Accept();
  }
  void OnCapacityChanged(H2Connection&) override {}
  void OnBatchEnd() override {}
  void OnDown(H2Connection&) override {
    down = true;
    context_.loop.Retire(std::move(connection_));
  }

  LoopContext& context_;
  TunnelTimeouts timeouts_;
  std::unique_ptr<H2Connection> connection_;
};

class TunnelTest : public ConnectorTest {
 protected:
  // Agents listen on one port: each test process has an address of its own.
  const std::string ip_ =
      "127.15." + std::to_string(getpid() / 250 % 250 + 1) + "." + std::to_string(getpid() % 250 + 1);
  UniqueFd agent_socket_ = Listen(At(ip_, 15008));
  std::vector<std::unique_ptr<Agent>> agents_;

  std::shared_ptr<const IdentityContext> Identity(const std::string& name) {
    const Svid svid = ca_.Issue(name);
    auto made = IdentityContext::Create(name, svid.chain, svid.key, ca_.roots());
    EXPECT_TRUE(made);
    return *made;
  }
  void SetUp() override {
    options_.baggage = "k8s.namespace.name=default";
    ConnectorTest::SetUp();
  }
  void PublishTunnel(const std::string& identity, const l7::Cluster& cluster = {}) {
    Publish(cluster, {});
    l7::Endpoints endpoints = EndpointsAt({At(ip_, 80)});
    endpoints.mutable_endpoints(0)->set_tunnel(true);
    endpoints.mutable_endpoints(0)->add_identities(identity);
    PublishEndpoints(endpoints);
  }
  Agent& AcceptTunnel(const std::string& identity = kAgent) {
    UniqueFd fd = Accept(agent_socket_);
    On([&] { agents_.push_back(std::make_unique<Agent>(thread_.context(), std::move(fd), Identity(identity))); });
    return *agents_.back();
  }
  void TearDown() override {
    On([&] {
      streams_.clear();
      callers_.clear();
      for (auto& each : agents_) each->Abort();
    });
    Until([&] { return std::ranges::all_of(agents_, [](const auto& each) { return each->down; }); });
    On([&] { agents_.clear(); });
    ConnectorTest::TearDown();
  }
};

TEST_F(TunnelTest, RequestsGoByOneTunnelToTheAgent) {
  On([&] { clusters_->SetIdentity(Identity(kWaypoint)); });
  PublishTunnel(kAgent);
  Caller& first = Ask();
  Ask();
  Agent& agent = AcceptTunnel();
  Until([&] { return agent.streams.size() == 2 && agent.streams[0]->received.ends_with("\r\n\r\n"); });
  EXPECT_EQ(agent.asked[0], ip_ + ":80 k8s.namespace.name=default");
  On([&] {
    const std::string answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for (auto& each : agent.streams) {
      each->stream->Write({reinterpret_cast<const uint8_t*>(answer.data()), answer.size()});
    }
  });
  AwaitDone(first);
  EXPECT_EQ(first.body, "ok");
  On([&] { EXPECT_TRUE(callers_[0]->endpoint == nullptr); });
}

TEST_F(TunnelTest, AnAgentOfSomebodyElseIsNotTold) {
  On([&] { clusters_->SetIdentity(Identity(kWaypoint)); });
  PublishTunnel("spiffe://cluster.local/ns/default/sa/another");
  Caller& caller = Ask();
  Agent& agent = AcceptTunnel();
  AwaitDone(caller);
  EXPECT_EQ(caller.failure, PoolFailure::kTlsFailure);
  EXPECT_TRUE(agent.streams.empty());
  // The next one tries anew.
  PublishTunnel(kAgent);
  Ask();
  Agent& right = AcceptTunnel();
  Until([&] { return right.streams.size() == 1; });
}

TEST_F(TunnelTest, NothingIsSentWithoutACertificate) {
  PublishTunnel(kAgent);
  Caller& caller = Ask();
  AwaitDone(caller);
  EXPECT_EQ(caller.failure, PoolFailure::kTlsFailure);
  EXPECT_EQ(caller.detail, "this proxy has no certificate yet");
}

TEST_F(TunnelTest, ANewCertificateMakesNewTunnelsAndLetsTheOldEndWithTheirStreams) {
  On([&] { clusters_->SetIdentity(Identity(kWaypoint)); });
  PublishTunnel(kAgent);
  StreamEndpoint& before = Open();
  Agent& old = AcceptTunnel();
  Until([&] { return before.up; });
  On([&] { clusters_->SetIdentity(Identity(kWaypoint)); });
  StreamEndpoint& after = Open();
  AcceptTunnel();
  Until([&] { return after.up; });
  EXPECT_FALSE(old.down);
  On([&] { before.stream->Close(); });
  Until([&] { return old.streams[0]->down || before.down; });
  On([&] { old.streams.clear(); });
  Until([&] { return old.down; });
}

TEST_F(TunnelTest, ACertificateThatComesWhileATunnelIsMadeFailsNobody) {
  On([&] { clusters_->SetIdentity(Identity(kWaypoint)); });
  PublishTunnel(kAgent);
  StreamEndpoint& stream = Open();
  On([&] { clusters_->SetIdentity(Identity(kWaypoint)); });
  AcceptTunnel();
  AcceptTunnel();
  Until([&] { return stream.up; });
  EXPECT_FALSE(stream.down);
}

TEST_F(TunnelTest, MutualTlsOfTheMeshIsTheTunnel) {
  On([&] { clusters_->SetIdentity(Identity(kWaypoint)); });
  l7::Cluster mesh;
  mesh.mutable_tls()->set_mode(l7::ClientTls::MESH);
  PublishTunnel(kAgent, mesh);
  Ask();
  Agent& agent = AcceptTunnel();
  Until([&] { return agent.streams.size() == 1 && agent.streams[0]->received.starts_with("GET / HTTP/1.1"); });
}

}  // namespace
}  // namespace weft::upstream
