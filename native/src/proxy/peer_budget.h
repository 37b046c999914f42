#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "base/token_bucket.h"
#include "net/ip_address.h"

namespace weft {

// How often each peer address may do something that costs us and gets it nothing, on one loop.
class PeerBudget {
 public:
  PeerBudget(uint32_t burst, uint32_t per_second) : burst_(burst), per_second_(per_second) {}

  // Counts one more. False when the peer has had its share.
  bool Take(const IpAddress& peer, uint64_t now_ms) {
    // A peer with this many addresses gets by; it pays for each with a TCP connection.
    if (buckets_.size() >= kPeers && !buckets_.contains(peer)) buckets_.clear();
    return buckets_.try_emplace(peer, burst_, per_second_).first->second.Take(now_ms);
  }
  size_t peers() const { return buckets_.size(); }

 private:
  static constexpr size_t kPeers = 1024;
  uint32_t burst_;
  uint32_t per_second_;
  std::unordered_map<IpAddress, TokenBucket> buckets_;
};

}  // namespace weft
