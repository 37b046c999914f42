#include "l7/program_store.h"

#include <utility>

#include "l7.pb.h"

namespace weft::l7 {
namespace {

template <typename Message>
Result<Message> ParseMessage(std::string_view bytes) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Error{EINVAL, "the bytes are no message of this type"};
  }
  return message;
}

std::vector<std::string> Joined(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> joined = a;
  joined.insert(joined.end(), b.begin(), b.end());
  return joined;
}

}  // namespace

ProgramStore::ProgramStore(ClusterResources& clusters) : clusters_(clusters) { Build(); }

std::vector<Rejection> ProgramStore::Apply(std::span<const ResourceUpdate> updated,
                                           std::span<const ResourceName> removed) {
  std::vector<Rejection> rejections;
  for (const bool groups : {true, false}) {
    for (const ResourceUpdate& each : updated) {
      if ((each.type == ResourceType::kRouteGroup) != groups) continue;
      if (const Status status = Set(each); !status) rejections.push_back({each.type, each.name, status.error().what});
    }
  }
  for (const ResourceName& each : removed) Remove(each);
  Build();
  return rejections;
}

Status ProgramStore::Set(const ResourceUpdate& update) {
  switch (update.type) {
    case ResourceType::kSettings:
      return SetSettings(update.bytes);
    case ResourceType::kListener:
      return SetListener(update.name, update.bytes);
    case ResourceType::kDestination:
      return SetDestination(update.name, update.bytes);
    case ResourceType::kCluster:
      return clusters_.SetCluster(update.name, update.bytes);
    case ResourceType::kEndpoints:
      return clusters_.SetEndpoints(update.name, update.bytes);
    case ResourceType::kPolicy:
      everything_changed_ = true;
      return security_.SetPolicy(update.name, update.bytes);
    case ResourceType::kJwt:
      everything_changed_ = true;
      return security_.SetJwt(update.name, update.bytes);
    case ResourceType::kTelemetry:
      return SetTelemetry(update.name, update.bytes);
    case ResourceType::kRouteGroup:
      return SetRouteGroup(update.name, update.bytes);
  }
  return Error{EINVAL, "unknown type"};
}

Status ProgramStore::SetSettings(std::string_view bytes) {
  Result<Settings> message = ParseMessage<Settings>(bytes);
  if (!message) return message.error();
  Result<std::shared_ptr<const SettingsProgram>> settings = CompileSettings(*message);
  if (!settings) return settings.error();
  settings_ = std::move(*settings);
  everything_changed_ = true;
  return Ok{};
}

Status ProgramStore::SetListener(const std::string& name, std::string_view bytes) {
  Result<Listener> message = ParseMessage<Listener>(bytes);
  if (!message) return message.error();
  Result<std::shared_ptr<const ChainParts>> chain = CompileChain(message->chain(), route_groups_);
  if (!chain) return chain.error();
  if (message->port() > 65535) return Error{EINVAL, "port " + std::to_string(message->port())};
  ListenerParts parts;
  parts.chain = std::move(*chain);
  parts.listener.name = name;
  parts.listener.address = message->address();
  parts.listener.port = static_cast<uint16_t>(message->port());
  if (message->has_tls()) {
    const ServerTls& tls = message->tls();
    TlsServerOptions& options = parts.listener.tls.emplace();
    options.certificate_chain = tls.certificate_chain();
    options.private_key = tls.private_key();
    options.client_ca = tls.client_ca();
    options.client_certificate_required = tls.client_certificate_required();
    options.alpn.assign(tls.alpn().begin(), tls.alpn().end());
    if (options.alpn.empty()) options.alpn = {"h2", "http/1.1"};
    if (tls.min_version() != 0) options.min_version = tls.min_version();
  }
  listeners_[name] = std::move(parts);
  everything_changed_ = true;
  return Ok{};
}

Status ProgramStore::SetDestination(const std::string& name, std::string_view bytes) {
  Result<Destination> message = ParseMessage<Destination>(bytes);
  if (!message) return message.error();
  auto facts = std::make_shared<DestinationProgram>();
  facts->name = name;
  facts->namespace_name = message->namespace_();
  facts->hostname = message->hostname();
  facts->service_name = message->service_name();
  for (const std::string& each : message->addresses()) {
    const std::optional<IpAddress> ip = IpAddress::Parse(each);
    if (!ip) return Error{EINVAL, "\"" + each + "\" is no address"};
    facts->addresses.push_back(*ip);
  }
  DestinationParts parts;
  for (const auto& each : message->ports()) {
    if (each.port() == 0 || each.port() > 65535) return Error{EINVAL, "port " + std::to_string(each.port())};
    Result<std::shared_ptr<const ChainParts>> chain = CompileChain(each.chain(), route_groups_);
    if (!chain) return Error{EINVAL, "port " + std::to_string(each.port()) + ": " + chain.error().what};
    parts.ports[static_cast<uint16_t>(each.port())] = std::move(*chain);
  }
  parts.facts = std::move(facts);
  destinations_[name] = std::move(parts);
  changed_destinations_.insert(name);
  return Ok{};
}

Status ProgramStore::SetTelemetry(const std::string& name, std::string_view bytes) {
  Result<std::shared_ptr<const telemetry::TelemetryProgram>> program = telemetry::CompileTelemetry(bytes);
  if (!program) return program.error();
  telemetry_[name] = std::move(*program);
  everything_changed_ = true;
  return Ok{};
}

Status ProgramStore::SetRouteGroup(const std::string& name, std::string_view bytes) {
  Result<RouteGroup> message = ParseMessage<RouteGroup>(bytes);
  if (!message) return message.error();
  Result<std::shared_ptr<const RouteGroupProgram>> group = CompileRouteGroup(*message);
  if (!group) return group.error();
  route_groups_[name] = std::move(*group);
  return Ok{};
}

void ProgramStore::Remove(const ResourceName& removed) {
  switch (removed.type) {
    case ResourceType::kSettings:
      settings_ = std::make_shared<SettingsProgram>();
      break;
    case ResourceType::kListener:
      listeners_.erase(removed.name);
      break;
    case ResourceType::kDestination:
      destinations_.erase(removed.name);
      changed_destinations_.insert(removed.name);
      return;
    case ResourceType::kCluster:
      return clusters_.RemoveCluster(removed.name);
    case ResourceType::kEndpoints:
      return clusters_.RemoveEndpoints(removed.name);
    case ResourceType::kPolicy:
      security_.RemovePolicy(removed.name);
      break;
    case ResourceType::kJwt:
      security_.RemoveJwt(removed.name);
      break;
    case ResourceType::kTelemetry:
      telemetry_.erase(removed.name);
      break;
    case ResourceType::kRouteGroup:
      // Who uses it keeps it.
      route_groups_.erase(removed.name);
      return;
  }
  everything_changed_ = true;
}

std::shared_ptr<const ChainProgram> ProgramStore::Resolve(const ChainParts& parts) const {
  auto chain = std::make_shared<ChainProgram>();
  chain->protocol = parts.protocol;
  chain->http = parts.http;
  chain->tls = parts.tls;
  chain->tcp = parts.tcp;
  chain->rate_limits = parts.rate_limits;
  chain->settings = settings_;
  chain->security = security_.Resolve(Joined(settings_->policies, parts.policies), Joined(settings_->jwt, parts.jwt));
  chain->telemetry = FindTelemetry(parts.telemetry.empty() ? settings_->telemetry : parts.telemetry);
  return chain;
}

std::shared_ptr<const telemetry::TelemetryProgram> ProgramStore::FindTelemetry(const std::string& name) const {
  const auto found = telemetry_.find(name);
  return found == telemetry_.end() ? nullptr : found->second;
}

void ProgramStore::Build() {
  if (program_ && !everything_changed_ && changed_destinations_.empty()) return;
  auto next = everything_changed_ || !program_ ? std::make_shared<Program>() : std::make_shared<Program>(*program_);
  next->version = program_ ? program_->version + 1 : 1;
  next->settings = settings_;
  next->telemetry = FindTelemetry(settings_->telemetry);
  if (everything_changed_) {
    for (const auto& [name, parts] : listeners_) {
      auto listener = std::make_shared<ListenerProgram>(parts.listener);
      listener->chain = Resolve(*parts.chain);
      next->listeners[name] = std::move(listener);
    }
    for (const auto& [name, _] : destinations_) AddAddresses(name, *next);
  } else {
    for (const std::string& name : changed_destinations_) ForgetAddresses(name, *next);
    for (const std::string& name : changed_destinations_) AddAddresses(name, *next);
  }
  program_ = std::move(next);
  everything_changed_ = false;
  changed_destinations_.clear();
}

void ProgramStore::ForgetAddresses(const std::string& destination, Program& program) const {
  std::erase_if(program.by_address, [&](const auto& each) { return each.second.destination->name == destination; });
  std::erase_if(program.by_host, [&](const auto& each) { return each.second.destination->name == destination; });
}

void ProgramStore::AddAddresses(const std::string& destination, Program& program) const {
  const auto found = destinations_.find(destination);
  if (found == destinations_.end()) return;
  auto made = std::make_shared<DestinationProgram>(*found->second.facts);
  for (const auto& [port, parts] : found->second.ports) made->ports[port] = Resolve(*parts);
  const std::shared_ptr<const DestinationProgram> shared = made;
  for (const auto& [port, chain] : made->ports) {
    for (const IpAddress& ip : made->addresses) program.by_address[{ip, port}] = {shared, chain};
    if (!made->hostname.empty()) program.by_host[made->hostname + ":" + std::to_string(port)] = {shared, chain};
  }
}

}  // namespace weft::l7
