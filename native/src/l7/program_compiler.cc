#include "l7/program_compiler.h"

#include <algorithm>

#include "l7.pb.h"

namespace weft::l7 {
namespace {

constexpr uint32_t kMillion = 1'000'000;
constexpr uint64_t kDefaultBackoffMs = 25;
constexpr uint64_t kBackoffGrowth = 10;
// Weights are summed in 32 bits; Gateway API's own bound for one is a million.
constexpr uint64_t kMaxTotalWeight = 0xffffffff;

Error At(const std::string& where, const Error& error) { return Error{EINVAL, where + ": " + error.what}; }

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower;
}

Result<std::vector<MirrorProgram>> CompileMirrors(const google::protobuf::RepeatedPtrField<Mirror>& from) {
  std::vector<MirrorProgram> mirrors;
  for (const Mirror& each : from) {
    if (each.share_ppm() > kMillion) return Error{EINVAL, "mirror: a share above 100 %"};
    if (each.share_ppm() > 0) mirrors.push_back({each.cluster(), each.share_ppm()});
  }
  return mirrors;
}

Result<WeightedClusterProgram> CompileCluster(const WeightedCluster& from) {
  WeightedClusterProgram program;
  program.cluster = from.cluster();
  program.weight = from.weight();
  Result<HeaderEdits> request = HeaderEdits::Compile(from.request_headers());
  if (!request) return request.error();
  Result<HeaderEdits> response = HeaderEdits::Compile(from.response_headers());
  if (!response) return response.error();
  Result<RewriteProgram> rewrite = RewriteProgram::Compile(from.rewrite());
  if (!rewrite) return rewrite.error();
  Result<std::vector<MirrorProgram>> mirrors = CompileMirrors(from.mirrors());
  if (!mirrors) return mirrors.error();
  if (from.has_redirect()) {
    Result<RedirectProgram> redirect = RedirectProgram::Compile(from.redirect());
    if (!redirect) return redirect.error();
    program.redirect = std::move(*redirect);
  }
  program.request_headers = std::move(*request);
  program.response_headers = std::move(*response);
  program.rewrite = std::move(*rewrite);
  program.mirrors = std::move(*mirrors);
  return program;
}

Result<RetryProgram> CompileRetry(const RetryPolicy& from) {
  RetryProgram program;
  program.attempts = from.attempts();
  for (const int each : from.on()) {
    if (!RetryOn_IsValid(each)) return Error{EINVAL, "retry: condition " + std::to_string(each) + " is not known"};
    program.on |= RetryBit(each);
  }
  for (const uint32_t code : from.codes()) {
    if (code < 100 || code > 599) return Error{EINVAL, "retry: " + std::to_string(code) + " is no status"};
    program.codes.push_back(static_cast<uint16_t>(code));
  }
  program.per_try_timeout_ms = from.per_try_timeout_ms();
  program.backoff_base_ms = from.backoff_base_ms() == 0 ? kDefaultBackoffMs : from.backoff_base_ms();
  program.backoff_max_ms =
      from.backoff_max_ms() == 0 ? kBackoffGrowth * program.backoff_base_ms : from.backoff_max_ms();
  program.backoff_min_ms = from.backoff_min_ms();
  program.avoid_previous_hosts = from.avoid_previous_hosts();
  program.other_priorities = from.other_priorities();
  for (const HeaderMatch& each : from.retriable_headers()) {
    Result<HeaderMatcher> header = HeaderMatcher::Compile(each);
    if (!header) return header.error();
    program.retriable_headers.push_back(std::move(*header));
  }
  return program;
}

Result<ForwardProgram> CompileForward(const Forward& from) {
  ForwardProgram program;
  uint64_t total = 0;
  for (const WeightedCluster& each : from.clusters()) {
    Result<WeightedClusterProgram> cluster = CompileCluster(each);
    if (!cluster) return cluster.error();
    total += cluster->weight;
    program.clusters.push_back(std::move(*cluster));
  }
  if (total > kMaxTotalWeight) return Error{EINVAL, "the weights are too large"};
  program.total_weight = static_cast<uint32_t>(total);
  Result<RewriteProgram> rewrite = RewriteProgram::Compile(from.rewrite());
  if (!rewrite) return rewrite.error();
  program.rewrite = std::move(*rewrite);
  program.timeout_ms = from.timeout_ms();
  if (from.has_retry()) {
    Result<RetryProgram> retry = CompileRetry(from.retry());
    if (!retry) return retry.error();
    program.retry = std::move(*retry);
  }
  Result<std::vector<MirrorProgram>> mirrors = CompileMirrors(from.mirrors());
  if (!mirrors) return mirrors.error();
  program.mirrors = std::move(*mirrors);
  if (from.unavailable_status() != 0) program.unavailable_status = static_cast<uint16_t>(from.unavailable_status());
  program.websocket_refused = from.websocket_refused();
  program.max_grpc_timeout_ms = from.max_grpc_timeout_ms();
  return program;
}

Result<FaultProgram> CompileFault(const Fault& from) {
  if (from.delay_ppm() > kMillion || from.abort_ppm() > kMillion) return Error{EINVAL, "fault: above 100 %"};
  if (from.abort_ppm() > 0 && !from.has_abort_grpc_status() &&
      (from.abort_status() < 200 || from.abort_status() > 600)) {
    return Error{EINVAL, "fault: abort with status " + std::to_string(from.abort_status())};
  }
  FaultProgram program;
  program.delay_ms = from.delay_ms();
  program.delay_ppm = from.delay_ppm();
  program.abort_status = static_cast<uint16_t>(from.abort_status());
  if (from.has_abort_grpc_status()) program.abort_grpc_status = from.abort_grpc_status();
  program.abort_ppm = from.abort_ppm();
  return program;
}

template <typename Texts>
std::string Join(const Texts& texts, bool* any) {
  std::string joined;
  for (const std::string& each : texts) {
    if (each == "*") *any = true;
    if (!joined.empty()) joined += ",";
    joined += each;
  }
  return joined;
}

Result<std::unique_ptr<const CorsProgram>> CompileCors(const Cors& from) {
  auto program = std::make_unique<CorsProgram>();
  for (const StringMatch& each : from.allow_origins()) {
    if (each.exact() == "*") program->any_origin = true;
    Result<StringMatcher> origin = StringMatcher::Compile(each);
    if (!origin) return Error{EINVAL, "cors: " + origin.error().what};
    program->allow_origins.push_back(std::move(*origin));
  }
  program->allow_methods = Join(from.allow_methods(), &program->any_method);
  program->allow_headers = Join(from.allow_headers(), &program->any_header);
  program->expose_headers = Join(from.expose_headers(), &program->any_expose);
  if (from.has_max_age_s()) program->max_age_s = from.max_age_s();
  program->allow_credentials = from.allow_credentials();
  program->ignore_unmatched_preflights = from.ignore_unmatched_preflights();
  program->gateway_api = from.gateway_api();
  return std::unique_ptr<const CorsProgram>(std::move(program));
}

Status CompileAction(const Route& from, RouteProgram& program) {
  switch (from.action_case()) {
    case Route::kForward: {
      Result<ForwardProgram> forward = CompileForward(from.forward());
      if (!forward) return forward.error();
      program.forward = std::move(*forward);
      return Ok{};
    }
    case Route::kRedirect: {
      Result<RedirectProgram> redirect = RedirectProgram::Compile(from.redirect());
      if (!redirect) return redirect.error();
      program.action = RouteProgram::Action::kRedirect;
      program.redirect = std::move(*redirect);
      return Ok{};
    }
    case Route::kDirect: {
      const DirectResponse& direct = from.direct();
      if (direct.status() < 200 || direct.status() > 600) {
        return Error{EINVAL, "direct response: " + std::to_string(direct.status()) + " is no status"};
      }
      program.action = RouteProgram::Action::kDirect;
      program.direct = {static_cast<uint16_t>(direct.status()), direct.body(), direct.content_type(), direct.flag()};
      return Ok{};
    }
    case Route::ACTION_NOT_SET:
      break;
  }
  return Error{EINVAL, "no action"};
}

Result<std::unique_ptr<const RouteProgram>> CompileRoute(const Route& from) {
  auto program = std::make_unique<RouteProgram>();
  program->name = from.name();
  program->origin = from.origin();
  Result<RouteMatch> match = RouteMatch::Compile(from.match());
  if (!match) return match.error();
  program->match = std::move(*match);
  program->pattern = program->match.Pattern();
  if (const Status status = CompileAction(from, *program); !status) return status.error();
  Result<HeaderEdits> request = HeaderEdits::Compile(from.request_headers());
  if (!request) return request.error();
  Result<HeaderEdits> response = HeaderEdits::Compile(from.response_headers());
  if (!response) return response.error();
  program->request_headers = std::move(*request);
  program->response_headers = std::move(*response);
  if (from.has_fault()) {
    Result<FaultProgram> fault = CompileFault(from.fault());
    if (!fault) return fault.error();
    program->fault = *fault;
  }
  if (from.has_cors()) {
    Result<std::unique_ptr<const CorsProgram>> cors = CompileCors(from.cors());
    if (!cors) return cors.error();
    program->cors = std::move(*cors);
  }
  if (from.has_rate_limits()) {
    auto limits = security::RateLimitProgram::Compile(from.rate_limits());
    if (!limits) return At("rate limits", limits.error());
    program->rate_limits = std::move(*limits);
  }
  if (from.has_authorizer()) {
    auto authorizer = security::AuthorizerProgram::Compile(from.authorizer());
    if (!authorizer) return authorizer.error();
    program->authorizer = std::move(*authorizer);
  }
  return std::unique_ptr<const RouteProgram>(std::move(program));
}

// The object that a route was made of: the control plane tells its author.
std::string Of(const std::string& origin) { return origin.empty() ? origin : " of " + origin; }

Result<std::shared_ptr<const RouteGroupProgram>> CompileRoutes(const google::protobuf::RepeatedPtrField<Route>& from) {
  auto program = std::make_shared<RouteGroupProgram>();
  program->routes.reserve(static_cast<size_t>(from.size()));
  for (const Route& each : from) {
    Result<std::unique_ptr<const RouteProgram>> route = CompileRoute(each);
    if (!route) {
      return At("route " + std::to_string(program->routes.size()) + " (" + each.name() + ")" + Of(each.origin()),
                route.error());
    }
    program->routes.push_back(std::move(*route));
  }
  return std::shared_ptr<const RouteGroupProgram>(std::move(program));
}

Result<std::unique_ptr<VirtualHostProgram>> CompileHost(const VirtualHost& from, const RouteGroups& groups) {
  auto program = std::make_unique<VirtualHostProgram>();
  program->name = from.name();
  for (const std::string& name : from.route_groups()) {
    const auto found = groups.find(name);
    if (found == groups.end()) return Error{ENOENT, "there is no route group " + name};
    program->groups.push_back(found->second);
  }
  Result<std::shared_ptr<const RouteGroupProgram>> own = CompileRoutes(from.routes());
  if (!own) return own.error();
  program->groups.push_back(std::move(*own));
  std::vector<const RouteMatch*> matches;
  for (const auto& group : program->groups) {
    for (const auto& route : group->routes) {
      program->routes.push_back(route.get());
      matches.push_back(&route->match);
    }
  }
  program->index = std::make_unique<RouteIndex>(std::move(matches));
  return program;
}

Result<TcpRouteProgram> CompileTcpRoute(const TcpRoute& from) {
  TcpRouteProgram program;
  for (const Cidr& each : from.destinations()) {
    const std::optional<CidrRange> range = CidrRange::Make(each.ip(), each.length());
    if (!range)
      return Error{EINVAL, "\"" + each.ip() + "/" + std::to_string(each.length()) + "\" is no range of addresses"};
    program.destinations.push_back(*range);
  }
  uint64_t total = 0;
  for (const WeightedCluster& each : from.clusters()) {
    program.clusters.emplace_back(each.cluster(), each.weight());
    total += each.weight();
  }
  if (total > kMaxTotalWeight) return Error{EINVAL, "the weights are too large"};
  program.total_weight = static_cast<uint32_t>(total);
  program.idle_ms = from.idle_ms();
  program.origin = from.origin();
  program.source_namespace = from.source_namespace();
  return program;
}

}  // namespace

Result<std::shared_ptr<const SettingsProgram>> CompileSettings(const Settings& from) {
  auto program = std::make_shared<SettingsProgram>();
  switch (from.path_normalization()) {
    case NONE:
      program->path_form = PathForm::kNone;
      break;
    case MERGE_SLASHES:
      program->path_form = PathForm::kMergeSlashes;
      break;
    case DECODE_AND_MERGE_SLASHES:
      program->path_form = PathForm::kDecodeAndMergeSlashes;
      break;
    default:
      break;
  }
  if (!from.server_name().empty()) program->server_name = from.server_name();
  program->proxy_name = from.proxy_name();
  program->trust_domain = from.trust_domain();
  program->trusted_proxies = from.trusted_proxies();
  program->xfcc_from_peer = from.xfcc_from_peer();
  if (from.max_request_header_bytes() != 0) program->max_request_header_bytes = from.max_request_header_bytes();
  program->stream_idle_ms = from.stream_idle_ms();
  program->policies.assign(from.policies().begin(), from.policies().end());
  program->jwt.assign(from.jwt().begin(), from.jwt().end());
  program->telemetry = from.telemetry();
  return std::shared_ptr<const SettingsProgram>(std::move(program));
}

Result<std::shared_ptr<const RouteGroupProgram>> CompileRouteGroup(const RouteGroup& from) {
  return CompileRoutes(from.routes());
}

Result<std::shared_ptr<const HttpProgram>> CompileHttp(const HttpRoutes& routes, const RouteGroups& groups) {
  auto program = std::make_shared<HttpProgram>();
  for (const VirtualHost& each : routes.hosts()) {
    Result<std::unique_ptr<VirtualHostProgram>> host = CompileHost(each, groups);
    if (!host) return At("host " + each.name(), host.error());
    const VirtualHostProgram* made = host->get();
    program->hosts.push_back(std::move(*host));
    for (const std::string& domain : each.domains()) {
      if (domain == "*") {
        program->any = made;
      } else if (domain.starts_with('*')) {
        program->suffixes.emplace_back(Lower(domain.substr(1)), made);
      } else {
        program->exact.emplace(Lower(domain), made);
      }
    }
  }
  std::ranges::sort(program->suffixes, [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  return std::shared_ptr<const HttpProgram>(std::move(program));
}

Result<std::shared_ptr<const ChainParts>> CompileChain(const Chain& from, const RouteGroups& groups) {
  auto parts = std::make_shared<ChainParts>();
  switch (from.protocol()) {
    case Chain::HTTP:
      parts->protocol = ChainProtocol::kHttp;
      break;
    case Chain::TCP:
      parts->protocol = ChainProtocol::kTcp;
      break;
    case Chain::TLS:
      parts->protocol = ChainProtocol::kTls;
      break;
    default:
      break;
  }
  if (from.has_http()) {
    Result<std::shared_ptr<const HttpProgram>> http = CompileHttp(from.http(), groups);
    if (!http) return http.error();
    parts->http = std::move(*http);
  }
  for (const TlsRoute& each : from.tls()) {
    Result<TcpRouteProgram> route = CompileTcpRoute(each.route());
    if (!route) return At("tls route" + Of(each.route().origin()), route.error());
    TlsRouteProgram& added = parts->tls.emplace_back();
    for (const std::string& sni : each.sni()) added.sni.push_back(Lower(sni));
    added.route = std::move(*route);
  }
  for (const TcpRoute& each : from.tcp()) {
    Result<TcpRouteProgram> route = CompileTcpRoute(each);
    if (!route) return At("tcp route" + Of(each.origin()), route.error());
    parts->tcp.push_back(std::move(*route));
  }
  if (from.has_rate_limits()) {
    auto limits = security::RateLimitProgram::Compile(from.rate_limits());
    if (!limits) return At("rate limits", limits.error());
    parts->rate_limits = std::move(*limits);
  }
  parts->policies.assign(from.policies().begin(), from.policies().end());
  parts->jwt.assign(from.jwt().begin(), from.jwt().end());
  parts->telemetry = from.telemetry();
  return std::shared_ptr<const ChainParts>(std::move(parts));
}

}  // namespace weft::l7
