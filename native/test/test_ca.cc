#include "test_ca.h"

#include <openssl/ec.h>
#include <openssl/pem.h>

#include <cstdlib>

namespace weft::test {
namespace {

template <typename Write>
std::string Pem(Write write) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (write(bio.get()) != 1) std::abort();
  char* data = nullptr;
  const long n = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(n)};
}

std::string Pem(X509* certificate) {
  return Pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

EvpKeyPtr NewKey() { return EvpKeyPtr(EVP_EC_gen("P-256")); }

X509Ptr NewCertificate(EVP_PKEY* key, const char* name, long not_before_s, long not_after_s) {
  static long serial = 1;
  X509Ptr certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), not_before_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), not_after_s);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "O", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  return certificate;
}

void AddExtension(X509* certificate, int nid, const char* value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

void AddName(GENERAL_NAMES* names, int type, const std::string& value) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_IA5STRING* text = ASN1_IA5STRING_new();
  ASN1_STRING_set(text, value.data(), static_cast<int>(value.size()));
  GENERAL_NAME_set0_value(name, type, text);
  sk_GENERAL_NAME_push(names, name);
}

}  // namespace

TestCa::TestCa() : key_(NewKey()), root_(NewCertificate(key_.get(), "weft test root", -3600, 86400)) {
  X509_set_issuer_name(root_.get(), X509_get_subject_name(root_.get()));
  AddExtension(root_.get(), NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(root_.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  if (X509_sign(root_.get(), key_.get(), EVP_sha256()) == 0) std::abort();
  roots_ = Pem(root_.get());
}

Svid TestCa::Issue(const SvidOptions& options) const {
  const EvpKeyPtr key = NewKey();
  const X509Ptr leaf = NewCertificate(key.get(), "weft test", options.not_before_s, options.not_after_s);
  X509_set_issuer_name(leaf.get(), X509_get_subject_name(root_.get()));
  const GeneralNamesPtr names(GENERAL_NAMES_new());
  for (const std::string& uri : options.uris) AddName(names.get(), GEN_URI, uri);
  for (const std::string& name : options.dns_names) AddName(names.get(), GEN_DNS, name);
  if (sk_GENERAL_NAME_num(names.get()) > 0) {
    X509_add1_ext_i2d(leaf.get(), NID_subject_alt_name, names.get(), 0, 0);
  }
  AddExtension(leaf.get(), NID_key_usage, "critical,digitalSignature");
  AddExtension(leaf.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  if (X509_sign(leaf.get(), key_.get(), EVP_sha256()) == 0) std::abort();
  return {Pem(leaf.get()), Pem([&](BIO* bio) {
            return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

std::string TestCa::Crl(const std::vector<Svid>& revoked) const {
  const X509CrlPtr list(X509_CRL_new());
  X509_CRL_set_version(list.get(), 1);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(root_.get()));
  const std::unique_ptr<ASN1_TIME, OpenSslFree<ASN1_STRING_free>> now(X509_gmtime_adj(nullptr, -60));
  const std::unique_ptr<ASN1_TIME, OpenSslFree<ASN1_STRING_free>> next(X509_gmtime_adj(nullptr, 3600));
  X509_CRL_set1_lastUpdate(list.get(), now.get());
  X509_CRL_set1_nextUpdate(list.get(), next.get());
  for (const Svid& each : revoked) {
    const BioPtr bio(BIO_new_mem_buf(each.chain.data(), static_cast<int>(each.chain.size())));
    const X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate.get()));
    X509_REVOKED_set_revocationDate(entry, now.get());
    X509_CRL_add0_revoked(list.get(), entry);
  }
  if (X509_CRL_sign(list.get(), key_.get(), EVP_sha256()) == 0) std::abort();
  return Pem([&](BIO* bio) { return PEM_write_bio_X509_CRL(bio, list.get()); });
}

}  // namespace weft::test
