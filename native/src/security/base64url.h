#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weft::security {

// RFC 4648 section 5. Padding is not asked for but taken; anything else that is not of the alphabet is refused, and so
// are bits behind the last byte, so that one value has one text.
std::optional<std::string> DecodeBase64Url(std::string_view text);
// Without padding.
std::string EncodeBase64Url(std::string_view bytes);

}  // namespace weft::security
