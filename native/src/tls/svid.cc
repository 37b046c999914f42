#include "tls/svid.h"

#include <optional>
#include <string_view>
#include <utility>

#include "tls/openssl_ptr.h"

namespace weft {

Result<SpiffeId> IdentityOf(X509* leaf) {
  const GeneralNamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  if (!names) return Error{EACCES, "peer certificate has no subject alternative name"};
  std::optional<SpiffeId> found;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    const std::string_view uri(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                               static_cast<size_t>(ASN1_STRING_length(text)));
    if (uri.find('\0') != std::string_view::npos) return Error{EACCES, "peer certificate has a NUL byte in a URI name"};
    std::optional<SpiffeId> id = SpiffeId::Parse(uri);
    if (!id) continue;
    if (found) return Error{EACCES, "peer certificate has more than one SPIFFE id"};
    found = std::move(id);
  }
  if (!found) return Error{EACCES, "peer certificate has no SPIFFE id"};
  return std::move(*found);
}

}  // namespace weft
