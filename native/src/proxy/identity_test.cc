// Mutual TLS between two engines: who is let in, and what a change of certificates does.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "test_mesh.h"

namespace weft::test {
namespace {

class IdentityTest : public MeshTest {
 protected:
  // A client whose certificate is `svid` must not get through.
  void ExpectRefused(TestNode& node) {
    node.RouteTo(service, server, PortOf(app));
    const UniqueFd down = node.Dial(service);
    EXPECT_EQ(ReadOnce(down), -ECONNRESET);
    EXPECT_EQ(node.log().Closed(0).reason, WEFT_R_TLS_FAILURE) << node.log().Closed(0).detail;
    EXPECT_EQ(server.log().Closed(0).reason, WEFT_R_TLS_FAILURE) << server.log().Closed(0).detail;
  }
};

TEST_F(IdentityTest, AServerThatIsSomebodyElseIsRefused) {
  client.RouteTo(service, server, PortOf(app), {"spiffe://cluster.local/ns/default/sa/other"});
  const UniqueFd down = client.Dial(service);
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  const ConnectionRecord record = client.log().Closed(0);
  EXPECT_EQ(record.reason, WEFT_R_TLS_FAILURE);
  EXPECT_NE(record.detail.find(kServerId), std::string::npos) << record.detail;
}

TEST_F(IdentityTest, OneOfSeveralExpectedIdentitiesIsEnough) {
  client.RouteTo(service, server, PortOf(app), {"spiffe://cluster.local/ns/default/sa/other", kServerId});
  const UniqueFd down = client.Dial(service);
  EXPECT_TRUE(Accept(app));
}

TEST_F(IdentityTest, AClientOfAnotherAuthorityIsRefused) {
  const TestCa other;
  TestNode stranger{other, kClientId, "127.0.0.3"};
  // It trusts the server, so that the server alone decides.
  stranger.SetIdentity(other.Issue(kClientId), ca.roots());
  ExpectRefused(stranger);
}

TEST_F(IdentityTest, AClientOfAnotherTrustDomainIsRefused) {
  TestNode stranger{ca, "spiffe://elsewhere.example/ns/default/sa/client", "127.0.0.3"};
  ExpectRefused(stranger);
}

TEST_F(IdentityTest, AnExpiredClientIsRefused) {
  TestNode late{ca, kClientId, "127.0.0.3"};
  late.SetIdentity(
      ca.Issue(SvidOptions{.uris = {kClientId}, .dns_names = {}, .not_before_s = -100, .not_after_s = -10}),
      ca.roots());
  ExpectRefused(late);
}

TEST_F(IdentityTest, ACertificateForSomebodyElseIsNotTaken) {
  const Svid svid = ca.Issue("spiffe://cluster.local/ns/default/sa/other");
  std::vector<Command> commands;
  commands.push_back(SetIdentity{kClientId, svid.chain, svid.key, ca.roots(), {}});
  EXPECT_FALSE(client.engine().Apply(std::move(commands)));
}

TEST_F(IdentityTest, AKeyThatDoesNotFitIsNotTaken) {
  std::vector<Command> commands;
  commands.push_back(SetIdentity{kClientId, ca.Issue(kClientId).chain, ca.Issue(kClientId).key, ca.roots(), {}});
  EXPECT_FALSE(client.engine().Apply(std::move(commands)));
}

TEST_F(IdentityTest, ARenewedCertificateIsUsedByNewConnectionsAndKeepsOldOnes) {
  UniqueFd old_down = client.Dial(service);
  UniqueFd old_up = Accept(app);
  ASSERT_TRUE(old_up);
  client.SetIdentity(ca.Issue(kClientId), ca.roots());
  server.SetIdentity(ca.Issue(kServerId), ca.roots());
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  ASSERT_TRUE(SendAll(old_down, "old"));
  EXPECT_EQ(ReadN(old_up, 3), "old");
  ASSERT_TRUE(SendAll(down, "new"));
  EXPECT_EQ(ReadN(up, 3), "new");
}

// A wire between a client's tunnel and the server's, that carries nothing before it is let go.
class HeldWire {
 public:
  HeldWire(TestNode& client, TestNode& server, const SocketAddress& service, uint16_t app_port) : server_(server) {
    auto route = std::make_shared<Route>();
    route->kind = Route::Kind::kEndpoints;
    RouteEndpoint endpoint;
    endpoint.tunnel = true;
    endpoint.dial = At("127.0.0.13", PortOf(listener_));
    endpoint.authority = At("127.0.0.2", app_port).ToString();
    endpoint.identities = {kServerId};
    route->endpoints.push_back(std::move(endpoint));
    client.Apply(SetRoute{TestNode::kPod, service, std::move(route)});
  }
  ~HeldWire() {
    if (from_client_) shutdown(from_client_.get(), SHUT_RDWR);
    if (pump_.joinable()) pump_.join();
  }

  // The client is there, and the server has begun its side of the handshake.
  bool Meet() {
    from_client_ = Accept(listener_);
    to_server_ = Connect(server_.hbone());
    return from_client_ && to_server_ && Eventually([&] { return server_.stats().open_tunnels == 1; });
  }

  void LetGo() {
    pump_ = std::thread([this] {
      while (Copy(from_client_, to_server_, to_server_, from_client_)) {
      }
    });
  }

 private:
  static bool Copy(const UniqueFd& a, const UniqueFd& to_b, const UniqueFd& b, const UniqueFd& to_a) {
    pollfd ends[] = {{a.get(), POLLIN, 0}, {b.get(), POLLIN, 0}};
    if (poll(ends, 2, -1) < 0) return false;
    return Forward(ends[0], to_b) && Forward(ends[1], to_a);
  }
  static bool Forward(const pollfd& from, const UniqueFd& to) {
    if (from.revents == 0) return true;
    char bytes[4096];
    const ssize_t n = recv(from.fd, bytes, sizeof bytes, 0);
    return n > 0 && send(to.get(), bytes, static_cast<size_t>(n), MSG_NOSIGNAL) == n;
  }

  TestNode& server_;
  UniqueFd listener_ = Listen(At("127.0.0.13", 0));
  UniqueFd from_client_;
  UniqueFd to_server_;
  std::thread pump_;
};

TEST_F(IdentityTest, ACertificateRenewedDuringAHandshakeDoesNotEndIt) {
  HeldWire wire(client, server, service, PortOf(app));
  UniqueFd down = client.Dial(service);
  ASSERT_TRUE(wire.Meet());
  server.SetIdentity(ca.Issue(kServerId), ca.roots());
  wire.LetGo();
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up) << client.log().Closed(0).detail;
  ASSERT_TRUE(SendAll(down, "through"));
  EXPECT_EQ(ReadN(up, 7), "through");
}

TEST_F(IdentityTest, AnAuthorityRemovedDuringAHandshakeIsNotBelievedAfterIt) {
  HeldWire wire(client, server, service, PortOf(app));
  const UniqueFd down = client.Dial(service);
  ASSERT_TRUE(wire.Meet());
  const TestCa other;
  server.SetIdentity(other.Issue(kServerId), other.roots());
  wire.LetGo();
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(server.log().Closed(0).reason, WEFT_R_CERT_REVOKED);
}

TEST_F(IdentityTest, AServerThatDrainsServesThePeerInTheMiddleOfItsHandshake) {
  HeldWire wire(client, server, service, PortOf(app));
  UniqueFd down = client.Dial(service);
  ASSERT_TRUE(wire.Meet());
  std::promise<void> done;
  server.engine().Drain(10'000, [&] { done.set_value(); });
  wire.LetGo();
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up) << client.log().Closed(0).detail;
  ASSERT_TRUE(SendAll(down, "through"));
  EXPECT_EQ(ReadN(up, 7), "through");
  down.Reset();
  up.Reset();
  EXPECT_EQ(done.get_future().wait_for(kPatience), std::future_status::ready);
}

TEST_F(IdentityTest, LiveTunnelsEndWhenTheirPeersAuthorityIsNoLongerTrusted) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  const TestCa other;
  server.SetIdentity(other.Issue(kServerId), other.roots());
  EXPECT_EQ(ReadOnce(up), -ECONNRESET);
  EXPECT_EQ(server.log().Closed(0).reason, WEFT_R_CERT_REVOKED);
}

TEST_F(IdentityTest, RemovingTheIdentityEndsWhatDependsOnIt) {
  UniqueFd down = client.Dial(service);
  UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  client.Apply(RemoveIdentity{kClientId});
  EXPECT_EQ(ReadOnce(down), -ECONNRESET);
  EXPECT_EQ(ReadOnce(up), -ECONNRESET);
  EXPECT_EQ(client.log().Closed(0).reason, WEFT_R_IDENTITY_ERROR);
}

}  // namespace
}  // namespace weft::test
