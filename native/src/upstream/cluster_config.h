#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/ip_address.h"
#include "net/socket.h"
#include "net/transport.h"
#include "upstream/cluster.h"

// Cluster and Endpoints of proto/l7.proto, compiled. Immutable and shared by all loops.
namespace weft::upstream {

struct HashKeyConfig {
  enum class Kind : uint8_t { kHeader, kCookie, kSourceIp, kQuery };
  Kind kind = Kind::kSourceIp;
  std::string name;
  std::string path;                // cookie
  std::optional<uint64_t> ttl_ms;  // cookie: made when absent; 0: a session cookie
  std::vector<std::string> attributes;
};

enum class Algorithm : uint8_t { kLeastRequest, kRoundRobin, kRandom, kRingHash, kMaglev };

struct LocalityConfig {
  bool failover = false;
  std::map<std::string, std::string> failovers;
  std::vector<std::string> failover_priority;
  // "from" locality pattern to shares by "to" pattern.
  std::vector<std::pair<std::string, std::map<std::string, uint32_t>>> distribute;
  bool strict = false;
};

struct OutlierConfig {
  uint32_t consecutive_5xx = 0;
  uint32_t consecutive_gateway_errors = 0;
  bool split_local_origin = false;
  uint32_t consecutive_local_origin = 0;
  uint64_t interval_ms = 10'000;
  uint64_t base_ejection_ms = 30'000;
  uint32_t max_ejection_percent = 10;
  uint32_t min_health_percent = 0;
  std::vector<uint16_t> error_codes;
};

struct SessionConfig {
  // One of the two names what carries the session.
  std::string cookie, header;
  std::string path;
  uint64_t absolute_timeout_ms = 0;  // 0: none
  bool permanent = false;            // the cookie lives as long, else as long as the browser
};

// Envoy's slow start.
struct WarmupConfig {
  uint64_t duration_ms = 0;
  uint32_t minimum_percent = 10;
  double aggression = 1;
};

struct RetryBudget {
  uint32_t percent_ppm = 0;
  uint32_t min_concurrency = 0;
};

struct TlsConfig {
  bool mesh = false;
  // Empty: the request's host, which must be one of the cluster's.
  std::string sni;
  std::shared_ptr<const TlsClientConfig> client;
  std::string unusable;
  // All that it was made of: connections of another one prove something else.
  std::string settings;
};

struct ClusterConfig {
  std::string name;
  std::string service_namespace, service_hostname, service_name;
  bool original_destination = false;
  uint64_t connect_timeout_ms = 10'000;
  enum class Http : uint8_t { kHttp1, kHttp2, kDownstream };
  Http http = Http::kHttp1;
  Algorithm algorithm = Algorithm::kLeastRequest;
  std::vector<HashKeyConfig> hash;
  uint32_t min_ring_size = 1024;
  uint32_t maglev_table_size = 65537;
  std::optional<LocalityConfig> locality;
  std::optional<WarmupConfig> warmup;
  std::optional<SessionConfig> session;
  // 0: no limit.
  uint32_t max_connections = 0, max_pending_requests = 0, max_requests = 0, max_retries = 0;
  std::optional<RetryBudget> retry_budget;  // in place of max_retries
  uint32_t max_requests_per_connection = 0;
  uint32_t max_concurrent_streams = 0x7fffffff;
  uint64_t http_idle_ms = 3'600'000;
  uint64_t tcp_idle_ms = 3'600'000;
  uint64_t max_connection_duration_ms = 0;
  std::optional<Keepalive> keepalive;
  std::optional<OutlierConfig> outlier;
  std::optional<TlsConfig> tls;
  bool proxy_protocol_v2 = false;

  static Result<std::shared_ptr<const ClusterConfig>> Parse(std::string_view bytes);
};

struct EndpointConfig {
  SocketAddress address;
  std::string address_text;
  uint32_t weight = 1;
  std::string region, zone, subzone;
  std::vector<std::string> identities;
  bool tunnel = false;
  uint32_t priority = 0;
  std::map<std::string, std::string> labels;
  WorkloadFacts workload;
};

Result<std::vector<EndpointConfig>> ParseEndpoints(std::string_view bytes);

}  // namespace weft::upstream
