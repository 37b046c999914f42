#include "l7/upstream_failure.h"

namespace weft::l7 {

UpstreamFailure FailureOf(upstream::PoolFailure failure) {
  switch (failure) {
    case upstream::PoolFailure::kOverflow:
      return UpstreamFailure::kOverflow;
    case upstream::PoolFailure::kConnectFailure:
    case upstream::PoolFailure::kTlsFailure:
      return UpstreamFailure::kRemoteConnectionFailure;
    case upstream::PoolFailure::kConnectTimeout:
      return UpstreamFailure::kConnectionTimeout;
    case upstream::PoolFailure::kGone:
      return UpstreamFailure::kLocalConnectionFailure;
  }
  return UpstreamFailure::kLocalConnectionFailure;
}

UpstreamFailure FailureOf(http::StreamError error) {
  switch (error) {
    case http::StreamError::kReset:
      return UpstreamFailure::kRemoteReset;
    case http::StreamError::kRefused:
      return UpstreamFailure::kRemoteRefused;
    case http::StreamError::kProtocol:
    case http::StreamError::kLimit:
      return UpstreamFailure::kProtocolError;
    case http::StreamError::kLocal:
    case http::StreamError::kIdleTimeout:
      return UpstreamFailure::kLocalReset;
    case http::StreamError::kNone:
    case http::StreamError::kConnectionClosed:
      return UpstreamFailure::kConnectionTermination;
  }
  return UpstreamFailure::kConnectionTermination;
}

std::string_view FailureWords(UpstreamFailure failure) {
  switch (failure) {
    case UpstreamFailure::kLocalConnectionFailure:
      return "local connection failure";
    case UpstreamFailure::kRemoteConnectionFailure:
      return "remote connection failure";
    case UpstreamFailure::kConnectionTimeout:
      return "connection timeout";
    case UpstreamFailure::kConnectionTermination:
      return "connection termination";
    case UpstreamFailure::kLocalReset:
    case UpstreamFailure::kPerTryTimeout:
      return "local reset";
    case UpstreamFailure::kRemoteReset:
      return "remote reset";
    case UpstreamFailure::kRemoteRefused:
      return "remote refused stream reset";
    case UpstreamFailure::kOverflow:
      return "overflow";
    case UpstreamFailure::kProtocolError:
      return "protocol error";
  }
  return "";
}

Flag FailureFlag(UpstreamFailure failure) {
  switch (failure) {
    case UpstreamFailure::kLocalConnectionFailure:
    case UpstreamFailure::kRemoteConnectionFailure:
    case UpstreamFailure::kConnectionTimeout:
      return Flag::kUF;
    case UpstreamFailure::kConnectionTermination:
      return Flag::kUC;
    case UpstreamFailure::kLocalReset:
      return Flag::kLR;
    case UpstreamFailure::kRemoteReset:
    case UpstreamFailure::kRemoteRefused:
      return Flag::kUR;
    case UpstreamFailure::kOverflow:
      return Flag::kUO;
    case UpstreamFailure::kProtocolError:
      return Flag::kUPE;
    case UpstreamFailure::kPerTryTimeout:
      return Flag::kUT;
  }
  return Flag::kUF;
}

uint16_t FailureStatus(UpstreamFailure failure) {
  switch (failure) {
    case UpstreamFailure::kProtocolError:
      return 502;
    case UpstreamFailure::kPerTryTimeout:
      return 504;
    default:
      return 503;
  }
}

}  // namespace weft::l7
