// First bytes of a connection whose protocol is to be told. What is decided stays decided when more bytes come, and no
// more bytes are asked for than the bounds allow.
#include "fuzz/fuzz_target.h"
#include "waypoint/client_hello.h"
#include "waypoint/sniff.h"

WEFT_FUZZ_TARGET("client-hello") {
  using weft::waypoint::ClientHello;
  using weft::waypoint::Sniffed;
  const Sniffed sniffed = weft::waypoint::Sniff(input);
  FUZZ_CHECK(sniffed != Sniffed::kMore || input.size() < weft::waypoint::kMaxSniffBytes);
  const ClientHello hello = weft::waypoint::ParseClientHello(input);
  FUZZ_CHECK(hello.sni.size() <= 253);
  if (input.empty()) return;
  const auto half = input.first(input.size() / 2);
  const Sniffed earlier = weft::waypoint::Sniff(half);
  FUZZ_CHECK(earlier == Sniffed::kMore || earlier == sniffed);
  const ClientHello before = weft::waypoint::ParseClientHello(half);
  if (before.outcome == ClientHello::Outcome::kMore) return;
  FUZZ_CHECK(before.outcome == hello.outcome && before.sni == hello.sni);
}
