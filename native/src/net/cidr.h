#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "net/ip_address.h"

namespace weft {

// A range of addresses. IPv4 ranges hold IPv4 addresses only.
class CidrRange {
 public:
  // `length` in bits of the address' own family. nullopt: no address, or too long.
  static std::optional<CidrRange> Make(std::string_view ip, uint32_t length);
  bool Contains(const IpAddress& ip) const;

 private:
  IpAddress base_;
  uint32_t bits_ = 0;  // of the 16 bytes
};

}  // namespace weft
