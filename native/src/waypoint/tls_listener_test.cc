// Listeners that take TLS off, as a gateway's do: what is inside goes the way of any other connection. Clients and
// servers are blocking sockets.
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "l7.pb.h"
#include "l7_node.h"
#include "test_mesh.h"

namespace weft::test {
namespace {

using l7::ResourceType;

// One end of a TLS connection on a socket.
class TlsPeer {
 public:
  // A client that believes `ca`, and shows `svid` if there is one.
  TlsPeer(UniqueFd fd, const TestCa& ca, const std::string& name, const Svid* svid = nullptr) : fd_(std::move(fd)) {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    Trust(ca);
    if (svid != nullptr) Use(*svid);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd_.get());
    SSL_set_tlsext_host_name(ssl_.get(), name.c_str());
    SSL_set1_host(ssl_.get(), name.c_str());
    up_ = SSL_connect(ssl_.get()) == 1;
  }
  // A server.
  TlsPeer(UniqueFd fd, const Svid& svid) : fd_(std::move(fd)) {
    context_.reset(SSL_CTX_new(TLS_server_method()));
    Use(svid);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd_.get());
    up_ = SSL_accept(ssl_.get()) == 1;
  }
  bool up() const { return up_; }
  std::string asked_for() const {
    const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
    return name == nullptr ? "" : name;
  }
  bool Say(const std::string& text) {
    return SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) == static_cast<int>(text.size());
  }
  // Less at the end of the connection.
  std::string Hear(size_t n) {
    std::string heard;
    char bytes[16 * 1024];
    while (heard.size() < n) {
      const int got = SSL_read(ssl_.get(), bytes, static_cast<int>(std::min(sizeof bytes, n - heard.size())));
      if (got <= 0) break;
      heard.append(bytes, static_cast<size_t>(got));
    }
    return heard;
  }
  // close_notify: nothing more is said.
  void Finish() { SSL_shutdown(ssl_.get()); }

 private:
  void Use(const Svid& svid) {
    const BioPtr chain(BIO_new_mem_buf(svid.chain.data(), static_cast<int>(svid.chain.size())));
    const BioPtr key(BIO_new_mem_buf(svid.key.data(), static_cast<int>(svid.key.size())));
    const X509Ptr leaf(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
    const EvpKeyPtr secret(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
    SSL_CTX_use_certificate(context_.get(), leaf.get());
    SSL_CTX_use_PrivateKey(context_.get(), secret.get());
  }
  void Trust(const TestCa& ca) {
    const BioPtr roots(BIO_new_mem_buf(ca.roots().data(), static_cast<int>(ca.roots().size())));
    const X509Ptr root(PEM_read_bio_X509(roots.get(), nullptr, nullptr, nullptr));
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), root.get());
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  }

  UniqueFd fd_;
  SslCtxPtr context_;
  SslPtr ssl_;
  bool up_ = false;
};

class TlsListenerTest : public testing::Test {
 protected:
  // A listener that takes TLS off as "gate.test", with this chain behind it.
  SocketAddress Open(l7::Chain chain, bool clients_prove_themselves = false) {
    const Svid svid = ca.Issue(SvidOptions{.uris = {}, .dns_names = {"gate.test"}});
    l7::Listener listener;
    listener.set_address("127.0.0.1");
    *listener.mutable_chain() = std::move(chain);
    listener.mutable_tls()->set_certificate_chain(svid.chain);
    listener.mutable_tls()->set_private_key(svid.key);
    if (clients_prove_themselves) {
      listener.mutable_tls()->set_client_ca(ca.roots());
      listener.mutable_tls()->set_client_certificate_required(true);
    }
    node.Put(ResourceType::kListener, "gate", listener);
    EXPECT_TRUE(node.Apply().empty());
    node.Settle();
    return node.listener("gate");
  }
  static l7::Chain TcpTo(const std::string& cluster) {
    l7::Chain chain;
    chain.set_protocol(l7::Chain::TCP);
    chain.add_tcp()->add_clusters()->set_cluster(cluster);
    return chain;
  }

  TestCa ca;
  L7Node node{ca};
  UniqueFd app = Listen(At("127.0.0.1", 0));
};

TEST_F(TlsListenerTest, ATcpChainPassesOnWhatWasInsideBothWaysAndEachEnd) {
  node.PutCluster("db", PortOf(app));
  const SocketAddress gate = Open(TcpTo("db"));
  TlsPeer client(Connect(gate), ca, "gate.test");
  ASSERT_TRUE(client.up());
  UniqueFd server = Accept(app);
  ASSERT_TRUE(server);
  ASSERT_TRUE(SendAll(server, "welcome"));  // the server speaks first
  EXPECT_EQ(client.Hear(7), "welcome");
  const std::string request = Noise(2 << 20, 1), response = Noise(2 << 20, 2);
  auto said = std::async(std::launch::async, [&] {
    const bool ok = client.Say(request);
    client.Finish();
    return ok;
  });
  EXPECT_TRUE(ReadToEnd(server) == request);
  EXPECT_TRUE(said.get());
  auto answered = std::async(std::launch::async, [&] {
    const bool ok = SendAll(server, response);
    server.Reset();
    return ok;
  });
  EXPECT_TRUE(client.Hear(response.size() + 1) == response);
  EXPECT_TRUE(answered.get());
}

TEST_F(TlsListenerTest, FirstBytesDecideInsideToo) {
  const UniqueFd web = Listen(At("127.0.0.1", 0));
  node.PutCluster("db", PortOf(app)).PutCluster("web", PortOf(web));
  l7::Chain chain = TcpTo("db");
  chain.set_protocol(l7::Chain::SNIFF);
  l7::VirtualHost& host = *chain.mutable_http()->add_hosts();
  host.add_domains("*");
  host.add_routes()->mutable_forward()->add_clusters()->set_cluster("web");
  const SocketAddress gate = Open(chain);
  TlsPeer browser(Connect(gate), ca, "gate.test");
  ASSERT_TRUE(browser.Say("GET /a HTTP/1.1\r\nhost: gate.test\r\n\r\n"));
  const UniqueFd asked = Accept(web);
  ASSERT_TRUE(asked);
  EXPECT_EQ(ReadN(asked, 15), "GET /a HTTP/1.1");
  ASSERT_TRUE(SendAll(asked, "HTTP/1.1 204 No Content\r\n\r\n"));
  EXPECT_EQ(browser.Hear(23), "HTTP/1.1 204 No Content");
  TlsPeer shell(Connect(gate), ca, "gate.test");
  ASSERT_TRUE(shell.Say("SSH-2.0-x\r\n"));
  const UniqueFd other = Accept(app);
  ASSERT_TRUE(other);
  EXPECT_EQ(ReadN(other, 11), "SSH-2.0-x\r\n");
}

TEST_F(TlsListenerTest, WhoeverMustProveThemselvesReachesNobodyWithout) {
  node.PutCluster("db", PortOf(app));
  const SocketAddress gate = Open(TcpTo("db"), true);
  TlsPeer nobody(Connect(gate), ca, "gate.test");
  // TLS 1.3 clients are up before they are refused.
  nobody.Say("secret");
  EXPECT_EQ(nobody.Hear(1), "");
  const Svid svid = ca.Issue(SvidOptions{.uris = {}, .dns_names = {"client.test"}});
  TlsPeer member(Connect(gate), ca, "gate.test", &svid);
  ASSERT_TRUE(member.Say("known"));
  // The first who got through to the server.
  const UniqueFd server = Accept(app);
  ASSERT_TRUE(server);
  EXPECT_EQ(ReadN(server, 5), "known");
}

TEST_F(TlsListenerTest, WhatIsTakenOffMayBePutOnAgain) {
  l7::Cluster cluster;
  cluster.set_name("db");
  cluster.set_service_hostname("db.test");
  cluster.mutable_tls()->set_ca(ca.roots());
  node.PutCluster("db", PortOf(app)).Put(ResourceType::kCluster, "db", cluster);
  const SocketAddress gate = Open(TcpTo("db"));
  auto served = std::async(std::launch::async, [&] {
    TlsPeer server(Accept(app), ca.Issue(SvidOptions{.uris = {}, .dns_names = {"db.test"}}));
    const std::string heard = server.Hear(4);
    server.Say(server.asked_for());
    return heard;
  });
  TlsPeer client(Connect(gate), ca, "gate.test");
  ASSERT_TRUE(client.Say("ping"));
  // The name that the client asked for is the gate's; whose the server is, the cluster says.
  EXPECT_EQ(client.Hear(7), "db.test");
  EXPECT_EQ(served.get(), "ping");
}

}  // namespace
}  // namespace weft::test
