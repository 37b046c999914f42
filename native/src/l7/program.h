#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "l7/header_matcher.h"
#include "l7/header_ops.h"
#include "l7/path_normalization.h"
#include "l7/redirect.h"
#include "l7/rewrite.h"
#include "l7/route_index.h"
#include "l7/route_match.h"
#include "net/cidr.h"
#include "net/transport.h"
#include "security/authorizer.h"
#include "security/rate_limit.h"
#include "security/security_catalog.h"
#include "telemetry/program.h"

// The L7 program as loops execute it: proto/l7.proto compiled, checked, and never changed. Made by ProgramStore.
namespace weft::l7 {

struct MirrorProgram {
  std::string cluster;
  uint32_t share_ppm = 1'000'000;
};

struct WeightedClusterProgram {
  std::string cluster;  // empty: a reference that could not be resolved
  uint32_t weight = 0;
  HeaderEdits request_headers, response_headers;
  RewriteProgram rewrite;
  std::optional<RedirectProgram> redirect;
  std::vector<MirrorProgram> mirrors;
};

// Bits of RetryProgram::on, by proto/l7.proto's RetryOn.
inline constexpr uint32_t RetryBit(int retry_on) { return 1u << retry_on; }

struct RetryProgram {
  uint32_t attempts = 0;  // after the first
  uint32_t on = 0;
  std::vector<uint16_t> codes;
  uint64_t per_try_timeout_ms = 0;
  uint64_t backoff_base_ms = 25;
  uint64_t backoff_max_ms = 250;
  uint64_t backoff_min_ms = 0;
  bool avoid_previous_hosts = false;
  bool other_priorities = false;
  std::vector<HeaderMatcher> retriable_headers;
};

struct ForwardProgram {
  std::vector<WeightedClusterProgram> clusters;
  uint32_t total_weight = 0;
  RewriteProgram rewrite;
  uint64_t timeout_ms = 0;  // 0: none
  std::optional<RetryProgram> retry;
  std::vector<MirrorProgram> mirrors;
  uint16_t unavailable_status = 503;
  bool websocket_refused = false;
  uint64_t max_grpc_timeout_ms = 0;

  // By a random number. Null: there is none of any weight.
  const WeightedClusterProgram* Draw(uint32_t random) const;
};

struct DirectProgram {
  uint16_t status = 200;
  std::string body;
  std::string content_type;
  std::string flag;
};

struct FaultProgram {
  uint64_t delay_ms = 0;
  uint32_t delay_ppm = 0;
  uint16_t abort_status = 0;  // 0: none, or by grpc status
  std::optional<uint32_t> abort_grpc_status;
  uint32_t abort_ppm = 0;
};

struct CorsProgram {
  std::vector<StringMatcher> allow_origins;
  std::string allow_methods, allow_headers, expose_headers;  // joined by ","; Gateway API's lists too
  std::optional<uint64_t> max_age_s;
  bool allow_credentials = false;
  bool ignore_unmatched_preflights = false;
  bool gateway_api = false;
  bool any_origin = false, any_method = false, any_header = false, any_expose = false;  // a literal "*"
};

struct RouteProgram {
  enum class Action : uint8_t { kForward, kRedirect, kDirect };
  std::string name;
  std::string origin;
  std::string pattern;
  RouteMatch match;
  Action action = Action::kForward;
  ForwardProgram forward;
  RedirectProgram redirect;
  DirectProgram direct;
  HeaderEdits request_headers, response_headers;
  std::optional<FaultProgram> fault;
  std::unique_ptr<const CorsProgram> cors;
  std::shared_ptr<const security::RateLimitProgram> rate_limits;
  std::shared_ptr<const security::AuthorizerProgram> authorizer;
};

// Routes that virtual hosts share, also those of programs that follow each other.
struct RouteGroupProgram {
  std::vector<std::unique_ptr<const RouteProgram>> routes;
};
using RouteGroups = std::map<std::string, std::shared_ptr<const RouteGroupProgram>>;

struct VirtualHostProgram {
  std::string name;
  std::vector<std::shared_ptr<const RouteGroupProgram>> groups;
  std::vector<const RouteProgram*> routes;  // of all groups, in their order
  std::unique_ptr<const RouteIndex> index;

  // Null: no route.
  const RouteProgram* Find(const MatchContext& context) const;
};

struct HttpProgram {
  std::vector<std::unique_ptr<const VirtualHostProgram>> hosts;
  std::unordered_map<std::string, const VirtualHostProgram*> exact;         // lower case
  std::vector<std::pair<std::string, const VirtualHostProgram*>> suffixes;  // ".x", longest first
  const VirtualHostProgram* any = nullptr;

  // By the host of an authority, port and case ignored. Null: none.
  const VirtualHostProgram* FindHost(std::string_view authority) const;
};

struct TcpRouteProgram {
  std::vector<CidrRange> destinations;  // empty: any
  std::string source_namespace;         // empty: any
  std::vector<std::pair<std::string, uint32_t>> clusters;
  uint32_t total_weight = 0;
  uint64_t idle_ms = 0;
  std::string origin;

  bool Matches(const IpAddress& destination, std::string_view peer_namespace) const;
  // Null: close the connection.
  const std::string* Draw(uint32_t random) const;
};
struct TlsRouteProgram {
  std::vector<std::string> sni;  // lower case, exact or "*.x"
  TcpRouteProgram route;
  bool MatchesSni(std::string_view name) const;
};

struct SettingsProgram {
  PathForm path_form = PathForm::kBase;
  std::string server_name = "istio-envoy";
  std::string proxy_name;
  std::string trust_domain;
  uint32_t trusted_proxies = 0;
  bool xfcc_from_peer = false;
  uint32_t max_request_header_bytes = 60 * 1024;
  uint64_t stream_idle_ms = 0;
  std::vector<std::string> policies, jwt;
  std::string telemetry;
};

enum class ChainProtocol : uint8_t { kSniff, kHttp, kTcp, kTls };

struct ChainProgram {
  ChainProtocol protocol = ChainProtocol::kSniff;
  std::shared_ptr<const HttpProgram> http;  // null: none, every request is 404 NR
  std::vector<TlsRouteProgram> tls;
  std::vector<TcpRouteProgram> tcp;
  std::shared_ptr<const security::ChainSecurity> security;        // null: nothing is asked
  std::shared_ptr<const telemetry::TelemetryProgram> telemetry;   // null: none
  std::shared_ptr<const security::RateLimitProgram> rate_limits;  // null: none
  std::shared_ptr<const SettingsProgram> settings;                // never null
};

struct ListenerProgram {
  std::string name;
  std::string address;
  uint16_t port = 0;
  std::optional<TlsServerOptions> tls;
  std::shared_ptr<const ChainProgram> chain;
};

struct DestinationProgram {
  std::string name;
  std::string namespace_name, hostname, service_name;
  std::vector<IpAddress> addresses;
  std::map<uint16_t, std::shared_ptr<const ChainProgram>> ports;
};

// Where a CONNECT leads.
struct ChainEntry {
  std::shared_ptr<const DestinationProgram> destination;
  std::shared_ptr<const ChainProgram> chain;
};

struct Program {
  uint64_t version = 0;
  std::shared_ptr<const SettingsProgram> settings;
  std::shared_ptr<const telemetry::TelemetryProgram> telemetry;  // of what has no chain; null: none
  std::unordered_map<SocketAddress, ChainEntry> by_address;
  std::unordered_map<std::string, ChainEntry> by_host;  // "hostname:port"
  std::map<std::string, std::shared_ptr<const ListenerProgram>> listeners;
};

}  // namespace weft::l7
