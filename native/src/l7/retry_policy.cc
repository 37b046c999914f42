#include "l7/retry_policy.h"

#include <algorithm>

#include "l7.pb.h"
#include "l7/grpc.h"

namespace weft::l7 {
namespace {

constexpr std::string_view kRateLimited = "x-envoy-ratelimited";

bool Has(const RetryProgram& policy, RetryOn on) { return (policy.on & RetryBit(on)) != 0; }

bool RetriesGrpcStatus(const RetryProgram& policy, uint32_t status) {
  switch (status) {
    case 1:
      return Has(policy, CANCELLED);
    case 4:
      return Has(policy, DEADLINE_EXCEEDED);
    case 8:
      return Has(policy, RESOURCE_EXHAUSTED);
    case 13:
      return Has(policy, INTERNAL);
    case 14:
      return Has(policy, UNAVAILABLE);
    default:
      return false;
  }
}

}  // namespace

bool RetriesFailure(const RetryProgram& policy, UpstreamFailure failure, bool request_sent) {
  switch (failure) {
    case UpstreamFailure::kOverflow:
      return false;  // more of what was too much
    case UpstreamFailure::kLocalConnectionFailure:
    case UpstreamFailure::kRemoteConnectionFailure:
    case UpstreamFailure::kConnectionTimeout:
      if (Has(policy, CONNECT_FAILURE)) return true;
      break;
    case UpstreamFailure::kRemoteRefused:
      if (Has(policy, REFUSED_STREAM)) return true;
      break;
    case UpstreamFailure::kPerTryTimeout:
      if (Has(policy, PER_TRY_TIMEOUT)) return true;
      break;
    default:
      break;
  }
  if (Has(policy, RESET_BEFORE_REQUEST) && !request_sent) return true;
  return Has(policy, RESET) || Has(policy, FIVE_XX) || Has(policy, GATEWAY_ERROR);
}

bool RetriesResponse(const RetryProgram& policy, const http::ResponseHead& head) {
  if (head.headers.Find(http::HeaderId::kXEnvoyOverloaded) != nullptr) return false;
  if (head.headers.Find(kRateLimited) != nullptr) return Has(policy, ENVOY_RATELIMITED);
  const uint16_t status = head.status;
  if (status >= 500 && Has(policy, FIVE_XX)) return true;
  if (status >= 502 && status <= 504 && Has(policy, GATEWAY_ERROR)) return true;
  if (status == 409 && Has(policy, RETRIABLE_4XX)) return true;
  if (Has(policy, RETRIABLE_STATUS_CODES) && std::ranges::find(policy.codes, status) != policy.codes.end()) return true;
  if (Has(policy, RETRIABLE_HEADERS) && std::ranges::any_of(policy.retriable_headers, [&](const HeaderMatcher& each) {
        return each.Matches(head.headers);
      })) {
    return true;
  }
  // A gRPC answer that is nothing but a status.
  const std::optional<uint32_t> grpc = GrpcStatusIn(head.headers);
  return grpc && RetriesGrpcStatus(policy, *grpc);
}

uint64_t BackoffMs(const RetryProgram& policy, uint32_t retry, uint32_t random) {
  constexpr uint32_t kMaxDoublings = 20;  // far beyond every cap
  const uint64_t range = ((uint64_t{1} << std::min(retry, kMaxDoublings)) - 1) * policy.backoff_base_ms;
  const uint64_t drawn = range == 0 ? 0 : random % range;
  return std::max(std::min(drawn, policy.backoff_max_ms), policy.backoff_min_ms);
}

}  // namespace weft::l7
