#include "net/cidr.h"

namespace weft {

std::optional<CidrRange> CidrRange::Make(std::string_view ip, uint32_t length) {
  const std::optional<IpAddress> base = IpAddress::Parse(ip);
  if (!base || length > (base->is_v4() ? 32u : 128u)) return std::nullopt;
  CidrRange range;
  range.base_ = *base;
  range.bits_ = base->is_v4() ? 96 + length : length;
  return range;
}

bool CidrRange::Contains(const IpAddress& ip) const {
  if (ip.is_v4() != base_.is_v4()) return false;
  const auto& a = ip.bytes();
  const auto& b = base_.bytes();
  for (uint32_t bit = 0; bit < bits_; bit += 8) {
    const uint32_t left = bits_ - bit;
    const auto mask = static_cast<uint8_t>(left >= 8 ? 0xff : 0xff << (8 - left));
    if (((a[bit / 8] ^ b[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

}  // namespace weft
