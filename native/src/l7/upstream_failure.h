#pragma once

#include <cstdint>
#include <string_view>

#include "http/message.h"
#include "l7/flags.h"
#include "upstream/cluster.h"

namespace weft::l7 {

// Why an attempt ended without a whole answer.
enum class UpstreamFailure : uint8_t {
  kLocalConnectionFailure,
  kRemoteConnectionFailure,
  kConnectionTimeout,
  kConnectionTermination,
  kLocalReset,
  kRemoteReset,
  kRemoteRefused,
  kOverflow,
  kProtocolError,
  kPerTryTimeout,
};

UpstreamFailure FailureOf(upstream::PoolFailure failure);
UpstreamFailure FailureOf(http::StreamError error);

// As bodies of local replies and RESPONSE_CODE_DETAILS have it: "connection termination".
std::string_view FailureWords(UpstreamFailure failure);
Flag FailureFlag(UpstreamFailure failure);
uint16_t FailureStatus(UpstreamFailure failure);

}  // namespace weft::l7
