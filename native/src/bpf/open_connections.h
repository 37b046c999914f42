#pragma once

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "weft_abi.h"

namespace weft {

class FlowTable;
struct PinPaths;

// Reads weft_direct, which hangs on sockets, by an iterator program that only this process holds.
class OpenConnections {
 public:
  static Result<OpenConnections> Load(const PinPaths& pins);
  // What BPF alone handles and is open now: WEFT_EVENT_OPEN. A direct connection may come without figures.
  Result<std::vector<weft_event>> Read(const FlowTable& flows) const;

 private:
  // One walk over the sockets.
  struct Walk {
    std::vector<weft_event> events;
    // The kernel walks in portions of some 200 records and counts where it stopped, so that each socket that closes
    // before it goes on hides an open one.
    int portions = 0;
  };
  Result<Walk> WalkOnce() const;

  UniqueFd link_;
};

}  // namespace weft
