#include "upstream/pair_value.h"

#include <algorithm>

namespace weft::upstream {

std::optional<std::string_view> PairValue(std::string_view text, char separator, std::string_view name) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (pair.starts_with(' ')) pair.remove_prefix(1);
    const size_t equals = pair.find('=');
    if (equals != std::string_view::npos && pair.substr(0, equals) == name) return pair.substr(equals + 1);
  }
  return std::nullopt;
}

std::optional<std::string_view> CookieValue(const http::HeaderMap& headers, std::string_view name) {
  for (const http::Header& header : headers) {
    if (header.id != http::HeaderId::kCookie) continue;
    if (const auto value = PairValue(header.value, ';', name)) return value;
  }
  return std::nullopt;
}

}  // namespace weft::upstream
