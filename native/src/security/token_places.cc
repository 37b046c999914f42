#include "security/token_places.h"

#include <algorithm>
#include <string>

namespace weft::security {
namespace {

constexpr std::string_view kBearer = "Bearer ";
constexpr std::string_view kDefaultParameter = "access_token";

std::string_view FirstWord(std::string_view text) {
  // Up to a character that no token has: what follows it is somebody else's.
  const auto end = std::ranges::find_if(text, [](char c) {
    return !(c == '.' || c == '-' || c == '_' || c == '=' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
             (c >= 'A' && c <= 'Z'));
  });
  return text.substr(0, static_cast<size_t>(end - text.begin()));
}

// Calls `visit(name, value, whole)` for each part of "a=b<separator>c=d".
template <typename Visit>
void ForEachPair(std::string_view text, char separator, Visit visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    std::string_view whole = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!whole.empty() && whole.front() == ' ') whole.remove_prefix(1);
    const size_t equals = whole.find('=');
    if (equals == std::string_view::npos) continue;
    visit(whole.substr(0, equals), whole.substr(equals + 1), whole);
  }
}

std::string_view QueryOf(std::string_view path) {
  const size_t mark = path.find('?');
  if (mark == std::string_view::npos) return {};
  path.remove_prefix(mark + 1);
  return path.substr(0, path.find('#'));
}

std::string WithoutPair(std::string_view text, char separator, std::string_view joint, std::string_view name) {
  std::string kept;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    std::string_view whole = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!whole.empty() && whole.front() == ' ') whole.remove_prefix(1);
    if (whole.substr(0, whole.find('=')) == name) continue;
    if (!kept.empty()) kept += joint;
    kept += whole;
  }
  return kept;
}

void FindInHeaders(const TokenHeader& place, const http::RequestHead& request, std::vector<FoundToken>& into) {
  for (const http::Header& header : request.headers) {
    if (header.name != place.name) continue;
    std::string_view value = header.value;
    if (!place.prefix.empty()) {
      // Anywhere in the value: "Basic x, Bearer y" has a token too.
      const size_t at = value.find(place.prefix);
      if (at == std::string_view::npos) continue;
      value = value.substr(at + place.prefix.size());
      while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    }
    into.push_back({FoundToken::Place::kHeader, header.name, FirstWord(value)});
  }
}

void FindInParameters(std::string_view name, const http::RequestHead& request, std::vector<FoundToken>& into) {
  ForEachPair(QueryOf(request.path), '&', [&](std::string_view key, std::string_view value, std::string_view) {
    if (key == name) into.push_back({FoundToken::Place::kParameter, key, value});
  });
}

void FindInCookies(std::string_view name, const http::RequestHead& request, std::vector<FoundToken>& into) {
  for (const http::Header& header : request.headers) {
    if (header.id != http::HeaderId::kCookie) continue;
    ForEachPair(header.value, ';', [&](std::string_view key, std::string_view value, std::string_view) {
      if (key == name) into.push_back({FoundToken::Place::kCookie, key, value});
    });
  }
}

}  // namespace

std::vector<FoundToken> FindTokens(const JwtRuleProgram& rule, const http::RequestHead& request) {
  std::vector<FoundToken> found;
  if (rule.from_headers.empty() && rule.from_params.empty() && rule.from_cookies.empty()) {
    static const TokenHeader kAuthorization{"authorization", std::string(kBearer)};
    FindInHeaders(kAuthorization, request, found);
    FindInParameters(kDefaultParameter, request, found);
    return found;
  }
  for (const TokenHeader& header : rule.from_headers) FindInHeaders(header, request, found);
  for (const std::string& name : rule.from_params) FindInParameters(name, request, found);
  for (const std::string& name : rule.from_cookies) FindInCookies(name, request, found);
  return found;
}

void TakeOut(const FoundToken& token, http::RequestHead& request, Arena& arena) {
  switch (token.place) {
    case FoundToken::Place::kHeader:
      request.headers.Remove(token.name);
      return;
    case FoundToken::Place::kParameter: {
      const std::string query = WithoutPair(QueryOf(request.path), '&', "&", token.name);
      const std::string_view before = request.PathWithoutQuery();
      request.path = arena.Copy(query.empty() ? std::string(before) : std::string(before) + "?" + query);
      return;
    }
    case FoundToken::Place::kCookie: {
      const std::string cookies = WithoutPair(request.headers.Joined("cookie"), ';', "; ", token.name);
      if (cookies.empty()) {
        request.headers.Remove(http::HeaderId::kCookie);
      } else {
        request.headers.Set(http::HeaderId::kCookie, cookies);
      }
      return;
    }
  }
}

}  // namespace weft::security
