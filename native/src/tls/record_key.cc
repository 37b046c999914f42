#include "tls/record_key.h"

#include <openssl/hmac.h>

#include <cstring>
#include <string_view>
#include <utility>

namespace weft {
namespace {

constexpr uint16_t kAes128GcmSha256 = 0x1301;
constexpr uint16_t kAes256GcmSha384 = 0x1302;

// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1), for outputs of at most one hash.
bool ExpandLabel(const EVP_MD* digest, std::span<const uint8_t> secret, std::string_view label,
                 std::span<uint8_t> out) {
  uint8_t info[64];
  size_t n = 0;
  info[n++] = 0;
  info[n++] = static_cast<uint8_t>(out.size());
  constexpr std::string_view kPrefix = "tls13 ";
  info[n++] = static_cast<uint8_t>(kPrefix.size() + label.size());
  for (const std::string_view part : {kPrefix, label}) {
    std::memcpy(info + n, part.data(), part.size());
    n += part.size();
  }
  info[n++] = 0;  // no context
  info[n++] = 1;  // first block of the expansion
  uint8_t block[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (HMAC(digest, secret.data(), static_cast<int>(secret.size()), info, n, block, &length) == nullptr) return false;
  if (out.size() > length) return false;
  std::memcpy(out.data(), block, out.size());
  OPENSSL_cleanse(block, sizeof block);
  return true;
}

// Looked up once: a fetch per connection takes locks.
const EVP_CIPHER* Aes128Gcm() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  return cipher;
}
const EVP_CIPHER* Aes256Gcm() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return cipher;
}

}  // namespace

RecordKey::~RecordKey() {
  OPENSSL_cleanse(secret_.data(), secret_.size());
  OPENSSL_cleanse(iv_, sizeof iv_);
}

std::optional<RecordKey> RecordKey::Create(uint16_t suite, std::vector<uint8_t> secret) {
  RecordKey key;
  if (suite == kAes128GcmSha256) {
    key.algorithm_ = Aes128Gcm();
    key.digest_ = EVP_sha256();
  } else if (suite == kAes256GcmSha384) {
    key.algorithm_ = Aes256Gcm();
    key.digest_ = EVP_sha384();
  } else {
    return std::nullopt;
  }
  key.secret_ = std::move(secret);
  key.cipher_.reset(EVP_CIPHER_CTX_new());
  if (key.cipher_ == nullptr || key.algorithm_ == nullptr || !key.Derive()) return std::nullopt;
  return key;
}

bool RecordKey::Derive() {
  uint8_t key[32];
  const auto key_bytes = static_cast<size_t>(EVP_CIPHER_get_key_length(algorithm_));
  // Both directions of the context: GCM decrypts and encrypts with the same schedule, the flag is set per record.
  const bool ok = ExpandLabel(digest_, secret_, "key", {key, key_bytes}) && ExpandLabel(digest_, secret_, "iv", iv_) &&
                  EVP_CipherInit_ex2(cipher_.get(), algorithm_, key, nullptr, -1, nullptr) == 1;
  OPENSSL_cleanse(key, sizeof key);
  sequence_ = 0;
  return ok;
}

bool RecordKey::Update() {
  std::vector<uint8_t> next(secret_.size());
  if (!ExpandLabel(digest_, secret_, "traffic upd", next)) return false;
  OPENSSL_cleanse(secret_.data(), secret_.size());
  secret_ = std::move(next);
  return Derive();
}

void RecordKey::Nonce(uint8_t (&nonce)[12]) {
  std::memcpy(nonce, iv_, sizeof nonce);
  for (int i = 0; i < 8; ++i) nonce[11 - i] ^= static_cast<uint8_t>(sequence_ >> (8 * i));
  ++sequence_;
}

bool RecordKey::Seal(ContentType type, std::span<const uint8_t> plain, Buffer& out) {
  const size_t payload = plain.size() + 1 + kRecordTagBytes;
  uint8_t* const record = out.Reserve(kRecordHeaderBytes + payload);
  record[0] = static_cast<uint8_t>(ContentType::kApplicationData);
  record[1] = 3;
  record[2] = 3;
  record[3] = static_cast<uint8_t>(payload >> 8);
  record[4] = static_cast<uint8_t>(payload);
  uint8_t* const body = record + kRecordHeaderBytes;
  uint8_t nonce[12];
  Nonce(nonce);
  const auto inner_type = static_cast<uint8_t>(type);
  int n = 0;
  const bool ok =
      EVP_CipherInit_ex2(cipher_.get(), nullptr, nullptr, nonce, 1, nullptr) == 1 &&
      EVP_EncryptUpdate(cipher_.get(), nullptr, &n, record, kRecordHeaderBytes) == 1 &&
      (plain.empty() ||
       EVP_EncryptUpdate(cipher_.get(), body, &n, plain.data(), static_cast<int>(plain.size())) == 1) &&
      EVP_EncryptUpdate(cipher_.get(), body + plain.size(), &n, &inner_type, 1) == 1 &&
      EVP_EncryptFinal_ex(cipher_.get(), body + plain.size() + 1, &n) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher_.get(), EVP_CTRL_AEAD_GET_TAG, kRecordTagBytes, body + plain.size() + 1) == 1;
  if (ok) out.Commit(kRecordHeaderBytes + payload);
  return ok;
}

bool RecordKey::Open(std::span<uint8_t> record, ContentType* type, std::span<uint8_t>* plain) {
  if (record.size() < kRecordHeaderBytes + kRecordTagBytes + 1) return false;
  uint8_t* const body = record.data() + kRecordHeaderBytes;
  size_t n_body = record.size() - kRecordHeaderBytes - kRecordTagBytes;
  uint8_t nonce[12];
  Nonce(nonce);
  int n = 0;
  const bool ok = EVP_CipherInit_ex2(cipher_.get(), nullptr, nullptr, nonce, 0, nullptr) == 1 &&
                  EVP_DecryptUpdate(cipher_.get(), nullptr, &n, record.data(), kRecordHeaderBytes) == 1 &&
                  EVP_DecryptUpdate(cipher_.get(), body, &n, body, static_cast<int>(n_body)) == 1 &&
                  EVP_CIPHER_CTX_ctrl(cipher_.get(), EVP_CTRL_AEAD_SET_TAG, kRecordTagBytes, body + n_body) == 1 &&
                  EVP_DecryptFinal_ex(cipher_.get(), body + n_body, &n) == 1;
  if (!ok) return false;
  // Zero padding, then the true type (RFC 8446 section 5.4).
  while (n_body > 0 && body[n_body - 1] == 0) --n_body;
  if (n_body == 0 || n_body - 1 > kRecordPlainBytes) return false;
  *type = static_cast<ContentType>(body[n_body - 1]);
  *plain = {body, n_body - 1};
  return true;
}

}  // namespace weft
