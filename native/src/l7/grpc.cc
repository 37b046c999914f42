#include "l7/grpc.h"

#include <algorithm>
#include <charconv>

namespace weft::l7 {

bool IsGrpc(const http::HeaderMap& headers) {
  constexpr std::string_view kType = "application/grpc";
  const std::string_view type = headers.Get(http::HeaderId::kContentType);
  return type.starts_with(kType) && (type.size() == kType.size() || type[kType.size()] == '+');
}

uint32_t GrpcStatusOfHttp(uint16_t status) {
  switch (status) {
    case 400:
      return 13;  // INTERNAL
    case 401:
      return 16;  // UNAUTHENTICATED
    case 403:
      return 7;  // PERMISSION_DENIED
    case 404:
      return 12;  // UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;  // UNAVAILABLE
    default:
      return 2;  // UNKNOWN
  }
}

uint16_t HttpStatusOfGrpc(uint32_t status) {
  switch (status) {
    case 0:
      return 200;
    case 1:
      return 499;
    case 3:
    case 9:
    case 11:
      return 400;
    case 4:
      return 504;
    case 5:
      return 404;
    case 6:
    case 10:
      return 409;
    case 7:
      return 403;
    case 8:
      return 429;
    case 12:
      return 501;
    case 14:
      return 503;
    case 16:
      return 401;
    default:
      return 500;
  }
}

std::optional<uint32_t> GrpcStatusIn(const http::HeaderMap& headers) {
  const http::Header* const header = headers.Find(http::HeaderId::kGrpcStatus);
  if (header == nullptr) return std::nullopt;
  uint32_t status = 0;
  const char* const end = header->value.data() + header->value.size();
  const auto [at, error] = std::from_chars(header->value.data(), end, status);
  if (error != std::errc() || at != end) return std::nullopt;
  return status;
}

std::string_view EncodeGrpcMessage(std::string_view text, Arena& arena) {
  const auto plain = [](char c) { return c >= ' ' && c <= '~' && c != '%'; };
  if (std::ranges::all_of(text, plain)) return text;
  char* const encoded = arena.Take(text.size() * 3);
  char* at = encoded;
  for (const char c : text) {
    if (plain(c)) {
      *at++ = c;
      continue;
    }
    constexpr std::string_view kHex = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    *at++ = '%';
    *at++ = kHex[byte >> 4];
    *at++ = kHex[byte & 15];
  }
  return {encoded, static_cast<size_t>(at - encoded)};
}

std::optional<uint64_t> ParseGrpcTimeoutMs(std::string_view text) {
  constexpr size_t kMaxDigits = 8;
  if (text.size() < 2 || text.size() > kMaxDigits + 1) return std::nullopt;
  uint64_t count = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    count = count * 10 + static_cast<uint64_t>(c - '0');
  }
  switch (text.back()) {
    case 'H':
      return count * 3'600'000;
    case 'M':
      return count * 60'000;
    case 'S':
      return count * 1'000;
    case 'm':
      return count;
    case 'u':
      return (count + 999) / 1'000;
    case 'n':
      return (count + 999'999) / 1'000'000;
    default:
      return std::nullopt;
  }
}

void GrpcMessageCounter::Feed(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (left_ > 0) {
      const size_t n = std::min<uint64_t>(left_, bytes.size());
      left_ -= n;
      bytes = bytes.subspan(n);
      continue;
    }
    if (prefix_seen_ > 0) length_ = length_ << 8 | bytes[0];
    bytes = bytes.subspan(1);
    if (++prefix_seen_ < kPrefixBytes) continue;
    ++messages_;
    left_ = length_;
    length_ = 0;
    prefix_seen_ = 0;
  }
}

}  // namespace weft::l7
