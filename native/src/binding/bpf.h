#pragma once

#include <napi.h>

#include <memory>

#include "net/capture.h"

namespace weft::binding {

// Adds loadBpf, cleanupBpf and netnsCookie.
void InitBpf(Napi::Env env, Napi::Object exports);

// The plane behind a JS BpfPlane object; nullptr for anything else, and after close().
std::shared_ptr<Capture> UnwrapCapture(const Napi::Value& value);

}  // namespace weft::binding
