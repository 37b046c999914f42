#include "l7/fault.h"

namespace weft::l7 {
namespace {

constexpr uint16_t kOk = 200;

}  // namespace

bool DrawDelay(const FaultProgram& fault, uint32_t random) {
  return fault.delay_ms > 0 && FallsInto(random, fault.delay_ppm);
}

bool DrawAbort(const FaultProgram& fault, uint32_t random) {
  return (fault.abort_status != 0 || fault.abort_grpc_status) && FallsInto(random, fault.abort_ppm);
}

LocalReply FaultReply(const FaultProgram& fault) {
  LocalReply reply;
  // gRPC says in its own field what went wrong. Whoever speaks plain HTTP gets the 200 that Envoy gives too.
  reply.status = fault.abort_grpc_status ? kOk : fault.abort_status;
  reply.body = "fault filter abort";
  reply.details = "fault_filter_abort";
  reply.flag = Flag::kFI;
  reply.grpc_status = fault.abort_grpc_status;
  return reply;
}

}  // namespace weft::l7
