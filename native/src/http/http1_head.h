#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "http/message.h"

// HTTP/1 heads (RFC 9112), read strictly: where two readers could disagree on where a message ends, it is refused. Own
// code and not llhttp: see docs/adr/0013.
namespace weft::http {

// Where the body of a message ends.
enum class Http1Framing : uint8_t { kNone, kLength, kChunked, kUntilClose };

// Why a head is refused; `status` is what a client is answered.
struct Http1Problem {
  uint16_t status = 400;
  std::string_view detail;
};

// What a head says beyond the message itself.
struct Http1Meta {
  Http1Framing framing = Http1Framing::kNone;
  uint64_t length = 0;
  bool keep_alive = true;
  bool trailers_wanted = false;  // te: trailers
};

// Looks for the empty line that ends a head, from `scanned` on (where an earlier look ended; updated). Returns the size
// of the head with that line; 0: not there yet; nullopt: a line that ends without CR.
std::optional<size_t> FindHeadEnd(std::string_view bytes, size_t& scanned);

// `block`: a whole head in memory that lives as long as `head` and may be written to. Nullopt: taken.
std::optional<Http1Problem> ParseRequestHead(char* block, size_t size, size_t max_headers, RequestHead& head,
                                             Http1Meta& meta);
// `request_method`: of the request that this answers.
std::optional<Http1Problem> ParseResponseHead(char* block, size_t size, size_t max_headers,
                                              std::string_view request_method, ResponseHead& head, Http1Meta& meta);
// Trailer fields: those that frame, route or authenticate are dropped (RFC 9110 section 6.5.1).
std::optional<Http1Problem> ParseTrailers(char* block, size_t size, size_t max_headers, HeaderMap& trailers);

// RFC 9110 section 15; "" for codes without a name.
std::string_view ReasonPhrase(uint16_t status);

}  // namespace weft::http
