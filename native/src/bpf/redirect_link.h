#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace weft {

// The two places of a device where tc programs run in a chain (tcx, kernel 6.6).
enum class TcxPoint { kIngress, kEgress };

// Does this kernel have tcx? Asks about the loopback device of the thread's namespace.
bool HasTcx();

// Ids of the programs at this point, in the order in which they run. Empty also when the device is gone.
std::vector<uint32_t> TcxPrograms(uint32_t ifindex, TcxPoint point);
// For messages: the program's name, or its number when it is gone.
std::string ProgramName(uint32_t id);

// A program at the ingress of one device, pinned as a link. Detached when the pin goes and nobody holds the link.
class TcxLink {
 public:
  // What is pinned at `path`, or nothing.
  static std::optional<TcxLink> Adopt(const std::string& path);
  // Attaches behind the programs that are there, so that none of them is skipped. A link that is pinned at `path` goes
  // after the new one has begun.
  static Result<TcxLink> Attach(int program_fd, uint32_t ifindex, const std::string& path);

  // The device; 0: it is gone.
  uint32_t ifindex() const;
  uint32_t program_id() const;
  // Puts other code in the place of the link's.
  Status Update(int program_fd) const;

 private:
  UniqueFd fd_;
};

}  // namespace weft
