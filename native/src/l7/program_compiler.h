#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "l7/program.h"

// Messages of proto/l7.proto to what loops execute. Pure; an error names the route, the field and the reason.
namespace weft::l7 {

class Chain;
class HttpRoutes;
class Listener;
class RouteGroup;
class Settings;

Result<std::shared_ptr<const SettingsProgram>> CompileSettings(const Settings& settings);
Result<std::shared_ptr<const RouteGroupProgram>> CompileRouteGroup(const RouteGroup& group);
// `groups` are those that the routes may name.
Result<std::shared_ptr<const HttpProgram>> CompileHttp(const HttpRoutes& routes, const RouteGroups& groups);

// A chain without what it names elsewhere (policies, telemetry, settings), which may change while the chain does not.
struct ChainParts {
  ChainProtocol protocol = ChainProtocol::kSniff;
  std::shared_ptr<const HttpProgram> http;
  std::vector<TlsRouteProgram> tls;
  std::vector<TcpRouteProgram> tcp;
  std::shared_ptr<const security::RateLimitProgram> rate_limits;
  std::vector<std::string> policies, jwt;
  std::string telemetry;
};
Result<std::shared_ptr<const ChainParts>> CompileChain(const Chain& chain, const RouteGroups& groups);

}  // namespace weft::l7
