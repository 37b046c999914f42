#pragma once

#include <napi.h>

namespace weft::binding {

// Adds createEngine.
void InitEngine(Napi::Env env, Napi::Object exports);

}  // namespace weft::binding
