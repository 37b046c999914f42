#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "policy/spiffe_id.h"
#include "tls/identity_context.h"
#include "tls/openssl_ptr.h"
#include "tls/record_key.h"

namespace weft {

// Takes decrypted bytes. All spans of one Feed stay valid until the bytes given to it go and until the next Feed.
class PlainSink {
 public:
  virtual void OnPlain(std::span<const uint8_t> bytes) = 0;

 protected:
  ~PlainSink() = default;
};

// One end of a mutual TLS 1.3 connection, without a socket: ciphertext in by Feed, ciphertext out into a Buffer.
// Any error is final; the alert for the peer, if there is one, is in the output then. OpenSSL does the handshake and is
// gone afterwards; records are our own from there on (RecordKey).
class TlsConn {
 public:
  // Client. The server's certificate must carry one of `expected`; an empty list refuses every server.
  static Result<std::unique_ptr<TlsConn>> Client(std::shared_ptr<const IdentityContext> context,
                                                 std::vector<std::string> expected);
  // Server. Any client of the context's own trust domain passes.
  static Result<std::unique_ptr<TlsConn>> Server(std::shared_ptr<const IdentityContext> context);

  // Client: produces the ClientHello.
  Status Start(Buffer& out);
  // Takes all of `wire` (and may decrypt in it). Handshake answers go to `out`, plaintext to `sink`.
  Status Feed(std::span<uint8_t> wire, Buffer& out, PlainSink& sink);
  // Encrypts `plain` to the end of `out`. Only after established().
  Status Seal(std::span<const uint8_t> plain, Buffer& out);
  // Appends close_notify.
  void SealClose(Buffer& out);

  bool established() const { return established_; }
  // The peer said that it sends no more.
  bool peer_closed() const { return peer_closed_; }
  // Valid once established.
  const SpiffeId& peer() const { return *peer_; }
  const IdentityContext& context() const { return *context_; }
  // Whether the roots of `context` vouch for the certificate that the peer has shown, even if that has expired since.
  bool PeerTrustedBy(const IdentityContext& context) const;

  // OpenSSL's hook: chain, then SPIFFE id.
  static int VerifyPeer(X509_STORE_CTX* store, void*);
  // OpenSSL's hook: the traffic secrets, as a line of the NSS key log format. They never leave this object.
  static void OnKeyLog(const SSL* ssl, const char* line);

 private:
  TlsConn(std::shared_ptr<const IdentityContext> context, bool is_client, std::vector<std::string> expected)
      : context_(std::move(context)), is_client_(is_client), expected_(std::move(expected)) {}
  static Result<std::unique_ptr<TlsConn>> Create(std::unique_ptr<TlsConn> conn, SSL_CTX* ctx);
  static const BIO_METHOD* WireBio();
  static int BioRead(BIO* bio, char* into, size_t n, size_t* read);
  static int BioWrite(BIO* bio, const char* bytes, size_t n, size_t* written);
  static long BioControl(BIO* bio, int command, long, void*);

  bool CheckIdentity(X509* leaf);
  Status Handshake();
  // Leaves OpenSSL's SSL object for keys of our own.
  Status TakeOver();
  // Takes the whole records at the front of `wire`; what is left is the begin of one.
  Status FeedRecords(std::span<uint8_t>& wire, Buffer& out, PlainSink& sink);
  // Completes the record that an earlier Feed began.
  Status FeedPartial(std::span<uint8_t>& wire, Buffer& out, PlainSink& sink);
  Status FeedRecord(std::span<uint8_t> record, Buffer& out, PlainSink& sink);
  Status OnHandshakeMessage(std::span<const uint8_t> bytes, Buffer& out);
  Status UpdateWriteKey(Buffer& out);
  Status Alert(uint8_t description, const char* detail, Buffer& out);
  Status Fail(const char* doing);

  std::shared_ptr<const IdentityContext> context_;
  bool is_client_;
  std::vector<std::string> expected_;
  SslPtr ssl_;
  std::optional<SpiffeId> peer_;
  X509Ptr peer_leaf_;
  X509ChainPtr peer_chain_;
  std::string refusal_;  // why CheckIdentity said no
  bool established_ = false;
  bool peer_closed_ = false;
  std::vector<uint8_t> client_secret_;
  std::vector<uint8_t> server_secret_;
  std::optional<RecordKey> read_key_;
  std::optional<RecordKey> write_key_;
  std::vector<uint8_t> partial_;    // begin of a record that has not come as a whole
  std::vector<uint8_t> completed_;  // a record of several reads, until the next Feed
  std::vector<uint8_t> handshake_;  // begin of a post-handshake message
  uint64_t key_updates_ = 0;
  uint64_t received_ = 0;
  // Where the BIO reads and writes, during a call only.
  std::span<uint8_t> wire_;
  Buffer* out_ = nullptr;
};

}  // namespace weft
