#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "net/ip_address.h"

namespace weft {

// The authority of a CONNECT: an address, or a host name, with a port that is not 0.
struct Authority {
  std::optional<SocketAddress> address;
  std::string_view host;  // as it was written; empty for an address
  uint16_t port = 0;
};

// nullopt when it is neither. `text` must outlive the answer.
std::optional<Authority> ParseAuthority(std::string_view text);

}  // namespace weft
