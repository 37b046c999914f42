#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::upstream {

// A well-mixing 64-bit hash of a text, the same in every process and version: which endpoint a user is sent to must not
// change with a restart.
uint64_t HashText(std::string_view text, uint64_t seed = 0);

// Consistent hashing by a ring of points (ketama's idea). `weights` of members; Pick gives a member's index.
class HashRing {
 public:
  HashRing(const std::vector<std::string>& keys, const std::vector<double>& weights, uint32_t min_size);
  size_t Pick(uint64_t hash) const;
  size_t size() const { return points_.size(); }

 private:
  struct Point {
    uint64_t hash;
    uint32_t member;
  };
  std::vector<Point> points_;
};

// Consistent hashing by a look-up table (Maglev, NSDI 2016, section 3.4). `size`: a prime.
class MaglevTable {
 public:
  MaglevTable(const std::vector<std::string>& keys, const std::vector<double>& weights, uint32_t size);
  size_t Pick(uint64_t hash) const { return table_[hash % table_.size()]; }

 private:
  std::vector<uint32_t> table_;
};

}  // namespace weft::upstream
