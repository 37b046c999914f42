#include "upstream/hash_key.h"

#include <cstdio>

#include "upstream/hash.h"
#include "upstream/pair_value.h"

namespace weft::upstream {
namespace {

std::optional<uint64_t> HashCookie(const HashKeyConfig& key, const PickContext& context, uint64_t random) {
  if (const auto value = CookieValue(context.request->headers, key.name)) return HashText(*value);
  if (!key.ttl_ms || context.answer == nullptr) return std::nullopt;
  char made[24];
  std::snprintf(made, sizeof made, "%016llx", static_cast<unsigned long long>(HashText({}, random)));
  context.answer->name = http::HeaderName(http::HeaderId::kSetCookie);
  std::string& cookie = context.answer->value;
  cookie = key.name + "=\"" + made + "\"";
  if (*key.ttl_ms > 0) cookie += "; Max-Age=" + std::to_string(*key.ttl_ms / 1000);
  if (!key.path.empty()) cookie += "; Path=" + key.path;
  for (const std::string& each : key.attributes) cookie += "; " + each;
  cookie += "; HttpOnly";
  return HashText("\"" + std::string(made) + "\"");
}

}  // namespace

std::optional<uint64_t> HashOf(const ClusterConfig& config, const PickContext& context, uint64_t random) {
  for (const HashKeyConfig& key : config.hash) {
    if (key.kind == HashKeyConfig::Kind::kSourceIp) return HashText(context.source.ToString());
    if (context.request == nullptr) continue;
    switch (key.kind) {
      case HashKeyConfig::Kind::kHeader:
        if (const std::string_view value = context.request->headers.Joined(key.name); value.data() != nullptr) {
          return HashText(value);
        }
        break;
      case HashKeyConfig::Kind::kCookie:
        if (const auto hash = HashCookie(key, context, random)) return hash;
        break;
      case HashKeyConfig::Kind::kQuery: {
        const std::string_view path = context.request->path;
        const size_t mark = path.find('?');
        if (mark == std::string_view::npos) break;
        if (const auto value = PairValue(path.substr(mark + 1), '&', key.name)) return HashText(*value);
        break;
      }
      default:
        break;
    }
  }
  return std::nullopt;
}

}  // namespace weft::upstream
