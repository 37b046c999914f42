#include "security/peer_name.h"

namespace weft::security {

PeerName NameOf(std::string_view peer_identity) {
  constexpr std::string_view kScheme = "spiffe://", kNamespace = "/ns/", kAccount = "/sa/";
  if (!peer_identity.starts_with(kScheme)) return {};
  PeerName name;
  name.principal = peer_identity.substr(kScheme.size());
  const size_t first = name.principal.find(kNamespace);
  const size_t second = name.principal.find(kAccount, first == std::string_view::npos ? 0 : first + kNamespace.size());
  if (first == std::string_view::npos || second == std::string_view::npos) return name;
  name.trust_domain = name.principal.substr(0, first);
  name.namespace_name = name.principal.substr(first + kNamespace.size(), second - first - kNamespace.size());
  name.service_account = name.principal.substr(second + kAccount.size());
  return name;
}

}  // namespace weft::security
