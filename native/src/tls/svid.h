#pragma once

#include <openssl/x509.h>

#include <string>

#include "base/result.h"
#include "policy/spiffe_id.h"

namespace weft {

// The SPIFFE id of a leaf certificate whose chain has been verified. URI names of other schemes are skipped. Refused:
// no SPIFFE id, more than one (SPIFFE X509-SVID section 2), any URI name with a NUL byte.
Result<SpiffeId> IdentityOf(X509* leaf);

}  // namespace weft
