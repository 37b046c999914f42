#include "upstream/cluster_config.h"

#include <algorithm>

#include "l7.pb.h"

namespace weft::upstream {
namespace {

// Envoy's bound for the Maglev table; a larger one only costs memory.
constexpr uint32_t kMaxMaglevTable = 5'000'011;
constexpr uint32_t kMaxRing = 8 * 1024 * 1024;

bool IsPrime(uint32_t n) {
  if (n < 2) return false;
  for (uint32_t d = 2; static_cast<uint64_t>(d) * d <= n; ++d) {
    if (n % d == 0) return false;
  }
  return true;
}

HashKeyConfig ParseHashKey(const l7::HashKey& from) {
  HashKeyConfig key;
  switch (from.kind_case()) {
    case l7::HashKey::kHeader:
      key.kind = HashKeyConfig::Kind::kHeader;
      key.name = from.header();
      std::ranges::transform(key.name, key.name.begin(),
                             [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      break;
    case l7::HashKey::kCookie:
      key.kind = HashKeyConfig::Kind::kCookie;
      key.name = from.cookie().name();
      key.path = from.cookie().path();
      if (from.cookie().has_ttl_ms()) key.ttl_ms = from.cookie().ttl_ms();
      key.attributes.assign(from.cookie().attributes().begin(), from.cookie().attributes().end());
      break;
    case l7::HashKey::kQueryParameter:
      key.kind = HashKeyConfig::Kind::kQuery;
      key.name = from.query_parameter();
      break;
    default:
      break;
  }
  return key;
}

LocalityConfig ParseLocality(const l7::LocalitySetting& from) {
  LocalityConfig locality;
  locality.failover = from.failover();
  for (const auto& each : from.failovers()) locality.failovers[each.from()] = each.to();
  locality.failover_priority.assign(from.failover_priority().begin(), from.failover_priority().end());
  for (const auto& each : from.distribute()) {
    locality.distribute.emplace_back(each.from(), std::map<std::string, uint32_t>(each.to().begin(), each.to().end()));
  }
  locality.strict = from.strict();
  return locality;
}

OutlierConfig ParseOutlier(const l7::OutlierDetection& from) {
  OutlierConfig outlier;
  outlier.consecutive_5xx = from.consecutive_5xx();
  outlier.consecutive_gateway_errors = from.consecutive_gateway_errors();
  outlier.split_local_origin = from.split_local_origin();
  outlier.consecutive_local_origin = from.consecutive_local_origin();
  if (from.interval_ms() != 0) outlier.interval_ms = from.interval_ms();
  if (from.base_ejection_ms() != 0) outlier.base_ejection_ms = from.base_ejection_ms();
  outlier.max_ejection_percent = from.max_ejection_percent();
  outlier.min_health_percent = from.min_health_percent();
  for (const uint32_t code : from.error_codes()) outlier.error_codes.push_back(static_cast<uint16_t>(code));
  return outlier;
}

Result<WarmupConfig> ParseWarmup(const l7::Warmup& from) {
  WarmupConfig warmup;
  warmup.duration_ms = from.duration_ms();
  if (from.minimum_percent() != 0) warmup.minimum_percent = std::min(from.minimum_percent(), 100u);
  if (from.aggression() != 0) warmup.aggression = from.aggression();
  // Also refuses what is not a number.
  if (!(warmup.aggression > 0)) return Error{EINVAL, "aggression must be above 0"};
  return warmup;
}

Result<SessionConfig> ParseSession(const l7::SessionPersistence& from) {
  if (from.cookie().empty() == from.header().empty()) return Error{EINVAL, "needs a cookie or a header"};
  return SessionConfig{.cookie = from.cookie(),
                       .header = from.header(),
                       .path = from.path(),
                       .absolute_timeout_ms = from.absolute_timeout_ms(),
                       .permanent = from.permanent()};
}

// Linux takes no more than this for each of the three.
int KeepaliveValue(uint32_t value, int fallback, uint32_t most) {
  return value == 0 ? fallback : static_cast<int>(std::min(value, most));
}

Keepalive ParseKeepalive(const l7::TcpKeepalive& from) {
  Keepalive keepalive;
  keepalive.time_s = KeepaliveValue(from.time_s(), keepalive.time_s, 32767);
  keepalive.interval_s = KeepaliveValue(from.interval_s(), keepalive.interval_s, 32767);
  keepalive.retries = KeepaliveValue(from.probes(), keepalive.retries, 127);
  return keepalive;
}

Result<TlsConfig> ParseTls(const l7::ClientTls& from, const std::string& hostname) {
  TlsConfig tls;
  tls.sni = !from.sni().empty() || hostname.starts_with('*') ? from.sni() : hostname;
  tls.settings = from.SerializeAsString();
  tls.unusable = from.unusable();
  if (!tls.unusable.empty()) return tls;
  if (from.mode() == l7::ClientTls::MESH) {
    tls.mesh = true;
    return tls;
  }
  TlsClientOptions options;
  options.ca = from.ca();
  options.subject_alt_names.assign(from.subject_alt_names().begin(), from.subject_alt_names().end());
  options.certificate_chain = from.certificate_chain();
  options.private_key = from.private_key();
  options.skip_verify = from.skip_verify();
  options.crl = from.crl();
  Result<std::shared_ptr<const TlsClientConfig>> client = MakeTlsClientConfig(options);
  if (!client) return client.error();
  tls.client = std::move(*client);
  return tls;
}

}  // namespace

Result<std::shared_ptr<const ClusterConfig>> ClusterConfig::Parse(std::string_view bytes) {
  l7::Cluster from;
  if (!from.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Error{EINVAL, "not a Cluster"};
  auto config = std::make_shared<ClusterConfig>();
  config->name = from.name();
  config->service_namespace = from.service_namespace();
  config->service_hostname = from.service_hostname();
  config->service_name = from.service_name();
  config->original_destination = from.discovery() == l7::Cluster::ORIGINAL_DST;
  if (from.connect_timeout_ms() != 0) config->connect_timeout_ms = from.connect_timeout_ms();
  config->http = from.http_protocol() == l7::Cluster::HTTP2        ? Http::kHttp2
                 : from.http_protocol() == l7::Cluster::DOWNSTREAM ? Http::kDownstream
                                                                   : Http::kHttp1;
  const l7::LoadBalancer& balancer = from.load_balancer();
  switch (balancer.algorithm()) {
    case l7::LoadBalancer::ROUND_ROBIN:
      config->algorithm = Algorithm::kRoundRobin;
      break;
    case l7::LoadBalancer::RANDOM:
      config->algorithm = Algorithm::kRandom;
      break;
    case l7::LoadBalancer::RING_HASH:
      config->algorithm = Algorithm::kRingHash;
      break;
    case l7::LoadBalancer::MAGLEV:
      config->algorithm = Algorithm::kMaglev;
      break;
    default:
      break;
  }
  for (const l7::HashKey& each : balancer.hash()) config->hash.push_back(ParseHashKey(each));
  if (balancer.min_ring_size() != 0) config->min_ring_size = std::min(balancer.min_ring_size(), kMaxRing);
  if (balancer.maglev_table_size() != 0) config->maglev_table_size = balancer.maglev_table_size();
  if (config->maglev_table_size >= kMaxMaglevTable || !IsPrime(config->maglev_table_size)) {
    return Error{EINVAL,
                 "maglev table size " + std::to_string(config->maglev_table_size) + " is no prime below 5000011"};
  }
  if (balancer.has_locality()) config->locality = ParseLocality(balancer.locality());
  if (balancer.has_warmup() && balancer.warmup().duration_ms() != 0) {
    Result<WarmupConfig> warmup = ParseWarmup(balancer.warmup());
    if (!warmup) return Error{EINVAL, "load_balancer.warmup: " + warmup.error().what};
    config->warmup = *warmup;
  }
  if (balancer.has_session()) {
    Result<SessionConfig> session = ParseSession(balancer.session());
    if (!session) return Error{EINVAL, "load_balancer.session: " + session.error().what};
    config->session = std::move(*session);
  }
  const l7::ConnectionPool& pool = from.pool();
  config->max_connections = pool.max_connections();
  config->max_pending_requests = pool.max_pending_requests();
  config->max_requests = pool.max_requests();
  config->max_retries = pool.max_retries();
  if (pool.has_retry_budget()) {
    config->retry_budget = RetryBudget{pool.retry_budget().percent_ppm(), pool.retry_budget().min_concurrency()};
  }
  if (pool.has_keepalive()) config->keepalive = ParseKeepalive(pool.keepalive());
  config->max_requests_per_connection = pool.max_requests_per_connection();
  if (pool.max_concurrent_streams() != 0) config->max_concurrent_streams = pool.max_concurrent_streams();
  if (pool.http_idle_ms() != 0) config->http_idle_ms = pool.http_idle_ms();
  if (pool.has_tcp_idle_ms()) config->tcp_idle_ms = pool.tcp_idle_ms();
  config->max_connection_duration_ms = pool.max_connection_duration_ms();
  if (from.has_outlier()) config->outlier = ParseOutlier(from.outlier());
  if (from.has_tls()) {
    Result<TlsConfig> tls = ParseTls(from.tls(), from.service_hostname());
    if (!tls) return Error{EINVAL, "tls: " + tls.error().what};
    config->tls = std::move(*tls);
  }
  config->proxy_protocol_v2 = from.proxy_protocol_v2();
  return std::shared_ptr<const ClusterConfig>(std::move(config));
}

Result<std::vector<EndpointConfig>> ParseEndpoints(std::string_view bytes) {
  l7::Endpoints from;
  if (!from.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Error{EINVAL, "not Endpoints"};
  std::vector<EndpointConfig> endpoints;
  endpoints.reserve(static_cast<size_t>(from.endpoints_size()));
  for (const l7::Endpoint& each : from.endpoints()) {
    const std::optional<IpAddress> ip = IpAddress::Parse(each.ip());
    if (!ip) return Error{EINVAL, "endpoint \"" + each.ip() + each.hostname() + "\" is no address"};
    if (each.port() == 0 || each.port() > 65535)
      return Error{EINVAL, "endpoint " + each.ip() + ": port " + std::to_string(each.port())};
    // A tunnel that accepts anybody would be none.
    if (each.tunnel() && each.identities().empty())
      return Error{EINVAL, "endpoint " + each.ip() + ": a tunnel without identities"};
    EndpointConfig& endpoint = endpoints.emplace_back();
    endpoint.address = {*ip, static_cast<uint16_t>(each.port())};
    endpoint.address_text = endpoint.address.ToString();
    endpoint.weight = std::max(each.weight(), 1u);
    endpoint.region = each.region();
    endpoint.zone = each.zone();
    endpoint.subzone = each.subzone();
    endpoint.identities.assign(each.identities().begin(), each.identities().end());
    endpoint.tunnel = each.tunnel();
    endpoint.priority = each.priority();
    endpoint.labels = {each.labels().begin(), each.labels().end()};
    const l7::WorkloadFacts& facts = each.workload();
    endpoint.workload = {facts.name(),
                         facts.namespace_(),
                         facts.canonical_service(),
                         facts.canonical_revision(),
                         facts.cluster_id(),
                         facts.principal(),
                         facts.app(),
                         facts.version(),
                         facts.node()};
  }
  return endpoints;
}

}  // namespace weft::upstream
