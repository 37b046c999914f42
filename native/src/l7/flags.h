#pragma once

#include <cstdint>
#include <string>

namespace weft::l7 {

// Response flags of access logs and metrics (the short names, in this order).
enum class Flag : uint8_t {
  kUH,
  kUF,
  kUO,
  kNR,
  kURX,
  kNC,
  kDT,
  kDC,
  kLH,
  kUT,
  kLR,
  kUR,
  kUC,
  kDI,
  kFI,
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
  kDR,
  kCount,
};
const char* FlagText(Flag flag);

class Flags {
 public:
  void Set(Flag flag) { bits_ |= 1u << static_cast<uint32_t>(flag); }
  bool Has(Flag flag) const { return (bits_ >> static_cast<uint32_t>(flag) & 1u) != 0; }
  uint32_t bits() const { return bits_; }
  // "UF,URX", or "-".
  std::string Text() const;

 private:
  uint32_t bits_ = 0;
};

}  // namespace weft::l7
