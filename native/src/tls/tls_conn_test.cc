// Two TlsConn against each other, and against OpenSSL's own record layer.
#include "tls/tls_conn.h"

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <random>
#include <thread>

#include "test_ca.h"

namespace weft::test {
namespace {

constexpr char kClient[] = "spiffe://cluster.local/ns/a/sa/client";
constexpr char kServer[] = "spiffe://cluster.local/ns/a/sa/server";

struct Collect final : PlainSink {
  void OnPlain(std::span<const uint8_t> bytes) override { text.append(bytes.begin(), bytes.end()); }
  std::string text;
};

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class TlsConnTest : public testing::Test {
 protected:
  std::shared_ptr<const IdentityContext> Context(const char* identity) {
    const Svid svid = ca.Issue(identity);
    return *IdentityContext::Create(identity, svid.chain, svid.key, ca.roots());
  }
  // Moves ciphertext from one end's output to the other until it is empty, in pieces of `step` bytes.
  static bool Move(Buffer& from, TlsConn& to, Buffer& to_out, Collect& sink, size_t step = SIZE_MAX) {
    while (!from.empty()) {
      const size_t n = std::min(step, from.size());
      if (!to.Feed(from.bytes().first(n), to_out, sink)) return false;
      from.Consume(n);
    }
    return true;
  }
  void Handshake(size_t step = SIZE_MAX) {
    if (!client_context) client_context = Context(kClient);
    client = std::move(*TlsConn::Client(client_context, {kServer}));
    server = std::move(*TlsConn::Server(Context(kServer)));
    ASSERT_TRUE(client->Start(client_out));
    while (!client_out.empty() || !server_out.empty()) {
      ASSERT_TRUE(Move(client_out, *server, server_out, at_server, step));
      ASSERT_TRUE(Move(server_out, *client, client_out, at_client, step));
    }
    ASSERT_TRUE(client->established());
    ASSERT_TRUE(server->established());
  }

  TestCa ca;
  std::shared_ptr<const IdentityContext> client_context;
  BufferPool pool;
  Buffer client_out{pool};
  Buffer server_out{pool};
  Collect at_client;
  Collect at_server;
  std::unique_ptr<TlsConn> client;
  std::unique_ptr<TlsConn> server;
};

TEST_F(TlsConnTest, BothEndsKnowEachOther) {
  Handshake();
  EXPECT_EQ(client->peer().ToUri(), kServer);
  EXPECT_EQ(server->peer().ToUri(), kClient);
}

TEST_F(TlsConnTest, APeerStaysTrustedWhenItsCertificateExpiresAndNotWithoutItsAuthority) {
  constexpr int kLifeSeconds = 3;
  const Svid brief =
      ca.Issue(SvidOptions{.uris = {kClient}, .dns_names = {}, .not_before_s = -100, .not_after_s = kLifeSeconds});
  const std::time_t expired = std::time(nullptr) + kLifeSeconds;
  client_context = *IdentityContext::Create(kClient, brief.chain, brief.key, ca.roots());
  Handshake();
  while (std::time(nullptr) <= expired) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(server->PeerTrustedBy(*Context(kServer)));
  const TestCa other;
  const Svid svid = other.Issue(kServer);
  EXPECT_FALSE(server->PeerTrustedBy(**IdentityContext::Create(kServer, svid.chain, svid.key, other.roots())));
}

TEST_F(TlsConnTest, BytesOfAnySizeArriveInPiecesOfAnySize) {
  Handshake(7);
  std::mt19937 random(1);
  std::string sent;
  for (int i = 0; i < 60; ++i) {
    const std::string text(random() % 40'000, static_cast<char>('a' + i % 26));
    ASSERT_TRUE(client->Seal(Bytes(text), client_out));
    sent += text;
    ASSERT_TRUE(Move(client_out, *server, server_out, at_server, 1 + random() % 20'000));
  }
  EXPECT_TRUE(at_server.text == sent);
  ASSERT_TRUE(client->Seal(Bytes("one byte at a time"), client_out));
  at_server.text.clear();
  ASSERT_TRUE(Move(client_out, *server, server_out, at_server, 1));
  EXPECT_EQ(at_server.text, "one byte at a time");
}

TEST_F(TlsConnTest, AChangedRecordIsRefusedWithAnAlert) {
  Handshake();
  ASSERT_TRUE(client->Seal(Bytes("hello"), client_out));
  client_out.data()[client_out.size() - 1] ^= 1;
  EXPECT_FALSE(Move(client_out, *server, server_out, at_server));
  EXPECT_EQ(at_server.text, "");
  client_out.Clear();
  const Status status = client->Feed(server_out.bytes(), client_out, at_client);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().what.find("bad record mac"), std::string::npos) << status.error().what;
}

TEST_F(TlsConnTest, AReplayedRecordIsRefused) {
  Handshake();
  ASSERT_TRUE(client->Seal(Bytes("pay"), client_out));
  std::vector<uint8_t> copy(client_out.bytes().begin(), client_out.bytes().end());
  ASSERT_TRUE(Move(client_out, *server, server_out, at_server));
  EXPECT_FALSE(server->Feed(copy, server_out, at_server));
}

TEST_F(TlsConnTest, AnOversizedRecordIsRefusedBeforeItHasCome) {
  Handshake();
  uint8_t header[] = {23, 3, 3, 0xff, 0xff};
  EXPECT_FALSE(server->Feed(header, server_out, at_server));
}

TEST_F(TlsConnTest, PlaintextAfterTheHandshakeIsRefused) {
  Handshake();
  uint8_t record[] = {21, 3, 3, 0, 2, 1, 0};
  EXPECT_FALSE(server->Feed(record, server_out, at_server));
  EXPECT_FALSE(server->peer_closed());
}

TEST_F(TlsConnTest, CloseNotifyEndsInOrder) {
  Handshake();
  client->SealClose(client_out);
  ASSERT_TRUE(Move(client_out, *server, server_out, at_server));
  EXPECT_TRUE(server->peer_closed());
}

// A peer whose record layer is OpenSSL's.
class OpenSslPeerTest : public TlsConnTest {
 protected:
  void Connect(const char* suite, int tickets) {
    const std::shared_ptr<const IdentityContext> context = Context(kServer);
    peer_context = context;
    ssl.reset(SSL_new(context->server.get()));
    SSL_set_app_data(ssl.get(), scratch.get());
    SSL_set_ciphersuites(ssl.get(), suite);
    SSL_set_num_tickets(ssl.get(), static_cast<size_t>(tickets));
    SSL_clear_options(ssl.get(), SSL_OP_NO_TICKET);
    to_peer = BIO_new(BIO_s_mem());
    from_peer = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl.get(), to_peer, from_peer);
    SSL_set_accept_state(ssl.get());
    if (!client_context) client_context = Context(kClient);
    client = std::move(*TlsConn::Client(client_context, {kServer}));
    ASSERT_TRUE(client->Start(client_out));
    for (int i = 0; i < 4; ++i) Exchange();
    ASSERT_TRUE(client->established());
  }
  void Exchange() {
    BIO_write(to_peer, client_out.data(), static_cast<int>(client_out.size()));
    client_out.Clear();
    if (SSL_is_init_finished(ssl.get()) == 0) {
      SSL_do_handshake(ssl.get());
    } else {
      char block[65536];
      for (int n; (n = SSL_read(ssl.get(), block, sizeof block)) > 0;) at_peer.append(block, static_cast<size_t>(n));
    }
    char* data = nullptr;
    const long n = BIO_get_mem_data(from_peer, &data);
    std::vector<uint8_t> wire(data, data + n);
    BIO_reset(from_peer);
    ASSERT_TRUE(client->Feed(wire, client_out, at_client));
  }

  // SSL objects of a context of ours need a TlsConn to verify for.
  std::unique_ptr<TlsConn> scratch = std::move(*TlsConn::Server(Context(kServer)));
  std::shared_ptr<const IdentityContext> peer_context;
  SslPtr ssl;
  BIO* to_peer = nullptr;
  BIO* from_peer = nullptr;
  std::string at_peer;
};

TEST_F(OpenSslPeerTest, BothSuitesTicketsAndKeyUpdates) {
  for (const char* suite : {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}) {
    at_client.text.clear();
    at_peer.clear();
    Connect(suite, 2);
    const std::string text(50'000, 'x');
    for (int i = 0; i < 10; ++i) {
      ASSERT_EQ(SSL_write(ssl.get(), text.data(), static_cast<int>(text.size())), static_cast<int>(text.size()));
      ASSERT_TRUE(client->Seal(Bytes(text), client_out));
      // The peer changes its key and asks for a change of ours.
      if (i % 3 == 1) ASSERT_EQ(SSL_key_update(ssl.get(), SSL_KEY_UPDATE_REQUESTED), 1);
      Exchange();
    }
    Exchange();
    EXPECT_EQ(at_client.text.size(), 10 * text.size()) << suite;
    EXPECT_EQ(at_peer.size(), 10 * text.size()) << suite;
  }
}

TEST_F(OpenSslPeerTest, AFloodOfKeyUpdatesEnds) {
  Connect("TLS_AES_128_GCM_SHA256", 0);
  bool ok = true;
  for (int i = 0; i < 100 && ok; ++i) {
    SSL_key_update(ssl.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_write(ssl.get(), "x", 1);
    char* data = nullptr;
    const long n = BIO_get_mem_data(from_peer, &data);
    std::vector<uint8_t> wire(data, data + n);
    BIO_reset(from_peer);
    ok = static_cast<bool>(client->Feed(wire, client_out, at_client));
  }
  EXPECT_FALSE(ok);
}

}  // namespace
}  // namespace weft::test
