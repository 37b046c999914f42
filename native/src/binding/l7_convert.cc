#include "binding/l7_convert.h"

#include <optional>
#include <utility>

#include "binding/values.h"

namespace weft::binding {
namespace {

struct TypeName {
  l7::ResourceType type;
  const char* name;
};
constexpr TypeName kTypes[] = {
    {l7::ResourceType::kSettings, "Settings"},
    {l7::ResourceType::kListener, "Listener"},
    {l7::ResourceType::kDestination, "Destination"},
    {l7::ResourceType::kCluster, "Cluster"},
    {l7::ResourceType::kEndpoints, "Endpoints"},
    {l7::ResourceType::kPolicy, "Policy"},
    {l7::ResourceType::kJwt, "Jwt"},
    {l7::ResourceType::kTelemetry, "Telemetry"},
    {l7::ResourceType::kRouteGroup, "RouteGroup"},
};

Result<l7::ResourceType> TypeOf(const Napi::Object& from) {
  const std::string name = Text(from, "type");
  for (const TypeName& each : kTypes) {
    if (name == each.name) return each.type;
  }
  return Error{EINVAL, "no type of the program: " + name};
}

const char* NameOf(l7::ResourceType type) {
  for (const TypeName& each : kTypes) {
    if (each.type == type) return each.name;
  }
  return "";
}

}  // namespace

Result<waypoint::L7Options> ToL7Options(const Napi::Object& from) {
  waypoint::L7Options options;
  options.limits.loops = static_cast<uint32_t>(Number(from, "loops"));
  if (const Napi::Value value = from.Get("hbone"); value.IsObject()) {
    const Napi::Object hbone = value.As<Napi::Object>();
    const std::string address = Text(hbone, "address");
    const std::optional<IpAddress> ip = IpAddress::Parse(address);
    const double port = Number(hbone, "port", -1);
    if (!ip || port < 0 || port > 65'535) return Error{EINVAL, "hbone: not an address and a port: " + address};
    options.hbone = SocketAddress{*ip, static_cast<uint16_t>(port)};
  }
  if (const Napi::Value value = from.Get("locality"); value.IsObject()) {
    const Napi::Object locality = value.As<Napi::Object>();
    options.catalog.locality.region = Text(locality, "region");
    options.catalog.locality.zone = Text(locality, "zone");
    options.catalog.locality.subzone = Text(locality, "subzone");
  }
  if (const Napi::Value value = from.Get("labels"); value.IsObject()) {
    const Napi::Object labels = value.As<Napi::Object>();
    const Napi::Array keys = labels.GetPropertyNames();
    for (uint32_t i = 0; i < keys.Length(); ++i) {
      const std::string key = keys.Get(i).ToString().Utf8Value();
      options.catalog.labels[key] = Text(labels, key.c_str());
    }
  }
  options.catalog.baggage = Text(from, "baggage");
  return options;
}

Result<std::vector<l7::ResourceUpdate>> ToL7Updates(const Napi::Value& from) {
  std::vector<l7::ResourceUpdate> updates;
  const Status status = ForEachOf(from, [&](const Napi::Value& value) -> Status {
    const Napi::Object object = value.As<Napi::Object>();
    const Result<l7::ResourceType> type = TypeOf(object);
    if (!type) return type.error();
    const Napi::Value bytes = object.Get("bytes");
    if (!bytes.IsTypedArray() || bytes.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
      return Error{EINVAL, "bytes is no Uint8Array"};
    }
    const Napi::Uint8Array view = bytes.As<Napi::Uint8Array>();
    updates.push_back(
        {*type, Text(object, "name"), std::string_view(reinterpret_cast<const char*>(view.Data()), view.ByteLength())});
    return Ok{};
  });
  if (!status) return status.error();
  return updates;
}

Result<std::vector<l7::ResourceName>> ToL7Names(const Napi::Value& from) {
  std::vector<l7::ResourceName> names;
  const Status status = ForEachOf(from, [&](const Napi::Value& value) -> Status {
    const Napi::Object object = value.As<Napi::Object>();
    const Result<l7::ResourceType> type = TypeOf(object);
    if (!type) return type.error();
    names.push_back({*type, Text(object, "name")});
    return Ok{};
  });
  if (!status) return status.error();
  return names;
}

Napi::Array FromRejections(Napi::Env env, const std::vector<l7::Rejection>& rejections) {
  Napi::Array array = Napi::Array::New(env, rejections.size());
  for (uint32_t i = 0; i < rejections.size(); ++i) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("type", NameOf(rejections[i].type));
    object.Set("name", rejections[i].name);
    object.Set("reason", rejections[i].reason);
    array.Set(i, object);
  }
  return array;
}

Napi::Object FromListening(Napi::Env env, const std::map<std::string, SocketAddress>& listening) {
  Napi::Object object = Napi::Object::New(env);
  for (const auto& [name, bound] : listening) {
    Napi::Object address = Napi::Object::New(env);
    address.Set("address", bound.ip.ToString());
    address.Set("port", Napi::Number::New(env, bound.port));
    object.Set(name, address);
  }
  return object;
}

Napi::Object FromL7Stats(Napi::Env env, const waypoint::L7Stats& stats) {
  const auto number = [env](uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); };
  Napi::Object object = Napi::Object::New(env);
  object.Set("openConnections", number(stats.open_connections));
  object.Set("openRequests", number(stats.open_requests));
  object.Set("openTunnels", number(stats.open_tunnels));
  object.Set("bufferedBytes", number(stats.buffered_bytes));
  object.Set("recordsLost", number(stats.records_lost));
  object.Set("seriesOverflowed", number(stats.series_overflowed));
  Napi::Array clusters = Napi::Array::New(env, stats.clusters.size());
  for (uint32_t i = 0; i < stats.clusters.size(); ++i) {
    const Napi::HandleScope scope(env);
    const upstream::ClusterStats& from = stats.clusters[i];
    Napi::Array endpoints = Napi::Array::New(env, from.endpoints.size());
    for (uint32_t j = 0; j < from.endpoints.size(); ++j) {
      Napi::Object endpoint = Napi::Object::New(env);
      endpoint.Set("address", from.endpoints[j].address);
      endpoint.Set("activeRequests", number(from.endpoints[j].active_requests));
      endpoint.Set("connections", number(from.endpoints[j].connections));
      endpoint.Set("ejected", Napi::Boolean::New(env, from.endpoints[j].ejected));
      endpoints.Set(j, endpoint);
    }
    Napi::Object cluster = Napi::Object::New(env);
    cluster.Set("name", from.name);
    cluster.Set("endpoints", endpoints);
    clusters.Set(i, cluster);
  }
  object.Set("clusters", clusters);
  return object;
}

}  // namespace weft::binding
