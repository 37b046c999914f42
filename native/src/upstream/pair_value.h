#pragma once

#include <optional>
#include <string_view>

#include "http/header_map.h"

namespace weft::upstream {

// The value of `name` in "a=1; b=2" with separator ';', or "a=1&b=2" with '&'.
std::optional<std::string_view> PairValue(std::string_view text, char separator, std::string_view name);

// A cookie of a request, as it was sent (with quotes, where it has some).
std::optional<std::string_view> CookieValue(const http::HeaderMap& headers, std::string_view name);

}  // namespace weft::upstream
