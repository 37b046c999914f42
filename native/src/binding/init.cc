#include <napi.h>

#include "binding/bpf.h"
#include "binding/engine.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  weft::binding::InitBpf(env, exports);
  weft::binding::InitEngine(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(weft, Init)
