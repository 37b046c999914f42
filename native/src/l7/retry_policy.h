#pragma once

#include <cstdint>

#include "http/message.h"
#include "l7/program.h"
#include "l7/upstream_failure.h"

// Which outcomes a retry policy tries again, and when. How often, and whether the request can be sent once more, is the
// router's.
namespace weft::l7 {

// An attempt that gave no head. `request_sent`: its connection stood and the head was on its way.
bool RetriesFailure(const RetryProgram& policy, UpstreamFailure failure, bool request_sent);

// A head that could be passed on. An upstream that says x-envoy-overloaded is never asked again.
bool RetriesResponse(const RetryProgram& policy, const http::ResponseHead& head);

// Before retry number `retry` (from 1): full jitter over a range that doubles.
uint64_t BackoffMs(const RetryProgram& policy, uint32_t retry, uint32_t random);

}  // namespace weft::l7
