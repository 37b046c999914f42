#include "waypoint/client_hello.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace weft::waypoint {
namespace {

constexpr uint8_t kHandshakeRecord = 22;
constexpr uint8_t kClientHelloMessage = 1;
constexpr uint16_t kServerNameExtension = 0;
constexpr uint8_t kHostName = 0;
constexpr size_t kRecordHeader = 5;
constexpr size_t kMessageHeader = 4;
constexpr size_t kMaxRecord = 16 * 1024;
constexpr size_t kMaxName = 253;

// Reads numbers and vectors from the front; once it has failed it gives nothing more.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  bool empty() const { return bytes_.empty(); }

  size_t Number(size_t width) {
    size_t value = 0;
    for (const uint8_t byte : Take(width)) value = value << 8 | byte;
    return value;
  }
  std::span<const uint8_t> Take(size_t n) {
    if (!ok_ || n > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const auto taken = bytes_.first(n);
    bytes_ = bytes_.subspan(n);
    return taken;
  }
  // A vector whose length comes before it in `width` bytes.
  std::span<const uint8_t> Vector(size_t width) { return Take(Number(width)); }

 private:
  std::span<const uint8_t> bytes_;
  bool ok_ = true;
};

bool IsName(std::span<const uint8_t> name) {
  return !name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), [](uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
  });
}

// The body of a server_name extension; nullopt: broken.
std::optional<std::string> ReadServerName(std::span<const uint8_t> body) {
  Reader reader(body);
  Reader list(reader.Vector(2));
  if (!reader.ok() || !reader.empty()) return std::nullopt;
  while (list.ok() && !list.empty()) {
    const size_t type = list.Number(1);
    const auto name = list.Vector(2);
    if (!list.ok()) return std::nullopt;
    if (type != kHostName) continue;
    if (!IsName(name)) return std::string();
    std::string text(name.begin(), name.end());
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return text;
  }
  return std::string();
}

ClientHello ReadBody(std::span<const uint8_t> body) {
  const ClientHello none{ClientHello::Outcome::kNone, {}};
  Reader hello(body);
  hello.Take(2 + 32);  // version, random
  hello.Vector(1);     // session id
  hello.Vector(2);     // cipher suites
  hello.Vector(1);     // compression methods
  if (!hello.ok()) return none;
  ClientHello done{ClientHello::Outcome::kDone, {}};
  if (hello.empty()) return done;  // no extensions
  Reader extensions(hello.Vector(2));
  if (!hello.ok() || !hello.empty()) return none;
  while (!extensions.empty()) {
    const size_t type = extensions.Number(2);
    const auto extension = extensions.Vector(2);
    if (!extensions.ok()) return none;
    if (type != kServerNameExtension) continue;
    const auto name = ReadServerName(extension);
    if (!name) return none;
    done.sni = *name;
    return done;
  }
  return done;
}

}  // namespace

ClientHello ParseClientHello(std::span<const uint8_t> bytes) {
  const ClientHello none{ClientHello::Outcome::kNone, {}};
  // The message may be spread over records; nearly always it is one, which needs no copy.
  std::vector<uint8_t> joined;
  std::span<const uint8_t> message;
  size_t needed = kMessageHeader;
  while (message.size() < needed) {
    if (!bytes.empty() && bytes[0] != kHandshakeRecord) return none;
    if (bytes.size() > 1 && bytes[1] != 3) return none;
    if (bytes.size() < kRecordHeader) return {};
    const size_t length = static_cast<size_t>(bytes[3]) << 8 | bytes[4];
    if (length == 0 || length > kMaxRecord) return none;
    const auto piece = bytes.subspan(kRecordHeader, std::min(length, bytes.size() - kRecordHeader));
    if (message.empty()) {
      message = piece;
    } else {
      if (joined.empty()) joined.assign(message.begin(), message.end());
      joined.insert(joined.end(), piece.begin(), piece.end());
      message = joined;
    }
    if (!message.empty() && message[0] != kClientHelloMessage) return none;
    if (message.size() >= kMessageHeader) {
      needed =
          kMessageHeader + (static_cast<size_t>(message[1]) << 16 | static_cast<size_t>(message[2]) << 8 | message[3]);
      if (needed > kMaxClientHello) return none;
    }
    if (piece.size() < length) break;
    bytes = bytes.subspan(kRecordHeader + length);
  }
  if (message.size() < needed) return {};
  return ReadBody(message.subspan(kMessageHeader, needed - kMessageHeader));
}

}  // namespace weft::waypoint
