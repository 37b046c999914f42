#pragma once

#include <napi.h>

namespace weft::binding {

// Adds releaseFilePages.
void InitProcessMemory(Napi::Env env, Napi::Object exports);

}  // namespace weft::binding
