#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "tls/openssl_ptr.h"

namespace weft {

// TLS 1.3 record sizes (RFC 8446 section 5).
inline constexpr size_t kRecordHeaderBytes = 5;
inline constexpr size_t kRecordTagBytes = 16;
inline constexpr size_t kRecordPlainBytes = 16384;
inline constexpr size_t kMaxRecordBytes = kRecordPlainBytes + 256;

enum class ContentType : uint8_t { kChangeCipherSpec = 20, kAlert = 21, kHandshake = 22, kApplicationData = 23 };

// Record protection of one direction of an established connection, from its traffic secret on. Only AES-GCM: the
// other suites are never negotiated.
//
// Ours instead of SSL_read and SSL_write because it seals straight into the output buffer and opens in place, many
// records per system call, and because an idle connection then needs no SSL object.
class RecordKey {
 public:
  RecordKey(RecordKey&&) = default;
  RecordKey& operator=(RecordKey&&) = default;
  // Wipes what could open recorded traffic.
  ~RecordKey();

  // nullopt when the suite is not one of ours.
  static std::optional<RecordKey> Create(uint16_t suite, std::vector<uint8_t> secret);

  // Appends `plain` (at most kRecordPlainBytes) as one record.
  bool Seal(ContentType type, std::span<const uint8_t> plain, Buffer& out);
  // Decrypts a whole record in place. `plain` becomes its payload; false when it is not authentic or malformed.
  bool Open(std::span<uint8_t> record, ContentType* type, std::span<uint8_t>* plain);
  // Goes on to the next key (RFC 8446 section 7.2).
  bool Update();
  // Records since the last key.
  uint64_t sequence() const { return sequence_; }

 private:
  RecordKey() = default;
  bool Derive();
  void Nonce(uint8_t (&nonce)[12]);

  std::unique_ptr<EVP_CIPHER_CTX, OpenSslFree<EVP_CIPHER_CTX_free>> cipher_;
  const EVP_CIPHER* algorithm_ = nullptr;
  const EVP_MD* digest_ = nullptr;
  std::vector<uint8_t> secret_;
  uint8_t iv_[12] = {};
  uint64_t sequence_ = 0;
};

}  // namespace weft
