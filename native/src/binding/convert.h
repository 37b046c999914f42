#pragma once

#include <napi.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "proxy/config.h"
#include "proxy/engine.h"
#include "proxy/events.h"

namespace weft::binding {

// JS values of agent/src/native.ts to C++ and back. TypeScript has checked the shapes; what is checked here is what a
// wrong caller could do damage with: addresses, ports, names that we do not know.

Result<SocketAddress> ToAddress(const Napi::Value& value);
Result<PodConfig> ToPodConfig(const Napi::Object& from);
Result<Command> ToCommand(const Napi::Object& from);
EngineLimits ToLimits(const Napi::Object& from);
// The identity in it is borrowed from `identity`.
Result<PeerInfo> ToPeer(const Napi::Object& from, std::optional<SpiffeId>& identity);

Napi::Object FromAddress(Napi::Env env, const SocketAddress& address);
Napi::Object FromRecord(Napi::Env env, const ConnectionRecord& record);
Napi::Value FromEvent(Napi::Env env, const Event& event);
Napi::Object FromAnswer(Napi::Env env, const PolicyAnswer& answer);
Napi::Object FromStats(Napi::Env env, const EngineStats& stats);

// Throws into JS with `code` set to the errno's name.
void Throw(Napi::Env env, const Error& error);

}  // namespace weft::binding
