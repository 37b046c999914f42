#include <napi.h>

#include "binding/bpf.h"
#include "binding/constructors.h"
#include "binding/engine.h"
#include "binding/l7_engine.h"
#include "binding/policy_check.h"
#include "binding/process_memory.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  weft::binding::InitBpf(env, exports);
  auto* constructors = new weft::binding::Constructors;
  env.SetInstanceData(constructors);
  weft::binding::InitEngine(env, exports, *constructors);
  weft::binding::InitL7Engine(env, exports, *constructors);
  weft::binding::InitPolicyCheck(env, exports);
  weft::binding::InitProcessMemory(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(weft, Init)
