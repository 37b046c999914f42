#include "l7/fault.h"

#include "l7/grpc.h"

namespace weft::l7 {

bool DrawDelay(const FaultProgram& fault, uint32_t random) {
  return fault.delay_ms > 0 && FallsInto(random, fault.delay_ppm);
}

bool DrawAbort(const FaultProgram& fault, uint32_t random) {
  return (fault.abort_status != 0 || fault.abort_grpc_status) && FallsInto(random, fault.abort_ppm);
}

LocalReply FaultReply(const FaultProgram& fault) {
  LocalReply reply;
  reply.status = fault.abort_status != 0 ? fault.abort_status : HttpStatusOfGrpc(*fault.abort_grpc_status);
  reply.body = "fault filter abort";
  reply.details = "fault_filter_abort";
  reply.flag = Flag::kFI;
  reply.grpc_status = fault.abort_grpc_status;
  return reply;
}

}  // namespace weft::l7
