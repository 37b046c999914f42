#include "binding/convert.h"

#include <cstring>
#include <utility>

#include "binding/values.h"

namespace weft::binding {
namespace {

struct ReasonLabel {
  weft_reason reason;
  const char* label;
};
constexpr ReasonLabel kReasonLabels[] = {
#define WEFT_REASON_LABEL(name, number, label, flag) {WEFT_R_##name, label},
    WEFT_REASONS(WEFT_REASON_LABEL)
#undef WEFT_REASON_LABEL
};

const char* LabelOf(weft_reason reason) {
  for (const ReasonLabel& entry : kReasonLabels) {
    if (entry.reason == reason) return entry.label;
  }
  return "internal";
}

std::optional<weft_reason> ReasonOf(const std::string& label) {
  for (const ReasonLabel& entry : kReasonLabels) {
    if (label == entry.label) return entry.reason;
  }
  return std::nullopt;
}

PodId Pod(const Napi::Object& from, const char* key = "pod") { return static_cast<PodId>(Number(from, key)); }

std::vector<std::string> Texts(const Napi::Object& from, const char* key) {
  std::vector<std::string> texts;
  [[maybe_unused]] const Status status = ForEach(from, key, [&](const Napi::Value& value) -> Status {
    texts.push_back(value.ToString().Utf8Value());
    return Ok{};
  });
  return texts;
}

Result<RouteEndpoint> ToEndpoint(const Napi::Object& from) {
  RouteEndpoint endpoint;
  endpoint.key = static_cast<uint64_t>(Number(from, "key"));
  const double weight = Number(from, "weight", 1);
  endpoint.weight = weight >= 1 && weight <= UINT32_MAX ? static_cast<uint32_t>(weight) : 1;
  Result<SocketAddress> dial = ToAddress(from.Get("dial"));
  if (!dial) return dial.error();
  endpoint.dial = *dial;
  const Napi::Value tunnel = from.Get("tunnel");
  if (!tunnel.IsObject()) return endpoint;
  endpoint.tunnel = true;
  endpoint.authority = Text(tunnel.As<Napi::Object>(), "authority");
  endpoint.identities = Texts(tunnel.As<Napi::Object>(), "identities");
  return endpoint;
}

Result<std::shared_ptr<Route>> ToRoute(const Napi::Object& from) {
  auto route = std::make_shared<Route>();
  const std::string kind = Text(from, "kind");
  if (kind == "passthrough") return route;
  if (kind == "refuse") {
    route->kind = Route::Kind::kRefuse;
    const std::optional<weft_reason> reason = ReasonOf(Text(from, "reason"));
    if (!reason) return Error{EINVAL, "unknown reason " + Text(from, "reason")};
    route->reason = *reason;
    return route;
  }
  if (kind != "endpoints") return Error{EINVAL, "unknown kind of route: " + kind};
  route->kind = Route::Kind::kEndpoints;
  route->service_host = Text(from, "serviceHost");
  const Status status = ForEach(from, "endpoints", [&](const Napi::Value& value) -> Status {
    Result<RouteEndpoint> endpoint = ToEndpoint(value.As<Napi::Object>());
    if (!endpoint) return endpoint.error();
    route->endpoints.push_back(std::move(*endpoint));
    return Ok{};
  });
  if (!status) return status.error();
  return route;
}

Status ToStringMatches(const Napi::Object& from, const char* key, std::vector<StringMatch>& into) {
  return ForEach(from, key, [&](const Napi::Value& value) -> Status {
    const Napi::Object object = value.As<Napi::Object>();
    const std::string kind = Text(object, "kind");
    StringMatch match;
    match.value = Text(object, "value");
    if (kind == "exact") {
      match.kind = StringMatch::Kind::kExact;
    } else if (kind == "prefix") {
      match.kind = StringMatch::Kind::kPrefix;
    } else if (kind == "suffix") {
      match.kind = StringMatch::Kind::kSuffix;
    } else if (kind == "presence") {
      match.kind = StringMatch::Kind::kPresence;
    } else {
      return Error{EINVAL, "unknown kind of string match: " + kind};
    }
    into.push_back(std::move(match));
    return Ok{};
  });
}

Status ToCidrs(const Napi::Object& from, const char* key, std::vector<Cidr>& into) {
  return ForEach(from, key, [&](const Napi::Value& value) -> Status {
    const Napi::Object object = value.As<Napi::Object>();
    const std::string text = Text(object, "ip");
    const std::optional<IpAddress> ip = IpAddress::Parse(text);
    const double length = Number(object, "length", -1);
    if (!ip || length < 0 || length > (ip->is_v4() ? 32 : 128)) return Error{EINVAL, "not a CIDR block: " + text};
    into.push_back({*ip, static_cast<uint8_t>(length)});
    return Ok{};
  });
}

Status ToPorts(const Napi::Object& from, const char* key, std::vector<uint16_t>& into) {
  return ForEach(from, key, [&](const Napi::Value& value) -> Status {
    const double port = value.ToNumber().DoubleValue();
    if (!(port >= 0 && port <= 65535)) return Error{EINVAL, "not a port in a policy"};
    into.push_back(static_cast<uint16_t>(port));
    return Ok{};
  });
}

Status ToServiceAccounts(const Napi::Object& from, const char* key, std::vector<ServiceAccountMatch>& into) {
  return ForEach(from, key, [&](const Napi::Value& value) -> Status {
    const Napi::Object object = value.As<Napi::Object>();
    into.push_back({Text(object, "namespace"), Text(object, "serviceAccount")});
    return Ok{};
  });
}

Status ToMatch(const Napi::Object& from, PolicyMatch& match) {
  Status status = ToStringMatches(from, "namespaces", match.namespaces);
  if (status) status = ToStringMatches(from, "notNamespaces", match.not_namespaces);
  if (status) status = ToStringMatches(from, "principals", match.principals);
  if (status) status = ToStringMatches(from, "notPrincipals", match.not_principals);
  if (status) status = ToCidrs(from, "sourceIps", match.source_ips);
  if (status) status = ToCidrs(from, "notSourceIps", match.not_source_ips);
  if (status) status = ToCidrs(from, "destinationIps", match.destination_ips);
  if (status) status = ToCidrs(from, "notDestinationIps", match.not_destination_ips);
  if (status) status = ToPorts(from, "destinationPorts", match.destination_ports);
  if (status) status = ToPorts(from, "notDestinationPorts", match.not_destination_ports);
  if (status) status = ToServiceAccounts(from, "serviceAccounts", match.service_accounts);
  if (status) status = ToServiceAccounts(from, "notServiceAccounts", match.not_service_accounts);
  return status;
}

Result<std::shared_ptr<const NamedPolicy>> ToPolicy(const std::string& name, const Napi::Object& from) {
  auto named = std::make_shared<NamedPolicy>();
  named->name = name;
  Policy& policy = named->policy;
  const std::string action = Text(from, "action");
  if (action != "allow" && action != "deny") return Error{EINVAL, "policy " + name + ": unknown action " + action};
  policy.action = action == "allow" ? Policy::Action::kAllow : Policy::Action::kDeny;
  policy.dry_run = Flag(from, "dryRun", false);
  const Status status = ForEach(from, "rules", [&](const Napi::Value& clauses) -> Status {
    PolicyRule& rule = policy.rules.emplace_back();
    const Napi::Array clause_array = clauses.As<Napi::Array>();
    for (uint32_t i = 0; i < clause_array.Length(); ++i) {
      PolicyClause& clause = rule.clauses.emplace_back();
      const Napi::Array match_array = clause_array.Get(i).As<Napi::Array>();
      for (uint32_t j = 0; j < match_array.Length(); ++j) {
        const Napi::Value match = match_array.Get(j);
        if (Status done = ToMatch(match.As<Napi::Object>(), clause.matches.emplace_back()); !done) return done;
      }
    }
    return Ok{};
  });
  if (!status) return Error{EINVAL, "policy " + name + ": " + status.error().what};
  return std::shared_ptr<const NamedPolicy>(std::move(named));
}

const char* PathName(Path path) {
  switch (path) {
    case Path::kOutbound:
      return "outbound";
    case Path::kInboundHbone:
      return "inbound-hbone";
    default:
      return "inbound-plaintext";
  }
}

std::string Hex(const std::array<uint8_t, 16>& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Napi::Number Num(Napi::Env env, double value) { return Napi::Number::New(env, value); }

}  // namespace

Result<SocketAddress> ToAddress(const Napi::Value& value) {
  if (!value.IsObject()) return Error{EINVAL, "address is missing"};
  const Napi::Object from = value.As<Napi::Object>();
  const std::string text = Text(from, "ip");
  const std::optional<IpAddress> ip = IpAddress::Parse(text);
  const double port = Number(from, "port", -1);
  if (!ip) return Error{EINVAL, "not an IP address: " + text};
  if (port < 0 || port > 65535) return Error{EINVAL, "not a port, of " + text};
  return SocketAddress{*ip, static_cast<uint16_t>(port)};
}

Napi::Object FromAddress(Napi::Env env, const SocketAddress& address) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("ip", address.ip.ToString());
  object.Set("port", Napi::Number::New(env, address.port));
  return object;
}

void Throw(Napi::Env env, const Error& error) {
  Napi::Error thrown = Napi::Error::New(env, error.what + ": " + std::strerror(error.code));
  const char* name = strerrorname_np(error.code);
  thrown.Set("code", Napi::String::New(env, name != nullptr ? name : "EIO"));
  thrown.ThrowAsJavaScriptException();
}

Result<PodConfig> ToPodConfig(const Napi::Object& from) {
  PodConfig config;
  config.id = Pod(from, "id");
  config.uid = Text(from, "uid");
  config.netns_path = Text(from, "netnsPath");
  config.identity = Text(from, "identity");
  config.baggage = Text(from, "baggage");
  for (const std::string& text : Texts(from, "addresses")) {
    const std::optional<IpAddress> ip = IpAddress::Parse(text);
    if (!ip) return Error{EINVAL, "pod " + config.uid + ": not an IP address: " + text};
    config.addresses.push_back(*ip);
  }
  return config;
}

Result<Command> ToCommand(const Napi::Object& from) {
  const std::string op = Text(from, "op");
  if (op == "set-route" || op == "remove-route") {
    Result<SocketAddress> destination = ToAddress(from.Get("destination"));
    if (!destination) return destination.error();
    if (op == "remove-route") return Command(RemoveRoute{Pod(from), *destination});
    Result<std::shared_ptr<Route>> route = ToRoute(from.Get("route").As<Napi::Object>());
    if (!route) return Error{EINVAL, "route to " + destination->ToString() + ": " + route.error().what};
    return Command(SetRoute{Pod(from), *destination, std::move(*route)});
  }
  if (op == "set-identity") {
    return Command(
        SetIdentity{Text(from, "identity"), Text(from, "chain"), Text(from, "key"), Text(from, "roots"), {}});
  }
  if (op == "remove-identity") return Command(RemoveIdentity{Text(from, "identity")});
  if (op == "set-policy") {
    Result<std::shared_ptr<const NamedPolicy>> policy =
        ToPolicy(Text(from, "name"), from.Get("policy").As<Napi::Object>());
    if (!policy) return policy.error();
    return Command(SetPolicy{std::move(*policy)});
  }
  if (op == "remove-policy") return Command(RemovePolicy{Text(from, "name")});
  if (op == "set-pod-policies") return Command(SetPodPolicies{Pod(from), Texts(from, "policies")});
  if (op == "set-pod-baggage") return Command(SetPodBaggage{Pod(from), Text(from, "baggage")});
  if (op == "set-pod-hosts") {
    SetPodHosts command{Pod(from), {}};
    const Napi::Object hosts = from.Get("hosts").As<Napi::Object>();
    const Napi::Array names = hosts.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); ++i) {
      const std::string name = names.Get(i).ToString().Utf8Value();
      const double port = Number(hosts, name.c_str(), -1);
      if (port < 1 || port > 65535) return Error{EINVAL, "host " + name + ": not a port"};
      command.hosts[name] = static_cast<uint16_t>(port);
    }
    return Command(std::move(command));
  }
  return Error{EINVAL, "unknown command " + op};
}

EngineLimits ToLimits(const Napi::Object& from) {
  EngineLimits limits;
  const auto u32 = [&](const char* key, uint32_t otherwise) {
    const double value = Number(from, key, otherwise);
    return value >= 0 && value <= UINT32_MAX ? static_cast<uint32_t>(value) : otherwise;
  };
  limits.loops = u32("loops", limits.loops);
  limits.max_streams_per_connection = std::max(1U, u32("maxStreamsPerConnection", limits.max_streams_per_connection));
  limits.pool_unused_release_ms = u32("poolUnusedReleaseMs", static_cast<uint32_t>(limits.pool_unused_release_ms));
  limits.stream_window = u32("streamWindowBytes", limits.stream_window);
  limits.connection_window = u32("connectionWindowBytes", limits.connection_window);
  limits.frame_bytes = u32("frameBytes", limits.frame_bytes);
  limits.ipv6 = Flag(from, "ipv6", true);
  if (const Napi::Value value = from.Get("keepalive"); value.IsObject()) {
    const Napi::Object keepalive = value.As<Napi::Object>();
    limits.keepalive.enabled = Flag(keepalive, "enabled", true);
    limits.keepalive.time_s = static_cast<int>(Number(keepalive, "timeSec", limits.keepalive.time_s));
    limits.keepalive.interval_s = static_cast<int>(Number(keepalive, "intervalSec", limits.keepalive.interval_s));
    limits.keepalive.retries = static_cast<int>(Number(keepalive, "retries", limits.keepalive.retries));
  }
  return limits;
}

Result<PeerInfo> ToPeer(const Napi::Object& from, std::optional<SpiffeId>& identity) {
  PeerInfo peer;
  if (const Napi::Value value = from.Get("identity"); value.IsString()) {
    const std::string uri = value.As<Napi::String>().Utf8Value();
    identity = SpiffeId::Parse(uri);
    if (!identity) return Error{EINVAL, "not a SPIFFE id: " + uri};
    peer.identity = &*identity;
  }
  const std::pair<const char*, IpAddress*> addresses[] = {{"sourceIp", &peer.source_ip},
                                                          {"destinationIp", &peer.destination_ip}};
  for (const auto& [key, slot] : addresses) {
    const std::string text = Text(from, key);
    const std::optional<IpAddress> ip = IpAddress::Parse(text);
    if (!ip) return Error{EINVAL, std::string(key) + ": not an IP address: " + text};
    *slot = *ip;
  }
  const double port = Number(from, "port", -1);
  if (port < 0 || port > 65535) return Error{EINVAL, "port: not a port"};
  peer.destination_port = static_cast<uint16_t>(port);
  return peer;
}

Napi::Object FromAnswer(Napi::Env env, const PolicyAnswer& answer) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("allowed", Napi::Boolean::New(env, answer.allowed));
  if (answer.policy) object.Set("policy", *answer.policy);
  Napi::Array dry_run = Napi::Array::New(env, answer.dry_run.size());
  for (uint32_t i = 0; i < answer.dry_run.size(); ++i) dry_run.Set(i, answer.dry_run[i]);
  object.Set("dryRun", dry_run);
  return object;
}

Napi::Object FromRecord(Napi::Env env, const ConnectionRecord& record) {
  Napi::Object object = Napi::Object::New(env);
  const auto text = [&](const char* key, const std::string& value) {
    if (!value.empty()) object.Set(key, value);
  };
  object.Set("id", Num(env, static_cast<double>(record.id)));
  object.Set("pod", Num(env, static_cast<double>(record.pod)));
  object.Set("path", PathName(record.path));
  object.Set("source", FromAddress(env, record.source));
  object.Set("destination", FromAddress(env, record.destination));
  if (record.upstream) object.Set("upstream", FromAddress(env, *record.upstream));
  text("authority", record.authority);
  text("peerIdentity", record.peer_identity);
  if (record.endpoint_key) object.Set("endpointKey", Num(env, static_cast<double>(*record.endpoint_key)));
  text("baggage", record.baggage);
  text("forwarded", record.forwarded);
  object.Set("traceId", Hex(record.trace_id));
  object.Set("openedAtMs", Num(env, record.opened_at_ms));
  object.Set("durationMs", Num(env, record.duration_ms));
  object.Set("requestBytes", Num(env, static_cast<double>(record.request_bytes)));
  object.Set("responseBytes", Num(env, static_cast<double>(record.response_bytes)));
  object.Set("established", Napi::Boolean::New(env, record.established));
  object.Set("reason", LabelOf(record.reason));
  text("detail", record.detail);
  if (record.policy) object.Set("policy", *record.policy);
  return object;
}

Napi::Value FromEvent(Napi::Env env, const Event& event) {
  Napi::Object object = Napi::Object::New(env);
  if (const auto* miss = std::get_if<RouteMiss>(&event)) {
    object.Set("type", "route-miss");
    object.Set("pod", Num(env, static_cast<double>(miss->pod)));
    object.Set("destination", FromAddress(env, miss->destination));
  } else if (const auto* identity = std::get_if<IdentityMiss>(&event)) {
    object.Set("type", "identity-miss");
    object.Set("identity", identity->identity);
  } else if (const auto* closed = std::get_if<Closed>(&event)) {
    object.Set("type", "closed");
    object.Set("record", FromRecord(env, *closed->record));
  } else if (const auto* dry_run = std::get_if<DryRun>(&event)) {
    object.Set("type", "dry-run");
    object.Set("pod", Num(env, static_cast<double>(dry_run->pod)));
    object.Set("policy", dry_run->policy);
    object.Set("source", FromAddress(env, dry_run->source));
    if (!dry_run->peer_identity.empty()) object.Set("peerIdentity", dry_run->peer_identity);
  } else {
    object.Set("type", "events-lost");
    object.Set("count", Num(env, static_cast<double>(std::get<EventsLost>(event).count)));
  }
  return object;
}

Napi::Object FromStats(Napi::Env env, const EngineStats& stats) {
  Napi::Object reasons = Napi::Object::New(env);
  for (const ReasonLabel& entry : kReasonLabels) {
    reasons.Set(entry.label, Num(env, static_cast<double>(stats.reasons[entry.reason])));
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("reasons", reasons);
  object.Set("openConnections", Num(env, static_cast<double>(stats.open_connections)));
  object.Set("openTunnels", Num(env, static_cast<double>(stats.open_tunnels)));
  object.Set("bufferedBytes", Num(env, static_cast<double>(stats.buffered_bytes)));
  return object;
}

}  // namespace weft::binding
