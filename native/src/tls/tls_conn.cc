#include "tls/tls_conn.h"

#include <openssl/err.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "tls/svid.h"

namespace weft {
namespace {

enum AlertDescription : uint8_t {
  kCloseNotify = 0,
  kUnexpectedMessage = 10,
  kBadRecordMac = 20,
  kRecordOverflow = 22,
  kInternalAlert = 80,
};
enum HandshakeType : uint8_t { kNewSessionTicket = 4, kKeyUpdate = 24 };

// AES-GCM keys are good for 2^24.5 records (RFC 8446 section 5.5).
constexpr uint64_t kRecordsPerKey = 1 << 24;
// A KeyUpdate costs us some hashes; more than these and one per received MiB is an attack.
constexpr uint64_t kKeyUpdatesFree = 16;
// Session tickets are a few hundred bytes; nothing else may come.
constexpr size_t kMaxHandshakeMessage = 64 * 1024;

size_t RecordBytes(std::span<const uint8_t> header) {
  return kRecordHeaderBytes + static_cast<size_t>(header[3] << 8 | header[4]);
}

size_t SealedBytes(size_t plain) {
  const size_t records = (plain + kRecordPlainBytes - 1) / kRecordPlainBytes;
  return plain + records * (kRecordHeaderBytes + 1 + kRecordTagBytes);
}

std::vector<uint8_t> FromHex(std::string_view hex) {
  std::vector<uint8_t> bytes(hex.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
    bytes[i] = static_cast<uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  }
  return bytes;
}

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
    self->refusal_ = std::string("peer certificate: ") + X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
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
  // The handshake has asked these very roots.
  if (peer_ && &context == context_.get()) return true;
  const std::unique_ptr<X509_STORE_CTX, OpenSslFree<X509_STORE_CTX_free>> store(X509_STORE_CTX_new());
  X509_STORE* roots = SSL_CTX_get_cert_store(context.client.get());
  if (!store || X509_STORE_CTX_init(store.get(), roots, peer_leaf_.get(), peer_chain_.get()) != 1) return false;
  X509_STORE_CTX_set_default(store.get(), is_client_ ? "ssl_server" : "ssl_client");
  // Who the peer is was proven when it showed its certificate; that this has expired since says nothing against it.
  X509_STORE_CTX_set_flags(store.get(), X509_V_FLAG_NO_CHECK_TIME);
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

void TlsConn::OnKeyLog(const SSL* ssl, const char* line) {
  auto* self = static_cast<TlsConn*>(SSL_get_app_data(ssl));
  const std::string_view text(line);
  const size_t at = text.rfind(' ');
  if (at == std::string_view::npos) return;
  if (text.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) self->client_secret_ = FromHex(text.substr(at + 1));
  if (text.starts_with("SERVER_TRAFFIC_SECRET_0 ")) self->server_secret_ = FromHex(text.substr(at + 1));
}

Status TlsConn::TakeOver() {
  const auto suite = static_cast<uint16_t>(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl_.get())));
  read_key_ = RecordKey::Create(suite, std::move(is_client_ ? server_secret_ : client_secret_));
  write_key_ = RecordKey::Create(suite, std::move(is_client_ ? client_secret_ : server_secret_));
  if (!read_key_ || !write_key_) return Error{EPROTO, "TLS: no keys for the negotiated suite"};
  ssl_.reset();
  expected_ = {};
  return Ok{};
}

// ---- records ------------------------------------------------------------------------------------------------------

Status TlsConn::Feed(std::span<uint8_t> wire, Buffer& out, PlainSink& sink) {
  received_ += wire.size();
  if (!established_) {
    wire_ = wire;
    out_ = &out;
    if (Status status = Handshake(); !status || !established_) return status;
    // OpenSSL reads record by record, so what it left begins with a record of ours.
    wire = std::exchange(wire_, {});
    if (Status status = TakeOver(); !status) return status;
  }
  completed_ = {};
  if (Status status = FeedPartial(wire, out, sink); !status) return status;
  if (Status status = FeedRecords(wire, out, sink); !status) return status;
  if (!wire.empty()) partial_.assign(wire.begin(), wire.end());
  return Ok{};
}

Status TlsConn::FeedPartial(std::span<uint8_t>& wire, Buffer& out, PlainSink& sink) {
  const auto take_up_to = [&](size_t size) {
    const size_t n = std::min(size - partial_.size(), wire.size());
    partial_.insert(partial_.end(), wire.begin(), wire.begin() + static_cast<ptrdiff_t>(n));
    wire = wire.subspan(n);
    return partial_.size() == size;
  };
  if (partial_.empty()) return Ok{};
  if (partial_.size() < kRecordHeaderBytes && !take_up_to(kRecordHeaderBytes)) return Ok{};
  const size_t whole = RecordBytes(partial_);
  if (whole > kRecordHeaderBytes + kMaxRecordBytes) return Alert(kRecordOverflow, "record too large", out);
  if (!take_up_to(whole)) return Ok{};
  completed_ = std::exchange(partial_, {});
  return FeedRecord(completed_, out, sink);
}

Status TlsConn::FeedRecords(std::span<uint8_t>& wire, Buffer& out, PlainSink& sink) {
  while (partial_.empty() && wire.size() >= kRecordHeaderBytes && !peer_closed_) {
    const size_t whole = RecordBytes(wire);
    if (whole > kRecordHeaderBytes + kMaxRecordBytes) return Alert(kRecordOverflow, "record too large", out);
    if (wire.size() < whole) break;
    const std::span<uint8_t> record = wire.first(whole);
    wire = wire.subspan(whole);
    if (Status status = FeedRecord(record, out, sink); !status) return status;
  }
  if (peer_closed_) wire = {};
  return Ok{};
}

Status TlsConn::FeedRecord(std::span<uint8_t> record, Buffer& out, PlainSink& sink) {
  if (record[0] != static_cast<uint8_t>(ContentType::kApplicationData)) {
    return Alert(kUnexpectedMessage, "unprotected record", out);
  }
  ContentType type{};
  std::span<uint8_t> plain;
  if (!read_key_->Open(record, &type, &plain)) {
    ERR_clear_error();
    return Alert(kBadRecordMac, "record does not verify", out);
  }
  switch (type) {
    case ContentType::kApplicationData:
      if (!plain.empty()) sink.OnPlain(plain);
      return Ok{};
    case ContentType::kHandshake:
      return OnHandshakeMessage(plain, out);
    case ContentType::kAlert:
      if (plain.size() != 2) return Alert(kUnexpectedMessage, "malformed alert", out);
      if (plain[1] != kCloseNotify) {
        return Error{EPROTO, std::string("TLS alert of the peer: ") + SSL_alert_desc_string_long(plain[1])};
      }
      peer_closed_ = true;
      return Ok{};
    default:
      return Alert(kUnexpectedMessage, "unexpected record", out);
  }
}

Status TlsConn::OnHandshakeMessage(std::span<const uint8_t> bytes, Buffer& out) {
  handshake_.insert(handshake_.end(), bytes.begin(), bytes.end());
  while (handshake_.size() >= 4) {
    const size_t length = static_cast<size_t>(handshake_[1] << 16 | handshake_[2] << 8 | handshake_[3]);
    if (length > kMaxHandshakeMessage) return Alert(kUnexpectedMessage, "oversized handshake message", out);
    if (handshake_.size() < 4 + length) return Ok{};
    const uint8_t type = handshake_[0];
    const uint8_t request = length > 0 ? handshake_[4] : 0;
    handshake_.erase(handshake_.begin(), handshake_.begin() + static_cast<ptrdiff_t>(4 + length));
    if (type == kNewSessionTicket && is_client_) continue;  // we never resume
    if (type != kKeyUpdate || length != 1 || request > 1 || !handshake_.empty()) {
      return Alert(kUnexpectedMessage, "unexpected handshake message", out);
    }
    if (++key_updates_ > kKeyUpdatesFree + (received_ >> 20)) {
      return Alert(kUnexpectedMessage, "too many key updates", out);
    }
    if (!read_key_->Update()) return Alert(kInternalAlert, "key update", out);
    if (request == 1) {
      if (Status status = UpdateWriteKey(out); !status) return status;
    }
  }
  if (handshake_.empty()) handshake_ = {};
  return Ok{};
}

Status TlsConn::UpdateWriteKey(Buffer& out) {
  constexpr uint8_t kMessage[] = {kKeyUpdate, 0, 0, 1, 0};
  if (!write_key_->Seal(ContentType::kHandshake, kMessage, out) || !write_key_->Update()) return Fail("TLS key update");
  return Ok{};
}

Status TlsConn::Alert(uint8_t description, const char* detail, Buffer& out) {
  const uint8_t alert[] = {2, description};
  if (write_key_) write_key_->Seal(ContentType::kAlert, alert, out);
  return Error{EPROTO, std::string("TLS: ") + detail};
}

Status TlsConn::Seal(std::span<const uint8_t> plain, Buffer& out) {
  // Once for all records: growing one by one would copy what is sealed already.
  out.Reserve(SealedBytes(plain.size()));
  while (!plain.empty()) {
    if (write_key_->sequence() >= kRecordsPerKey) {
      if (Status status = UpdateWriteKey(out); !status) return status;
    }
    const auto piece = plain.first(std::min(plain.size(), kRecordPlainBytes));
    plain = plain.subspan(piece.size());
    if (!write_key_->Seal(ContentType::kApplicationData, piece, out)) return Fail("TLS write");
  }
  return Ok{};
}

void TlsConn::SealClose(Buffer& out) {
  constexpr uint8_t kAlert[] = {1, kCloseNotify};
  if (write_key_) write_key_->Seal(ContentType::kAlert, kAlert, out);
}

}  // namespace weft
