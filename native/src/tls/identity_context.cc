#include "tls/identity_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <utility>
#include <vector>

#include "tls/svid.h"
#include "tls/tls_conn.h"

namespace weft {
namespace {

constexpr unsigned char kAlpnH2[] = {2, 'h', '2'};
// Both accepted and nothing else, as ztunnel. 128 first: fewer rounds, 2 to 12 % more bytes per second at 16 KiB with
// OpenSSL 3.0 (openssl speed); with the copies around it either is small.
constexpr char kCipherSuites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
// Key shares for the hybrid and for X25519 go out together, so that a peer without ML-KEM costs no extra round trip.
constexpr char kGroups[] = "*X25519MLKEM768:*X25519:P-256";
// Library without ML-KEM (OpenSSL before 3.5).
constexpr char kGroupsClassic[] = "X25519:P-256";

int SelectAlpn(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
               unsigned int in_length, void*) {
  for (unsigned int i = 0; i + 1 <= in_length; i += 1U + in[i]) {
    if (in[i] == 2 && i + 2 < in_length && in[i + 1] == 'h' && in[i + 2] == '2') {
      *out = in + i + 1;
      *out_length = 2;
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

std::vector<X509Ptr> ReadCertificates(const std::string& pem) {
  std::vector<X509Ptr> certificates;
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(certificate);
  }
  ERR_clear_error();  // the end of the text is an error to the reader
  return certificates;
}

struct Material {
  std::vector<X509Ptr> chain;
  std::vector<X509Ptr> roots;
  EvpKeyPtr key;
};

Result<SslCtxPtr> MakeContext(const SSL_METHOD* method, const Material& material) {
  SslCtxPtr ctx(SSL_CTX_new(method));
  if (!ctx) return Error{ENOMEM, "SSL_CTX_new: " + TakeOpenSslErrors()};
  bool ok = SSL_CTX_set_min_proto_version(ctx.get(), TLS1_3_VERSION) == 1 &&
            SSL_CTX_set_ciphersuites(ctx.get(), kCipherSuites) == 1;
  ok = ok &&
       (SSL_CTX_set1_groups_list(ctx.get(), kGroups) == 1 || SSL_CTX_set1_groups_list(ctx.get(), kGroupsClassic) == 1);
  ok = ok && SSL_CTX_use_certificate(ctx.get(), material.chain[0].get()) == 1;
  for (size_t i = 1; ok && i < material.chain.size(); ++i) {
    ok = SSL_CTX_add1_chain_cert(ctx.get(), material.chain[i].get()) == 1;
  }
  ok = ok && SSL_CTX_use_PrivateKey(ctx.get(), material.key.get()) == 1 && SSL_CTX_check_private_key(ctx.get()) == 1;
  X509_STORE* store = SSL_CTX_get_cert_store(ctx.get());
  for (const X509Ptr& root : material.roots) ok = ok && X509_STORE_add_cert(store, root.get()) == 1;
  if (!ok) return Error{EINVAL, TakeOpenSslErrors()};
  ERR_clear_error();  // of a group list that this library does not know

  // No resumption: a resumed session would outlive a removed identity or root.
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx.get(), 0);
  SSL_CTX_set_options(ctx.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(ctx.get(), TlsConn::VerifyPeer, nullptr);
  SSL_CTX_set_keylog_callback(ctx.get(), TlsConn::OnKeyLog);
  SSL_CTX_set_alpn_protos(ctx.get(), kAlpnH2, sizeof kAlpnH2);
  SSL_CTX_set_alpn_select_cb(ctx.get(), SelectAlpn, nullptr);
  return ctx;
}

}  // namespace

std::string TakeOpenSslErrors() {
  std::string text;
  while (const unsigned long code = ERR_get_error()) {
    char line[256];
    ERR_error_string_n(code, line, sizeof line);
    if (!text.empty()) text += "; ";
    text += line;
  }
  return text.empty() ? "unknown OpenSSL error" : text;
}

Result<std::shared_ptr<const IdentityContext>> IdentityContext::Create(const std::string& identity,
                                                                       const std::string& chain, const std::string& key,
                                                                       const std::string& roots) {
  const std::string what = "identity " + identity + ": ";
  std::optional<SpiffeId> id = SpiffeId::Parse(identity);
  if (!id) return Error{EINVAL, what + "not a SPIFFE id"};
  Material material{ReadCertificates(chain), ReadCertificates(roots), nullptr};
  if (material.chain.empty()) return Error{EINVAL, what + "no certificate in chain"};
  if (material.roots.empty()) return Error{EINVAL, what + "no certificate in roots"};
  const BioPtr key_bio(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
  material.key.reset(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (!material.key) return Error{EINVAL, what + "private key: " + TakeOpenSslErrors()};
  Result<SpiffeId> own = IdentityOf(material.chain[0].get());
  if (!own) return Error{EINVAL, what + own.error().what};
  if (!(*own == *id)) return Error{EINVAL, what + "certificate is for " + own->ToUri()};

  Result<SslCtxPtr> client = MakeContext(TLS_client_method(), material);
  if (!client) return Error{EINVAL, what + client.error().what};
  Result<SslCtxPtr> server = MakeContext(TLS_server_method(), material);
  if (!server) return Error{EINVAL, what + server.error().what};
  auto context = std::make_shared<IdentityContext>();
  context->identity = identity;
  context->id = std::move(*id);
  context->client = std::move(*client);
  context->server = std::move(*server);
  return std::shared_ptr<const IdentityContext>(std::move(context));
}

}  // namespace weft
