#include "tls/tls_conn.h"

#include <openssl/err.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "tls/svid.h"

namespace weft {
namespace {

constexpr size_t kRecordPlainBytes = 16384;

}  // namespace

const BIO_METHOD* TlsConn::WireBio() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft wire");
    BIO_meth_set_read_ex(made, BioRead);
    BIO_meth_set_write_ex(made, BioWrite);
    BIO_meth_set_ctrl(made, BioControl);
    return made;
  }();
  return method;
}

int TlsConn::BioRead(BIO* bio, char* into, size_t n, size_t* read) {
  auto* self = static_cast<TlsConn*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *read = std::min(n, self->wire_.size());
  if (*read == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  std::memcpy(into, self->wire_.data(), *read);
  self->wire_ = self->wire_.subspan(*read);
  return 1;
}

int TlsConn::BioWrite(BIO* bio, const char* bytes, size_t n, size_t* written) {
  auto* self = static_cast<TlsConn*>(BIO_get_data(bio));
  self->out_->Append({reinterpret_cast<const uint8_t*>(bytes), n});
  *written = n;
  return 1;
}

long TlsConn::BioControl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

Result<std::unique_ptr<TlsConn>> TlsConn::Client(std::shared_ptr<const IdentityContext> context,
                                                 std::vector<std::string> expected) {
  SSL_CTX* ctx = context->client.get();
  std::unique_ptr<TlsConn> conn(new TlsConn(std::move(context), true, std::move(expected)));
  return Create(std::move(conn), ctx);
}

Result<std::unique_ptr<TlsConn>> TlsConn::Server(std::shared_ptr<const IdentityContext> context) {
  SSL_CTX* ctx = context->server.get();
  std::unique_ptr<TlsConn> conn(new TlsConn(std::move(context), false, {}));
  return Create(std::move(conn), ctx);
}

Result<std::unique_ptr<TlsConn>> TlsConn::Create(std::unique_ptr<TlsConn> conn, SSL_CTX* ctx) {
  conn->ssl_.reset(SSL_new(ctx));
  BIO* bio = BIO_new(WireBio());
  if (!conn->ssl_ || bio == nullptr) return Error{ENOMEM, "SSL_new: " + TakeOpenSslErrors()};
  BIO_set_data(bio, conn.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(conn->ssl_.get(), bio, bio);
  SSL_set_app_data(conn->ssl_.get(), conn.get());
  if (conn->is_client_) {
    SSL_set_connect_state(conn->ssl_.get());
  } else {
    SSL_set_accept_state(conn->ssl_.get());
  }
  return conn;
}

int TlsConn::VerifyPeer(X509_STORE_CTX* store, void*) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* self = static_cast<TlsConn*>(SSL_get_app_data(ssl));
  if (X509_verify_cert(store) != 1) {
    self->refusal_ =
        std::string("peer certificate: ") + X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    return 0;
  }
  X509* leaf = X509_STORE_CTX_get0_cert(store);
  if (self->CheckIdentity(leaf)) {
    X509_up_ref(leaf);
    self->peer_leaf_.reset(leaf);
    self->peer_chain_.reset(X509_chain_up_ref(X509_STORE_CTX_get0_untrusted(store)));
    return 1;
  }
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

bool TlsConn::CheckIdentity(X509* leaf) {
  Result<SpiffeId> id = IdentityOf(leaf);
  if (!id) {
    refusal_ = id.error().what;
    return false;
  }
  if (is_client_) {
    if (std::find(expected_.begin(), expected_.end(), id->ToUri()) == expected_.end()) {
      refusal_ = "peer is " + id->ToUri() + ", expected " + (expected_.empty() ? "nobody" : expected_.front());
      return false;
    }
  } else if (id->trust_domain != context_->id.trust_domain) {
    refusal_ = "peer is " + id->ToUri() + ", not of trust domain " + context_->id.trust_domain;
    return false;
  }
  peer_ = std::move(*id);
  return true;
}

bool TlsConn::PeerTrustedBy(const IdentityContext& context) const {
  const std::unique_ptr<X509_STORE_CTX, OpenSslFree<X509_STORE_CTX_free>> store(X509_STORE_CTX_new());
  X509_STORE* roots = SSL_CTX_get_cert_store(context.client.get());
  if (!store || X509_STORE_CTX_init(store.get(), roots, peer_leaf_.get(), peer_chain_.get()) != 1) return false;
  X509_STORE_CTX_set_default(store.get(), is_client_ ? "ssl_server" : "ssl_client");
  const bool trusted = X509_verify_cert(store.get()) == 1;
  ERR_clear_error();
  return trusted;
}

Status TlsConn::Fail(const char* doing) {
  std::string text = std::string(doing) + ": ";
  const std::string errors = TakeOpenSslErrors();
  return Error{EPROTO, text + (refusal_.empty() ? errors : refusal_)};
}

Status TlsConn::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    const unsigned char* alpn = nullptr;
    unsigned int length = 0;
    SSL_get0_alpn_selected(ssl_.get(), &alpn, &length);
    if (length != 2 || std::memcmp(alpn, "h2", 2) != 0) return Error{EPROTO, "TLS: peer did not agree to h2"};
    if (!peer_) return Error{EPROTO, "TLS: peer was not verified"};
    established_ = true;
    return Ok{};
  }
  if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ) return Ok{};
  return Fail("TLS handshake");
}

Status TlsConn::Start(Buffer& out) {
  out_ = &out;
  return Handshake();
}

Status TlsConn::Feed(std::span<uint8_t> wire, Buffer& out, PlainSink& sink) {
  wire_ = wire;
  out_ = &out;
  if (!established_) {
    if (Status status = Handshake(); !status || !established_) return status;
  }
  // The plaintext of one call lies side by side: streams hold on to their parts until the batch ends. A record's
  // plaintext is smaller than the record, and at most one record came in part by an earlier call.
  static thread_local std::vector<uint8_t> plain;
  if (plain.size() < wire.size() + 2 * kRecordPlainBytes) plain.resize(wire.size() + 2 * kRecordPlainBytes);
  uint8_t* at = plain.data();
  while (!peer_closed_) {
    size_t n = 0;
    ERR_clear_error();
    const size_t room = std::min(kRecordPlainBytes, static_cast<size_t>(plain.data() + plain.size() - at));
    const int result = SSL_read_ex(ssl_.get(), at, room, &n);
    if (result == 1) {
      sink.OnPlain({at, n});
      at += n;
      out_ = &out;
      continue;
    }
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return Ok{};
      case SSL_ERROR_ZERO_RETURN:
        peer_closed_ = true;
        return Ok{};
      default:
        return Fail("TLS");
    }
  }
  return Ok{};
}

Status TlsConn::Seal(std::span<const uint8_t> plain, Buffer& out) {
  if (plain.empty()) return Ok{};
  std::span<uint8_t> wire = std::exchange(wire_, {});
  out_ = &out;
  size_t written = 0;
  ERR_clear_error();
  const bool ok = SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &written) == 1 && written == plain.size();
  wire_ = wire;
  if (!ok) return Fail("TLS write");
  return Ok{};
}

void TlsConn::SealClose(Buffer& out) {
  out_ = &out;
  if (established_) SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

}  // namespace weft
