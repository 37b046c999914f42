#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bpf/cgroup.h"
#include "bpf/express_waker.h"
#include "weft_express.h"

struct express_bpf;
struct express_trial_bpf;
struct express_wake_bpf;

namespace weft {

// Express connections for sockets that are no pods': the same programs, with maps of their own, which end with this
// object. For the self-test and the tests.
class ExpressTrial {
 public:
  struct Options {
    // Bits of WEFT_GUARD_*: what to leave out.
    uint32_t guards_off = 0;
    // Connections within this namespace only; 0: all of the cgroup.
    uint64_t only_netns = 0;
  };

  // Readers in this namespace are woken as in a mesh. `id`: of the namespace.
  Status Wake(uint64_t id, int netns) { return waker_->Watch(id, netns); }
  // From the return on, new connections between sockets of processes in the cgroup are express.
  static Result<ExpressTrial> Start(const Cgroup& cgroup, Options options);

  ExpressTrial(ExpressTrial&&) noexcept;
  ~ExpressTrial();

  // What is known of the connection whose initiator's socket has this cookie; nothing: it is not express.
  std::optional<weft_express_pair> Pair(uint64_t initiator) const;
  // Of the connections that have ended.
  weft_express_total Total() const;
  // Is the socket in the SOCKHASH?
  bool Holds(uint64_t cookie) const;

 private:
  ExpressTrial();

  struct Close {
    void operator()(express_bpf* programs) const;
    void operator()(express_trial_bpf* programs) const;
    void operator()(express_wake_bpf* programs) const;
  };
  std::unique_ptr<express_bpf, Close> message_;
  std::unique_ptr<express_trial_bpf, Close> sockops_;
  std::unique_ptr<express_wake_bpf, Close> wake_;
  std::unique_ptr<ExpressWaker> waker_;
  UniqueFd link_;
};

}  // namespace weft
