#pragma once

#include <string_view>

namespace weft::security {

// The parts of a verified SPIFFE id "spiffe://<trust domain>/ns/<namespace>/sa/<account>"; all empty for anything else.
struct PeerName {
  std::string_view principal;  // without "spiffe://"
  std::string_view trust_domain;
  std::string_view namespace_name;
  std::string_view service_account;
};
PeerName NameOf(std::string_view peer_identity);

}  // namespace weft::security
