// Bytes of an HTTP/1 client: whatever they are, they are understood the same in one read and in many, every request
// ends exactly once, and nothing is a request behind what was none. First byte: how reads are cut.
#include "fuzz/http1_peers.h"

WEFT_FUZZ_TARGET("http1-server") {
  if (input.empty()) return;
  using Reader = weft::fuzz::RequestReader;
  FUZZ_CHECK(weft::fuzz::Understood<Reader>(input.subspan(1), input[0]) ==
             weft::fuzz::Understood<Reader>(input.subspan(1), 0));
}
