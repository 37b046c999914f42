#include "bpf/express_trial.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/libbpf_log.h"
#include "express.skel.h"
#include "express_trial.skel.h"
#include "express_wake.skel.h"

namespace weft {

void ExpressTrial::Close::operator()(express_bpf* programs) const { express_bpf__destroy(programs); }
void ExpressTrial::Close::operator()(express_trial_bpf* programs) const { express_trial_bpf__destroy(programs); }
void ExpressTrial::Close::operator()(express_wake_bpf* programs) const { express_wake_bpf__destroy(programs); }

ExpressTrial::ExpressTrial() = default;
ExpressTrial::ExpressTrial(ExpressTrial&&) noexcept = default;
ExpressTrial::~ExpressTrial() = default;

Result<ExpressTrial> ExpressTrial::Start(const Cgroup& cgroup, Options options) {
  const LibbpfLog log;
  ExpressTrial trial;
  trial.message_.reset(express_bpf__open());
  trial.sockops_.reset(express_trial_bpf__open());
  trial.wake_.reset(express_wake_bpf__open());
  if (!trial.message_ || !trial.sockops_ || !trial.wake_) {
    return Error{errno, "open the express programs: " + log.first_warning()};
  }
  trial.message_->rodata->weft_guards_off = options.guards_off;
  trial.wake_->rodata->weft_guards_off = options.guards_off;
  trial.sockops_->rodata->weft_guards_off = options.guards_off;
  trial.sockops_->rodata->weft_only_netns = options.only_netns;
  if (const int error = express_bpf__load(trial.message_.get()); error != 0) {
    return Error{-error, "load the express program: " + log.first_warning()};
  }
  const auto& maps = trial.message_->maps;
  const auto& shared = trial.sockops_->maps;
  bpf_map__reuse_fd(shared.weft_express, bpf_map__fd(maps.weft_express));
  bpf_map__reuse_fd(shared.weft_pairs, bpf_map__fd(maps.weft_pairs));
  bpf_map__reuse_fd(shared.weft_pair_of, bpf_map__fd(maps.weft_pair_of));
  bpf_map__reuse_fd(shared.weft_lagging, bpf_map__fd(maps.weft_lagging));
  bpf_map__reuse_fd(trial.wake_->maps.weft_lagging, bpf_map__fd(maps.weft_lagging));
  if (const int error = express_trial_bpf__load(trial.sockops_.get()); error != 0) {
    return Error{-error, "load the trial's program: " + log.first_warning()};
  }
  if (const int error = express_wake_bpf__load(trial.wake_.get()); error != 0) {
    return Error{-error, "load the program that wakes readers: " + log.first_warning()};
  }
  Result<std::unique_ptr<ExpressWaker>> waker =
      ExpressWaker::Start(bpf_program__fd(trial.wake_->progs.weft_wake), bpf_map__fd(maps.weft_lagging));
  if (!waker) return waker.error();
  trial.waker_ = std::move(*waker);
  const int program = bpf_program__fd(trial.message_->progs.weft_express_msg);
  if (bpf_prog_attach(program, bpf_map__fd(maps.weft_express), BPF_SK_MSG_VERDICT, 0) != 0) {
    return Error{errno, "attach the express program to its sockets"};
  }
  trial.link_ = UniqueFd(bpf_link_create(bpf_program__fd(trial.sockops_->progs.weft_express_tr), cgroup.fd.get(),
                                         BPF_CGROUP_SOCK_OPS, nullptr));
  if (!trial.link_) return Error{errno, "attach the trial's program to cgroup " + cgroup.path};
  return trial;
}

std::optional<weft_express_pair> ExpressTrial::Pair(uint64_t initiator) const {
  weft_express_pair pair{};
  if (bpf_map_lookup_elem(bpf_map__fd(message_->maps.weft_pairs), &initiator, &pair) != 0) return std::nullopt;
  return pair;
}

weft_express_total ExpressTrial::Total() const {
  weft_express_total total{};
  const uint32_t zero = 0;
  bpf_map_lookup_elem(bpf_map__fd(sockops_->maps.weft_trial_total), &zero, &total);
  return total;
}

bool ExpressTrial::Holds(uint64_t cookie) const {
  uint64_t value = 0;
  return bpf_map_lookup_elem(bpf_map__fd(message_->maps.weft_express), &cookie, &value) == 0;
}

}  // namespace weft
