#pragma once

#include <vector>

#include "base/arena.h"
#include "http/message.h"
#include "l7/program.h"

// Cross-origin resource sharing, as VirtualServices and HTTPRoutes ask for it.
namespace weft::l7 {

// OPTIONS with an origin and the method that is meant.
bool IsPreflight(const http::RequestHead& request);
bool AllowsOrigin(const CorsProgram& cors, std::string_view origin);

// Added to the answer to a preflight, and to other responses, for an origin that is allowed.
void AddPreflightHeaders(const CorsProgram& cors, const http::RequestHead& request, Arena& arena,
                         std::vector<http::Header>& into);
void AddCorsHeaders(const CorsProgram& cors, const http::RequestHead& request, Arena& arena,
                    std::vector<http::Header>& into);

}  // namespace weft::l7
