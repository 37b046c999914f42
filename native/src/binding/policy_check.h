#pragma once

#include <napi.h>

namespace weft::binding {

// Adds evaluatePolicies and decideHttpPolicies: what the evaluators of the agent and of the waypoint say of policies,
// without an engine. The command line evaluates in TypeScript, because it runs where there is no addon; by these its
// evaluation is compared with the one that counts.
void InitPolicyCheck(Napi::Env env, Napi::Object exports);

}  // namespace weft::binding
