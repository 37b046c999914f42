#include "l7/cors.h"

#include <algorithm>

namespace weft::l7 {
namespace {

constexpr std::string_view kRequestMethod = "access-control-request-method";
constexpr std::string_view kRequestHeaders = "access-control-request-headers";

std::string_view ValueOf(const http::RequestHead& request, std::string_view name) {
  const http::Header* const header = request.headers.Find(name);
  return header == nullptr ? std::string_view() : header->value;
}

// Browsers take a literal "*" as a name when credentials are allowed, so HTTPRoutes get what was asked for instead.
std::string_view ListOrAsked(const CorsProgram& cors, bool any, const std::string& list, std::string_view asked) {
  return cors.gateway_api && any && cors.allow_credentials ? asked : std::string_view(list);
}

void Add(std::string_view name, std::string_view value, Arena& arena, std::vector<http::Header>& into) {
  if (!value.empty()) into.push_back({name, arena.Copy(value)});
}

void AddCommon(const CorsProgram& cors, const http::RequestHead& request, Arena& arena,
               std::vector<http::Header>& into) {
  Add("access-control-allow-origin", request.headers.Get(http::HeaderId::kOrigin), arena, into);
  if (cors.allow_credentials) into.push_back({"access-control-allow-credentials", "true"});
}

}  // namespace

bool IsPreflight(const http::RequestHead& request) {
  return request.method == "OPTIONS" && !request.headers.Get(http::HeaderId::kOrigin).empty() &&
         request.headers.Find(kRequestMethod) != nullptr;
}

bool AllowsOrigin(const CorsProgram& cors, std::string_view origin) {
  if (origin.empty()) return false;
  return cors.any_origin ||
         std::ranges::any_of(cors.allow_origins, [&](const StringMatcher& each) { return each.Matches(origin); });
}

void AddPreflightHeaders(const CorsProgram& cors, const http::RequestHead& request, Arena& arena,
                         std::vector<http::Header>& into) {
  AddCommon(cors, request, arena, into);
  Add("access-control-allow-methods",
      ListOrAsked(cors, cors.any_method, cors.allow_methods, ValueOf(request, kRequestMethod)), arena, into);
  Add("access-control-allow-headers",
      ListOrAsked(cors, cors.any_header, cors.allow_headers, ValueOf(request, kRequestHeaders)), arena, into);
  if (cors.gateway_api) {
    Add("access-control-expose-headers", ListOrAsked(cors, cors.any_expose, cors.expose_headers, {}), arena, into);
  }
  if (cors.max_age_s) Add("access-control-max-age", std::to_string(*cors.max_age_s), arena, into);
}

void AddCorsHeaders(const CorsProgram& cors, const http::RequestHead& request, Arena& arena,
                    std::vector<http::Header>& into) {
  AddCommon(cors, request, arena, into);
  Add("access-control-expose-headers", ListOrAsked(cors, cors.any_expose, cors.expose_headers, {}), arena, into);
}

}  // namespace weft::l7
