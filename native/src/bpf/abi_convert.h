#pragma once

#include "net/ip_address.h"
#include "weft_abi.h"

namespace weft {

// Addresses of the BPF maps are the same 16 bytes as ours.
weft_ip ToAbi(const IpAddress& ip);
IpAddress FromAbi(const weft_ip& ip);
weft_address ToAbi(const SocketAddress& address);
SocketAddress FromAbi(const weft_address& address);

}  // namespace weft
