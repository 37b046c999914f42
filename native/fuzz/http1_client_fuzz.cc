// Bytes of an HTTP/1 server, after a request: understood the same in one read and in many, the answer ends exactly
// once, and nothing behind it is heard. First byte: how reads are cut, and what was asked.
#include "fuzz/http1_peers.h"

WEFT_FUZZ_TARGET("http1-client") {
  if (input.empty()) return;
  const uint8_t cut = input[0] >> 2;
  const auto bytes = input.subspan(1);
  const auto understood = [&](uint8_t step) {
    switch (input[0] & 3) {
      case 0:
        return weft::fuzz::Understood<weft::fuzz::AnswerReader<weft::fuzz::kAskHead>>(bytes, step);
      case 1:
        return weft::fuzz::Understood<weft::fuzz::AnswerReader<weft::fuzz::kAskUpgrade>>(bytes, step);
      default:
        return weft::fuzz::Understood<weft::fuzz::AnswerReader<weft::fuzz::kAskGet>>(bytes, step);
    }
  };
  FUZZ_CHECK(understood(cut) == understood(0));
}
