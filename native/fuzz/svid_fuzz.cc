// The subject alternative names of a peer's certificate, as DER: at most one identity comes out, and only one that the
// bytes spell without a NUL.
#include <openssl/x509v3.h>

#include <algorithm>
#include <string_view>

#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "tls/openssl_ptr.h"
#include "tls/svid.h"

namespace {

using weft::OpenSslFree;
using OctetStringPtr = std::unique_ptr<ASN1_OCTET_STRING, OpenSslFree<ASN1_OCTET_STRING_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpenSslFree<X509_EXTENSION_free>>;

weft::X509Ptr CertificateWithNames(std::span<const uint8_t> der) {
  const OctetStringPtr value(ASN1_OCTET_STRING_new());
  FUZZ_CHECK(ASN1_OCTET_STRING_set(value.get(), der.data(), static_cast<int>(der.size())) == 1);
  const ExtensionPtr extension(X509_EXTENSION_create_by_NID(nullptr, NID_subject_alt_name, /*crit=*/0, value.get()));
  weft::X509Ptr certificate(X509_new());
  FUZZ_CHECK(X509_add_ext(certificate.get(), extension.get(), -1) == 1);
  return certificate;
}

}  // namespace

WEFT_FUZZ_TARGET("svid") {
  const weft::X509Ptr certificate = CertificateWithNames(input);
  const auto id = weft::IdentityOf(certificate.get());
  if (!id) return;
  const std::string uri = id->ToUri();
  FUZZ_CHECK(weft::SpiffeId::Parse(uri) == *id);
  FUZZ_CHECK(weft::fuzz::AsText(input).find(uri) != std::string_view::npos);
}
