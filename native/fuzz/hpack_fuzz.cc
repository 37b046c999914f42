// Header blocks as a peer sends them, whole and in fragments: the same outcome either way, and never more memory than
// the list limit allows.
#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "hbone/hpack.h"

namespace {

using weft::HeaderBlock;
using weft::HpackDecoder;

constexpr size_t kMaxListBytes = 4096;

bool Same(const HeaderBlock& a, const HeaderBlock& b) {
  return a.method == b.method && a.authority == b.authority && a.status == b.status && a.baggage == b.baggage &&
         a.forwarded == b.forwarded && a.traceparent == b.traceparent && a.has_path_or_scheme == b.has_path_or_scheme &&
         a.has_protocol == b.has_protocol && a.malformed == b.malformed;
}

size_t Held(const HeaderBlock& block) {
  return block.method.size() + block.authority.size() + block.status.size() + block.baggage.size() +
         block.forwarded.size() + block.traceparent.size();
}

}  // namespace

WEFT_FUZZ_TARGET("hpack") {
  weft::fuzz::ByteSource source(input);
  const size_t cut = source.Byte();
  const auto bytes = source.Take(input.size());
  HpackDecoder whole(kMaxListBytes);
  HpackDecoder pieces(kMaxListBytes);

  const auto outcome = whole.Decode(bytes, true);
  const size_t at = std::min(cut, bytes.size());
  auto piecewise = pieces.Decode(bytes.first(at), false);
  if (piecewise == HpackDecoder::Outcome::kOk) piecewise = pieces.Decode(bytes.subspan(at), true);
  FUZZ_CHECK(piecewise == outcome);
  if (outcome != HpackDecoder::Outcome::kOk) return;
  const HeaderBlock block = whole.Take();
  FUZZ_CHECK(Same(block, pieces.Take()));
  FUZZ_CHECK(Held(block) <= kMaxListBytes);
}
