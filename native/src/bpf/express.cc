#include "bpf/express.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cstring>

#include "bpf/express_self_check.h"
#include "bpf/program_object.h"
#include "bpf/program_set.h"
#include "express.skel.h"
#include "weft_abi.h"

namespace weft {

Express::~Express() {
  if (test_.joinable()) test_.join();
}

void Express::StartTest(const std::string& cgroup) {
  test_ = std::thread([this, cgroup] { off_ = ExpressSelfCheck::WhyOff(cgroup); });
}

const std::string& Express::WhyOff() {
  if (test_.joinable()) test_.join();
  return off_;
}

bool Express::Offer() {
  if (!WhyOff().empty()) return false;
  if (attached_) return true;
  if (const Status attached = Attach(); !attached) {
    off_ = attached.error().what + ": " + std::strerror(attached.error().code);
    return false;
  }
  attached_ = true;
  return true;
}

// The attachment belongs to the pinned map and takes the place of an earlier process's.
Status Express::Attach() const {
  const LibbpfLog log;
  const Result<ObjectPtr> object = OpenObject(&express_bpf__elf_bytes, log);
  if (!object) return object.error();
  if (const Status loaded = LoadObject(object->get(), pins_, MapSizes{.flows = WEFT_MAX_FLOWS}, log); !loaded) {
    return loaded;
  }
  const int sockets = bpf_object__find_map_fd_by_name(object->get(), "weft_express");
  const int program = bpf_program__fd(bpf_object__next_program(object->get(), nullptr));
  if (bpf_prog_attach(program, sockets, BPF_SK_MSG_VERDICT, 0) != 0) return Error{errno, "attach the express program"};
  return Ok{};
}

}  // namespace weft
