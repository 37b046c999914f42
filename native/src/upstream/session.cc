#include "upstream/session.h"

#include <charconv>
#include <cstdio>

#include "upstream/hash.h"
#include "upstream/pair_value.h"

namespace weft::upstream {
namespace {

// Apart from all other hashes of addresses.
constexpr uint64_t kSessionSeed = 0x5e5510;
constexpr size_t kIdDigits = 16;

std::optional<uint64_t> ParseHex(std::string_view text) {
  uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

uint64_t SessionIdOf(std::string_view address_text) { return HashText(address_text, kSessionSeed); }

// "<id>", or "<id>.<seconds since 1970 when it is over>", both in hexadecimal.
std::optional<uint64_t> SessionIn(const SessionConfig& config, const http::RequestHead& request, uint64_t unix_ms) {
  std::string_view text;
  if (!config.cookie.empty()) {
    const auto value = CookieValue(request.headers, config.cookie);
    if (!value) return std::nullopt;
    text = *value;
  } else {
    const http::Header* const header = request.headers.Find(config.header);
    if (header == nullptr) return std::nullopt;
    text = header->value;
  }
  const size_t dot = text.find('.');
  if (text.substr(0, dot).size() != kIdDigits) return std::nullopt;
  const std::optional<uint64_t> id = ParseHex(text.substr(0, dot));
  if (config.absolute_timeout_ms == 0 || !id) return id;
  if (dot == std::string_view::npos) return std::nullopt;
  const std::optional<uint64_t> until_s = ParseHex(text.substr(dot + 1));
  if (!until_s || unix_ms / 1000 >= *until_s) return std::nullopt;
  return id;
}

void WriteSession(const SessionConfig& config, uint64_t id, uint64_t unix_ms, AnswerField& answer) {
  char text[2 * kIdDigits + 2];
  int n = std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(id));
  if (config.absolute_timeout_ms != 0) {
    const uint64_t until_s = (unix_ms + config.absolute_timeout_ms) / 1000;
    n += std::snprintf(text + n, sizeof text - static_cast<size_t>(n), ".%llx",
                       static_cast<unsigned long long>(until_s));
  }
  const std::string_view value(text, static_cast<size_t>(n));
  if (config.cookie.empty()) {
    answer.name = config.header;
    answer.value = value;
    return;
  }
  answer.name = http::HeaderName(http::HeaderId::kSetCookie);
  answer.value.assign(config.cookie).append("=").append(value);
  if (config.permanent) answer.value.append("; Max-Age=").append(std::to_string(config.absolute_timeout_ms / 1000));
  if (!config.path.empty()) answer.value.append("; Path=").append(config.path);
  answer.value.append("; HttpOnly");
}

}  // namespace weft::upstream
