#include "http/header_map.h"

#include <algorithm>
#include <array>
#include <string>

namespace weft::http {
namespace {

// In the order of HeaderId.
constexpr std::array<std::string_view, static_cast<size_t>(HeaderId::kCount)> kNames = {
    "",
    "accept",
    "accept-encoding",
    "authorization",
    "b3",
    "baggage",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "host",
    "keep-alive",
    "location",
    "origin",
    "proxy-connection",
    "referer",
    "server",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-envoy-attempt-count",
    "x-envoy-original-path",
    "x-envoy-overloaded",
    "x-envoy-upstream-service-time",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
};

// A perfect hash of length, first, middle and last character, found by trying multipliers at compile time.
constexpr size_t kSlots = 256;
constexpr size_t SlotOf(std::string_view name, uint32_t multiplier) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(name[i])); };
  const uint32_t mixed = static_cast<uint32_t>(name.size()) * 31u + byte(0) * 131u + byte(name.size() / 2) * 7919u +
                         byte(name.size() - 1) * 104729u;
  return (mixed * multiplier >> 16) % kSlots;
}

struct Table {
  uint32_t multiplier = 0;
  std::array<uint8_t, kSlots> slots{};
};
constexpr Table MakeTable() {
  for (uint32_t multiplier = 1;; multiplier += 2) {
    Table table{multiplier, {}};
    bool clash = false;
    for (size_t i = 1; i < kNames.size() && !clash; ++i) {
      uint8_t& slot = table.slots[SlotOf(kNames[i], multiplier)];
      clash = slot != 0;
      slot = static_cast<uint8_t>(i);
    }
    if (!clash) return table;
  }
}
constexpr Table kTable = MakeTable();

}  // namespace

HeaderId HeaderIdOf(std::string_view name) {
  if (name.empty()) return HeaderId::kOther;
  const uint8_t index = kTable.slots[SlotOf(name, kTable.multiplier)];
  return index != 0 && kNames[index] == name ? static_cast<HeaderId>(index) : HeaderId::kOther;
}

std::string_view HeaderName(HeaderId id) { return kNames[static_cast<size_t>(id)]; }

void HeaderMap::Add(std::string_view name, std::string_view value) {
  const HeaderId id = HeaderIdOf(name);
  headers_.push_back({id == HeaderId::kOther ? arena_->Copy(name) : HeaderName(id), arena_->Copy(value), id});
}

void HeaderMap::Add(HeaderId id, std::string_view value) {
  headers_.push_back({HeaderName(id), arena_->Copy(value), id});
}

void HeaderMap::Set(std::string_view name, std::string_view value) {
  const auto first = std::ranges::find_if(headers_, [&](const Header& each) { return each.name == name; });
  if (first == headers_.end()) return Add(name, value);
  first->value = arena_->Copy(value);
  headers_.erase(std::remove_if(first + 1, headers_.end(), [&](const Header& each) { return each.name == name; }),
                 headers_.end());
}

void HeaderMap::Set(HeaderId id, std::string_view value) {
  const auto first = std::ranges::find_if(headers_, [&](const Header& each) { return each.id == id; });
  if (first == headers_.end()) return Add(id, value);
  first->value = arena_->Copy(value);
  headers_.erase(std::remove_if(first + 1, headers_.end(), [&](const Header& each) { return each.id == id; }),
                 headers_.end());
}

size_t HeaderMap::Remove(std::string_view name) {
  return std::erase_if(headers_, [&](const Header& each) { return each.name == name; });
}

size_t HeaderMap::Remove(HeaderId id) {
  return std::erase_if(headers_, [&](const Header& each) { return each.id == id; });
}

const Header* HeaderMap::Find(std::string_view name) const {
  if (const HeaderId id = HeaderIdOf(name); id != HeaderId::kOther) return Find(id);
  const auto found = std::ranges::find_if(headers_, [&](const Header& each) { return each.name == name; });
  return found == headers_.end() ? nullptr : &*found;
}

const Header* HeaderMap::Find(HeaderId id) const {
  const auto found = std::ranges::find_if(headers_, [&](const Header& each) { return each.id == id; });
  return found == headers_.end() ? nullptr : &*found;
}

std::string_view HeaderMap::Get(HeaderId id) const {
  const Header* found = Find(id);
  return found == nullptr ? std::string_view() : found->value;
}

std::string_view HeaderMap::Joined(std::string_view name) const {
  const Header* first = Find(name);
  if (first == nullptr) return {};
  size_t n = 0, bytes = 0;
  for (const Header& each : headers_) {
    if (each.name != name) continue;
    ++n;
    bytes += each.value.size() + 1;
  }
  // Present and empty is not absent: the view points somewhere.
  if (n == 1) return first->value.data() == nullptr ? std::string_view("", 0) : first->value;
  std::string joined;
  joined.reserve(bytes);
  for (const Header& each : headers_) {
    if (each.name != name) continue;
    if (joined.size() > 0 || &each != first) joined += ',';
    joined += each.value;
  }
  return arena_->Copy(joined);
}

size_t HeaderMap::Count(HeaderId id) const {
  return static_cast<size_t>(std::ranges::count_if(headers_, [&](const Header& each) { return each.id == id; }));
}

size_t HeaderMap::ListBytes() const {
  size_t bytes = 0;
  for (const Header& each : headers_) bytes += each.name.size() + each.value.size() + 32;
  return bytes;
}

}  // namespace weft::http
