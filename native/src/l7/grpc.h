#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/arena.h"
#include "http/header_map.h"

// What the proxy knows of gRPC: its status codes, its deadlines, its messages.
namespace weft::l7 {

// content-type is application/grpc or one of its kinds ("application/grpc+proto").
bool IsGrpc(const http::HeaderMap& headers);

// The status that a client library would make of an HTTP status.
uint32_t GrpcStatusOfHttp(uint16_t status);
// And back, for clients that speak plain HTTP and for outlier detection.
uint16_t HttpStatusOfGrpc(uint32_t status);
// grpc-status of a head or of trailers. nullopt: absent, or no number.
std::optional<uint32_t> GrpcStatusIn(const http::HeaderMap& headers);

// grpc-message: percent-encoded, so that any text fits into a header.
std::string_view EncodeGrpcMessage(std::string_view text, Arena& arena);

// "100m": at most 8 digits and a unit. nullopt: it is none. Rounded up to milliseconds.
std::optional<uint64_t> ParseGrpcTimeoutMs(std::string_view text);

// Counts the length-prefixed messages of one direction as their bytes pass.
class GrpcMessageCounter {
 public:
  void Reset() { *this = {}; }
  void Feed(std::span<const uint8_t> bytes);
  uint64_t messages() const { return messages_; }

 private:
  static constexpr uint32_t kPrefixBytes = 5;
  uint64_t messages_ = 0;
  uint64_t left_ = 0;  // of the message's bytes
  uint32_t length_ = 0;
  uint32_t prefix_seen_ = 0;
};

}  // namespace weft::l7
