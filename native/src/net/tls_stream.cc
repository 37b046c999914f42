#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/transport.h"
#include "tls/identity_context.h"
#include "tls/openssl_ptr.h"

namespace weft {

struct TlsServerConfig {
  SslCtxPtr context;
  std::vector<uint8_t> alpn;  // wire form, in our order of preference
};
struct TlsClientConfig {
  SslCtxPtr context;
  std::vector<std::string> names;
  bool skip_verify = false;
};

namespace {

// From the first byte to the end of the handshake: half-open peers cost a bounded time.
constexpr uint64_t kHandshakeMs = 10'000;
constexpr size_t kReadBytes = 64 * 1024;

Error OpenSslError(const char* doing) { return Error{EPROTO, std::string(doing) + ": " + TakeOpenSslErrors()}; }

BioPtr Memory(const std::string& text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

Status UseCertificate(SSL_CTX* context, const std::string& chain, const std::string& key) {
  const BioPtr chain_bio = Memory(chain), key_bio = Memory(key);
  const X509Ptr leaf(PEM_read_bio_X509(chain_bio.get(), nullptr, nullptr, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) return OpenSslError("certificate");
  while (X509* each = PEM_read_bio_X509(chain_bio.get(), nullptr, nullptr, nullptr)) {
    if (SSL_CTX_add0_chain_cert(context, each) != 1) {
      X509_free(each);
      return OpenSslError("certificate chain");
    }
  }
  ERR_clear_error();
  const EvpKeyPtr private_key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (!private_key || SSL_CTX_use_PrivateKey(context, private_key.get()) != 1) return OpenSslError("private key");
  if (SSL_CTX_check_private_key(context) != 1) return OpenSslError("private key does not fit the certificate");
  return Ok{};
}

Status TrustRoots(SSL_CTX* context, const std::string& roots) {
  const BioPtr bio = Memory(roots);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  size_t n = 0;
  while (X509* each = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    const X509Ptr root(each);
    if (X509_STORE_add_cert(store, root.get()) != 1) return OpenSslError("CA certificate");
    ++n;
  }
  ERR_clear_error();
  if (n == 0) return Error{EINVAL, "CA: no certificate in it"};
  return Ok{};
}

// From here on a certificate is good only if a list says that it is not revoked.
Status Revoke(SSL_CTX* context, const std::string& lists) {
  const BioPtr bio = Memory(lists);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  size_t n = 0;
  while (X509_CRL* each = PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr)) {
    const X509CrlPtr list(each);
    if (X509_STORE_add_crl(store, list.get()) != 1) return OpenSslError("revocation list");
    ++n;
  }
  ERR_clear_error();
  if (n == 0) return Error{EINVAL, "no revocation list in the text of one"};
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  return Ok{};
}

SslCtxPtr NewContext(const SSL_METHOD* method, int min_version) {
  SslCtxPtr context(SSL_CTX_new(method));
  if (!context) return context;
  SSL_CTX_set_min_proto_version(context.get(), min_version);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  return context;
}

std::vector<uint8_t> AlpnWire(const std::vector<std::string>& protocols) {
  std::vector<uint8_t> wire;
  for (const std::string& each : protocols) {
    if (each.empty() || each.size() > 255) continue;
    wire.push_back(static_cast<uint8_t>(each.size()));
    wire.insert(wire.end(), each.begin(), each.end());
  }
  return wire;
}

int SelectAlpn(SSL*, const uint8_t** out, uint8_t* out_bytes, const uint8_t* offered, unsigned int n, void* config) {
  const auto& alpn = static_cast<const TlsServerConfig*>(config)->alpn;
  uint8_t* selected = nullptr;
  if (SSL_select_next_proto(&selected, out_bytes, alpn.data(), static_cast<unsigned int>(alpn.size()), offered, n) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

// The SPIFFE id of a certificate that was verified; empty: none. An SVID has one URI and no second one.
std::string SpiffeIdOf(X509* leaf) {
  const GeneralNamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  std::string id;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    if (!id.empty()) return {};
    const auto* bytes = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier));
    id.assign(bytes, static_cast<size_t>(ASN1_STRING_length(name->d.uniformResourceIdentifier)));
    if (!id.starts_with("spiffe://") || id.find('\0') != std::string::npos) return {};
  }
  return id;
}

// One of the names is in the certificate: DNS names by OpenSSL's rules, URIs to the letter.
bool HasName(X509* leaf, const std::vector<std::string>& names) {
  for (const std::string& each : names) {
    if (each.empty()) continue;  // nobody's name
    if (each.find("://") == std::string::npos) {
      if (X509_check_host(leaf, each.data(), each.size(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1)
        return true;
      if (X509_check_ip_asc(leaf, each.c_str(), 0) == 1) return true;
      continue;
    }
    const GeneralNamesPtr sans(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; sans && i < sk_GENERAL_NAME_num(sans.get()); ++i) {
      const GENERAL_NAME* name = sk_GENERAL_NAME_value(sans.get(), i);
      if (name->type != GEN_URI) continue;
      const auto* bytes = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier));
      const auto n = static_cast<size_t>(ASN1_STRING_length(name->d.uniformResourceIdentifier));
      if (std::string_view(bytes, n) == each) return true;
    }
  }
  return false;
}

// TLS over another stream. OpenSSL works on two memory BIOs; what it makes goes straight into the stream below.
class TlsStream final : public ByteStream, private ByteStream::Handler {
 public:
  // `config`: what OpenSSL's call-backs look at; it may be replaced by its owner while a handshake is going on.
  TlsStream(LoopContext& context, std::unique_ptr<ByteStream> below, std::shared_ptr<const void> config, SslPtr ssl,
            std::vector<std::string> names, bool verify_names)
      : context_(context),
        below_(std::move(below)),
        config_(std::move(config)),
        ssl_(std::move(ssl)),
        names_(std::move(names)),
        verify_names_(verify_names),
        out_(context.buffers),
        timer_([this] { Down(StreamEnd::kTimeout, "TLS handshake timed out"); }),
        flush_task_([this] { Flush(); }),
        report_task_([this] { Report(); }),
        read_task_([this] { Pump(); }) {
    in_bio_ = BIO_new(BIO_s_mem());
    out_bio_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_.get(), in_bio_, out_bio_);
    info_ = below_->info();
    below_->set_handler(this);
  }

  Status Begin() override {
    context_.loop.Arm(timer_, kHandshakeMs);
    if (Status status = below_->Begin(); !status) return status;
    // An accepted stream is up; a client's says so later.
    if (SSL_is_server(ssl_.get()) == 0 && below_->info().local.port != 0) Handshake();
    return Ok{};
  }
  void Write(std::span<const uint8_t> bytes) override {
    if (down_ || finish_wanted_) return;
    out_.Append(bytes);
    WriteSoon();
  }
  Buffer& out() override { return out_; }
  void WriteSoon() override {
    if (!down_) context_.loop.AtEndOfTurn(flush_task_);
  }
  size_t WriteRoom() const override {
    const size_t room = below_->WriteRoom();
    if (room == 0 || out_.size() >= room) {
      blocked_ = true;
      return 0;
    }
    return room - out_.size();
  }
  void PauseReads() override {
    paused_ = true;
    below_->PauseReads();
  }
  void ResumeReads() override {
    paused_ = false;
    below_->ResumeReads();
    if (!down_) context_.loop.NextTurn(read_task_);
  }
  void FinishWrites() override {
    finish_wanted_ = true;
    WriteSoon();
  }
  void Close() override {
    if (down_) return;
    finish_wanted_ = true;
    Flush();
    if (!down_) below_->Close();
  }
  void Abort() override {
    handler_ = nullptr;
    Down(StreamEnd::kAborted, {});
  }

 private:
  void OnStreamUp() override {
    info_.local = below_->info().local;
    Handshake();
  }
  void OnBytes(std::span<const uint8_t> bytes) override {
    if (down_) return;
    BIO_write(in_bio_, bytes.data(), static_cast<int>(bytes.size()));
    if (!up_) Handshake();
    if (up_) Pump();
  }
  void OnReadEnd() override {
    if (down_) return;
    if (!up_) return Down(StreamEnd::kTlsError, "the peer closed during the TLS handshake");
    below_ended_ = true;
    // Records may still wait for whoever paused.
    Pump();
  }
  void OnWritable() override { Flush(); }
  void OnStreamDown(StreamEnd end, std::string_view detail) override {
    if (!up_ && end != StreamEnd::kRefused && end != StreamEnd::kTimeout) end = StreamEnd::kTlsError;
    Down(end, std::string(detail));
  }

  void Handshake() {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    Drain();
    if (result != 1) {
      const int error = SSL_get_error(ssl_.get(), result);
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
      const long verify = SSL_get_verify_result(ssl_.get());
      std::string why = TakeOpenSslErrors();
      if (verify != X509_V_OK) why += std::string("; ") + X509_verify_cert_error_string(verify);
      return Down(StreamEnd::kTlsError, std::move(why));
    }
    timer_.Disarm();
    X509* const leaf = SSL_get0_peer_certificate(ssl_.get());
    if (verify_names_ && (leaf == nullptr || !HasName(leaf, names_))) {
      return Down(StreamEnd::kTlsError, "the certificate has none of the names that were expected");
    }
    up_ = true;
    info_.tls = true;
    const uint8_t* alpn = nullptr;
    unsigned int n = 0;
    SSL_get0_alpn_selected(ssl_.get(), &alpn, &n);
    info_.alpn.assign(reinterpret_cast<const char*>(alpn), n);
    if (const char* sni = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name)) info_.sni = sni;
    if (leaf != nullptr && SSL_get_verify_result(ssl_.get()) == X509_V_OK) info_.peer_identity = SpiffeIdOf(leaf);
    if (handler_ != nullptr) handler_->OnStreamUp();
    if (!down_) WriteSoon();
  }

  void Pump() {
    if (!up_) return;
    while (!down_ && !paused_) {
      uint8_t bytes[16 * 1024];
      ERR_clear_error();
      const int n = SSL_read(ssl_.get(), bytes, sizeof bytes);
      if (n > 0) {
        if (handler_ != nullptr) handler_->OnBytes({bytes, static_cast<size_t>(n)});
        continue;
      }
      const int error = SSL_get_error(ssl_.get(), n);
      Drain();
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        // Without close_notify the end may be an attacker's: bodies that end with the connection are not whole then.
        if (below_ended_) Down(StreamEnd::kReset, "the peer closed without TLS close_notify");
        return;
      }
      if (error == SSL_ERROR_ZERO_RETURN) {
        if (std::exchange(peer_closed_, true)) return;
        if (handler_ != nullptr) handler_->OnReadEnd();
        return;
      }
      return Down(StreamEnd::kTlsError, TakeOpenSslErrors());
    }
  }

  // What OpenSSL has made for the peer.
  void Drain() {
    char* bytes = nullptr;
    const long n = BIO_get_mem_data(out_bio_, &bytes);
    if (n <= 0) return;
    below_->Write({reinterpret_cast<const uint8_t*>(bytes), static_cast<size_t>(n)});
    [[maybe_unused]] const int emptied = BIO_reset(out_bio_);
  }

  void Flush() {
    if (down_ || !up_) return;
    while (!out_.empty()) {
      const size_t n = std::min(out_.size(), kReadBytes);
      ERR_clear_error();
      if (SSL_write(ssl_.get(), out_.data(), static_cast<int>(n)) <= 0) {
        return Down(StreamEnd::kTlsError, TakeOpenSslErrors());
      }
      out_.Consume(n);
    }
    if (finish_wanted_ && !std::exchange(finished_, true)) {
      SSL_shutdown(ssl_.get());
      Drain();
      below_->FinishWrites();
      return;
    }
    Drain();
    Unblock();
  }

  // What was in the way may have been our own buffer, of which the stream below knows nothing.
  void Unblock() {
    if (down_ || !blocked_ || handler_ == nullptr || below_->WriteRoom() == 0) return;
    blocked_ = false;
    handler_->OnWritable();
  }

  void Down(StreamEnd end, std::string detail) {
    if (down_) return;
    down_ = true;
    end_ = end;
    detail_ = std::move(detail);
    timer_.Disarm();
    flush_task_.Cancel();
    read_task_.Cancel();
    Drain();
    // An alert tells the peer why; then nothing.
    below_->set_handler(nullptr);
    if (end == StreamEnd::kTlsError) {
      below_->Close();
    } else {
      below_->Abort();
    }
    context_.loop.NextTurn(report_task_);
  }
  void Report() {
    if (handler_ != nullptr) std::exchange(handler_, nullptr)->OnStreamDown(end_, detail_);
  }

  LoopContext& context_;
  std::unique_ptr<ByteStream> below_;
  std::shared_ptr<const void> config_;
  SslPtr ssl_;
  BIO* in_bio_ = nullptr;   // SSL's
  BIO* out_bio_ = nullptr;  // SSL's
  std::vector<std::string> names_;
  bool verify_names_;
  Buffer out_;
  bool up_ = false;
  bool paused_ = false;
  bool peer_closed_ = false;
  bool below_ended_ = false;
  bool finish_wanted_ = false;
  bool finished_ = false;
  bool down_ = false;
  mutable bool blocked_ = false;
  StreamEnd end_ = StreamEnd::kClosed;
  std::string detail_;
  Timer timer_;
  TurnTask flush_task_;
  TurnTask report_task_;
  TurnTask read_task_;
};

}  // namespace

Result<std::shared_ptr<const TlsServerConfig>> MakeTlsServerConfig(const TlsServerOptions& options) {
  auto config = std::make_shared<TlsServerConfig>();
  config->context = NewContext(TLS_server_method(), options.min_version == 13 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX* const context = config->context.get();
  if (context == nullptr) return OpenSslError("TLS context");
  if (Status status = UseCertificate(context, options.certificate_chain, options.private_key); !status) {
    return status.error();
  }
  if (!options.client_ca.empty()) {
    if (Status status = TrustRoots(context, options.client_ca); !status) return status.error();
    const int required = options.client_certificate_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | required, nullptr);
  }
  // Sessions are resumed by tickets only where nobody's certificate was asked for: what they prove may have been
  // revoked.
  if (!options.client_ca.empty()) {
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  }
  static constexpr unsigned char kSessionContext[] = "weft";
  SSL_CTX_set_session_id_context(context, kSessionContext, sizeof kSessionContext);
  config->alpn = AlpnWire(options.alpn);
  if (!config->alpn.empty()) SSL_CTX_set_alpn_select_cb(context, SelectAlpn, config.get());
  return std::shared_ptr<const TlsServerConfig>(std::move(config));
}

Result<std::shared_ptr<const TlsClientConfig>> MakeTlsClientConfig(const TlsClientOptions& options) {
  auto config = std::make_shared<TlsClientConfig>();
  config->context = NewContext(TLS_client_method(), TLS1_2_VERSION);
  SSL_CTX* const context = config->context.get();
  if (context == nullptr) return OpenSslError("TLS context");
  config->names = options.subject_alt_names;
  config->skip_verify = options.skip_verify;
  if (!options.skip_verify) {
    if (options.ca.empty()) {
      if (SSL_CTX_set_default_verify_paths(context) != 1) return OpenSslError("the system's CA certificates");
    } else if (Status status = TrustRoots(context, options.ca); !status) {
      return status.error();
    }
    if (!options.crl.empty()) {
      if (Status status = Revoke(context, options.crl); !status) return status.error();
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  }
  if (!options.certificate_chain.empty()) {
    if (Status status = UseCertificate(context, options.certificate_chain, options.private_key); !status) {
      return status.error();
    }
  }
  const std::vector<uint8_t> alpn = AlpnWire(options.alpn);
  if (!alpn.empty()) SSL_CTX_set_alpn_protos(context, alpn.data(), static_cast<unsigned int>(alpn.size()));
  return std::shared_ptr<const TlsClientConfig>(std::move(config));
}

std::unique_ptr<ByteStream> MakeTlsServer(LoopContext& context, std::unique_ptr<ByteStream> below,
                                          std::shared_ptr<const TlsServerConfig> config) {
  SslPtr ssl(SSL_new(config->context.get()));
  SSL_set_accept_state(ssl.get());
  return std::make_unique<TlsStream>(context, std::move(below), std::move(config), std::move(ssl),
                                     std::vector<std::string>(), false);
}

std::unique_ptr<ByteStream> MakeTlsClient(LoopContext& context, std::unique_ptr<ByteStream> below,
                                          std::shared_ptr<const TlsClientConfig> config, const std::string& server_name,
                                          const std::string& alpn) {
  SslPtr ssl(SSL_new(config->context.get()));
  SSL_set_connect_state(ssl.get());
  if (!server_name.empty() && !IpAddress::Parse(server_name)) SSL_set_tlsext_host_name(ssl.get(), server_name.c_str());
  if (!alpn.empty()) {
    const std::vector<uint8_t> wire = AlpnWire({alpn});
    SSL_set_alpn_protos(ssl.get(), wire.data(), static_cast<unsigned int>(wire.size()));
  }
  std::vector<std::string> names = config->names;
  if (names.empty()) names.push_back(server_name);
  const bool verify_names = !config->skip_verify;
  return std::make_unique<TlsStream>(context, std::move(below), std::move(config), std::move(ssl), std::move(names),
                                     verify_names);
}

}  // namespace weft
