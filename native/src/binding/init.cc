#include <napi.h>

#include "binding/bpf.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  weft::binding::InitBpf(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(weft, Init)
