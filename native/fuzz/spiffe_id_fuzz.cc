// SPIFFE ids as a peer's certificate carries them: whatever is accepted must be read back the same and must have no
// second reading.
#include <algorithm>

#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "policy/spiffe_id.h"

WEFT_FUZZ_TARGET("spiffe-id") {
  const std::string_view uri = weft::fuzz::AsText(input);
  const auto id = weft::SpiffeId::Parse(uri);
  if (!id) return;
  FUZZ_CHECK(id->ToUri() == uri);
  FUZZ_CHECK(id->principal == id->trust_domain + "/ns/" + id->namespace_name + "/sa/" + id->service_account);
  FUZZ_CHECK(std::ranges::count(uri, '/') == 6);
  FUZZ_CHECK(std::ranges::all_of(uri, [](char c) { return c > ' ' && c < 0x7f && c != '%'; }));
  FUZZ_CHECK(weft::SpiffeId::Parse(id->ToUri()) == id);
}
