#include "bpf/express.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cstring>

#include "bpf/express_self_check.h"
#include "bpf/program_object.h"
#include "bpf/program_set.h"
#include "express.skel.h"
#include "express_wake.skel.h"
#include "weft_abi.h"

namespace weft {
namespace {

Result<ObjectPtr> Load(ElfBytes elf, const PinPaths& pins, const LibbpfLog& log) {
  Result<ObjectPtr> object = OpenObject(elf, log);
  if (!object) return object;
  const Status loaded = LoadObject(object->get(), pins, MapSizes{.flows = WEFT_MAX_FLOWS}, log);
  return loaded ? std::move(object) : loaded.error();
}

int ProgramFd(const ObjectPtr& object) { return bpf_program__fd(bpf_object__next_program(object.get(), nullptr)); }

}  // namespace

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

bool Express::Offer(uint64_t pod, int netns) {
  if (!WhyOff().empty()) return false;
  if (!waker_) {
    if (const Status attached = Attach(); !attached) {
      off_ = attached.error().what + ": " + std::strerror(attached.error().code);
      return false;
    }
  }
  return waker_->Watch(pod, netns).has_value();
}

void Express::Release(uint64_t pod) {
  if (waker_) waker_->Forget(pod);
}

Status Express::Attach() {
  const LibbpfLog log;
  const Result<ObjectPtr> message = Load(&express_bpf__elf_bytes, pins_, log);
  if (!message) return message.error();
  const Result<ObjectPtr> wake = Load(&express_wake_bpf__elf_bytes, pins_, log);
  if (!wake) return wake.error();
  Result<std::unique_ptr<ExpressWaker>> waker =
      ExpressWaker::Start(ProgramFd(*wake), bpf_object__find_map_fd_by_name(wake->get(), "weft_lagging"));
  if (!waker) return waker.error();
  // The attachment belongs to the pinned map and takes the place of an earlier process's.
  const int sockets = bpf_object__find_map_fd_by_name(message->get(), "weft_express");
  if (bpf_prog_attach(ProgramFd(*message), sockets, BPF_SK_MSG_VERDICT, 0) != 0) {
    return Error{errno, "attach the express program"};
  }
  waker_ = std::move(*waker);
  return Ok{};
}

}  // namespace weft
