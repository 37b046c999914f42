#pragma once

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "weft_abi.h"

namespace weft {

struct PinPaths;

// Reads weft_direct, which hangs on sockets, by an iterator program that only this process holds.
class OpenConnections {
 public:
  static Result<OpenConnections> Load(const PinPaths& pins);
  // What BPF alone handles and is open now: WEFT_EVENT_OPEN.
  Result<std::vector<weft_event>> Read() const;

 private:
  UniqueFd link_;
};

}  // namespace weft
