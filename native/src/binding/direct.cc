#include <cstring>
#include <string>
#include <vector>

#include "binding/convert.h"
#include "binding/plane_object.h"
#include "bpf/abi_convert.h"

namespace weft::binding {
namespace {

Result<DirectEndpoint> ToDirectEndpoint(const Napi::Object& from) {
  DirectEndpoint endpoint;
  endpoint.key = from.Get("key").ToNumber().Uint32Value();
  endpoint.weight = from.Get("weight").ToNumber().Uint32Value();
  Result<SocketAddress> address = ToAddress(from.Get("address"));
  if (!address) return address.error();
  endpoint.address = *address;
  const std::string path = from.Get("path").ToString();
  if (path == "direct") {
    endpoint.kind = WEFT_ENDPOINT_DIRECT;
    const Result<uint64_t> pod = ToCookie(from.Get("pod"));
    if (!pod) return pod.error();
    endpoint.netns = *pod;
  } else if (path == "plain") {
    endpoint.kind = WEFT_ENDPOINT_PLAIN;
  } else if (path != "agent") {
    return Error{EINVAL, "unknown path " + path};
  }
  return endpoint;
}

Result<weft_verdict_key> ToVerdictKey(const Napi::Value& value) {
  const Napi::Object from = value.As<Napi::Object>();
  const Result<uint64_t> source = ToCookie(from.Get("source"));
  if (!source) return source.error();
  const Result<uint64_t> destination = ToCookie(from.Get("destination"));
  if (!destination) return destination.error();
  const uint32_t family = from.Get("family").ToNumber().Uint32Value() == 6 ? AF_INET6 : AF_INET;
  return weft_verdict_key{.src_netns = *source,
                          .dst_netns = *destination,
                          .port = from.Get("port").ToNumber().Uint32Value(),
                          .family = family};
}

Status SetRoute(BpfPlane& plane, uint64_t pod, const SocketAddress& destination, const Napi::Object& command) {
  const Napi::Array array = command.Get("endpoints").As<Napi::Array>();
  std::vector<DirectEndpoint> endpoints;
  endpoints.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::HandleScope scope(command.Env());
    const Napi::Value value = array.Get(i);
    Result<DirectEndpoint> endpoint = ToDirectEndpoint(value.As<Napi::Object>());
    if (!endpoint) {
      plane.RemoveRoute(pod, destination);
      return endpoint.error();
    }
    endpoints.push_back(*endpoint);
  }
  return plane.SetRoute(pod, destination, endpoints);
}

Status CarryOutRoute(BpfPlane& plane, const std::string& op, const Napi::Object& command) {
  const Result<uint64_t> pod = ToCookie(command.Get("pod"));
  if (!pod) return pod.error();
  const Result<SocketAddress> destination = ToAddress(command.Get("destination"));
  if (!destination) return destination.error();
  if (op == "remove-route") {
    plane.RemoveRoute(*pod, *destination);
    return Ok{};
  }
  const Status set = SetRoute(plane, *pod, *destination, command);
  if (set) return set;
  return Error{set.error().code,
               "route of pod " + std::to_string(*pod) + " to " + destination->ToString() + ": " + set.error().what};
}

Status CarryOutVerdict(BpfPlane& plane, const std::string& op, const Napi::Object& command) {
  const Result<weft_verdict_key> key = ToVerdictKey(command.Get("verdict"));
  if (!key) return key.error();
  if (op == "remove-verdict") {
    plane.RemoveVerdict(*key);
    return Ok{};
  }
  const Status set = plane.SetVerdict(*key, command.Get("allow").ToBoolean());
  if (set) return set;
  return Error{set.error().code, "verdict on pod " + std::to_string(key->src_netns) + " to pod " +
                                     std::to_string(key->dst_netns) + ": " + set.error().what};
}

Status CarryOut(BpfPlane& plane, const Napi::Object& command) {
  const std::string op = command.Get("op").ToString();
  if (op == "set-route" || op == "remove-route") return CarryOutRoute(plane, op, command);
  if (op == "set-verdict" || op == "remove-verdict") return CarryOutVerdict(plane, op, command);
  const Result<uint64_t> pod = ToCookie(command.Get("pod"));
  if (!pod) return pod.error();
  if (op == "expire-verdicts") return plane.ExpireVerdicts(*pod);
  if (op == "set-open") return plane.SetOpen(*pod, command.Get("open").ToBoolean());
  return Error{EINVAL, "unknown command " + op};
}

Napi::Value Direct(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const Napi::Array commands = info[0].As<Napi::Array>();
  Napi::Array failures = Napi::Array::New(info.Env());
  for (uint32_t i = 0; i < commands.Length(); ++i) {
    const Napi::HandleScope scope(info.Env());
    const Napi::Value command = commands.Get(i);
    const Status done = CarryOut(plane, command.As<Napi::Object>());
    if (done) continue;
    failures.Set(failures.Length(),
                 Napi::String::New(info.Env(), done.error().what + ": " + std::strerror(done.error().code)));
  }
  return failures;
}

Napi::Value Routes(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const std::vector<weft_route_key> keys = plane.Routes();
  Napi::Array routes = Napi::Array::New(info.Env(), keys.size());
  for (uint32_t i = 0; i < keys.size(); ++i) {
    const Napi::HandleScope scope(info.Env());
    Napi::Object route = Napi::Object::New(info.Env());
    route.Set("pod", Napi::BigInt::New(info.Env(), uint64_t{keys[i].netns}));
    route.Set("destination", FromAddress(info.Env(), {FromAbi(keys[i].dst), keys[i].port}));
    routes.Set(i, route);
  }
  return routes;
}

Napi::Value PermitPlain(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const Status permitted = plane.PermitPlain(std::chrono::milliseconds(info[0].ToNumber().Int64Value()));
  if (!permitted) Throw(info.Env(), permitted.error());
  return info.Env().Undefined();
}

Napi::Value DirectConnections(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const Result<std::vector<weft_event>> open = plane.DirectConnections();
  if (open) return FromEvents(info.Env(), *open);
  Throw(info.Env(), open.error());
  return info.Env().Undefined();
}

Result<DirectConnection> ToDirectConnection(const Napi::Object& from) {
  const Result<uint64_t> source_pod = ToCookie(from.Get("sourcePod"));
  if (!source_pod) return source_pod.error();
  const Result<uint64_t> destination_pod = ToCookie(from.Get("destinationPod"));
  if (!destination_pod) return destination_pod.error();
  const Result<SocketAddress> source = ToAddress(from.Get("source"));
  if (!source) return source.error();
  const Result<SocketAddress> destination = ToAddress(from.Get("destination"));
  if (!destination) return destination.error();
  return DirectConnection{
      .source_pod = *source_pod, .destination_pod = *destination_pod, .source = *source, .destination = *destination};
}

Napi::Value EndDirect(BpfPlane& plane, const Napi::CallbackInfo& info) {
  const Napi::Array array = info[0].As<Napi::Array>();
  std::vector<DirectConnection> connections;
  connections.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::HandleScope scope(info.Env());
    const Napi::Value value = array.Get(i);
    const Result<DirectConnection> connection = ToDirectConnection(value.As<Napi::Object>());
    if (!connection) {
      Throw(info.Env(), connection.error());
      return info.Env().Undefined();
    }
    connections.push_back(*connection);
  }
  return Napi::Number::New(info.Env(), static_cast<double>(plane.EndDirect(connections)));
}

Napi::Value DirectOff(BpfPlane& plane, const Napi::CallbackInfo& info) {
  if (plane.DirectOff().empty()) return info.Env().Undefined();
  return Napi::String::New(info.Env(), plane.DirectOff());
}

}  // namespace

void AddDirectMethods(Napi::Object object, const PlaneHolderPtr& holder) {
  AddPlaneMethod(object, "direct", holder, &Direct);
  AddPlaneMethod(object, "routes", holder, &Routes);
  AddPlaneMethod(object, "permitPlain", holder, &PermitPlain);
  AddPlaneMethod(object, "directConnections", holder, &DirectConnections);
  AddPlaneMethod(object, "endDirect", holder, &EndDirect);
  AddPlaneMethod(object, "directOff", holder, &DirectOff);
}

}  // namespace weft::binding
