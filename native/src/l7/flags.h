#pragma once

#include <cstdint>
#include <string>

namespace weft::l7 {

// Response flags of access logs and metrics. Of a request that has several, Envoy writes the one first that it set
// first: a delay, that there are no retries left, and then why. This order gives the same.
enum class Flag : uint8_t {
  kDI,
  kURX,
  kFI,
  kUO,
  kUF,
  kNC,
  kUH,
  kNR,
  kDT,
  kLH,
  kUT,
  kLR,
  kUR,
  kUC,
  kRL,
  kUAEX,
  kRLSE,
  kIH,
  kSI,
  kDPE,
  kUPE,
  kUMSDR,
  kOM,
  kDF,
  kDC,
  kDR,
  kCount,
};
const char* FlagText(Flag flag);

class Flags {
 public:
  void Set(Flag flag) { bits_ |= 1u << static_cast<uint32_t>(flag); }
  bool Has(Flag flag) const { return (bits_ >> static_cast<uint32_t>(flag) & 1u) != 0; }
  uint32_t bits() const { return bits_; }
  // "URX,UF", or "-".
  std::string Text() const;

 private:
  uint32_t bits_ = 0;
};

}  // namespace weft::l7
