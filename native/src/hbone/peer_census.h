#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "net/ip_address.h"

namespace weft {

// How many tunnels each peer address has, over all loops.
class PeerCensus {
 public:
  // Counts one more. False, and not counted, when the peer has `limit` already.
  bool Add(const IpAddress& peer, uint32_t limit) {
    std::lock_guard lock(mutex_);
    uint32_t& count = counts_[peer];
    if (count >= limit) return false;
    ++count;
    return true;
  }
  void Remove(const IpAddress& peer) {
    std::lock_guard lock(mutex_);
    const auto found = counts_.find(peer);
    if (found != counts_.end() && --found->second == 0) counts_.erase(found);
  }

 private:
  std::mutex mutex_;
  std::unordered_map<IpAddress, uint32_t> counts_;  // guarded by mutex_
};

}  // namespace weft
