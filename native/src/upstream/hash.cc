#include "upstream/hash.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace weft::upstream {
namespace {

// The finalizer of splitmix64.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// How large a ring may become to give very unequal weights their exact shares: it is sorted on a loop.
constexpr uint32_t kMostExactPoints = 128 * 1024;

}  // namespace

uint64_t HashText(std::string_view text, uint64_t seed) {
  uint64_t hash = Mix(seed + 0x9e3779b97f4a7c15ull + text.size());
  while (text.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, text.data(), 8);
    hash = Mix(hash ^ word) + 0x9e3779b97f4a7c15ull;
    text.remove_prefix(8);
  }
  uint64_t tail = 0;
  if (!text.empty()) std::memcpy(&tail, text.data(), text.size());
  return Mix(hash ^ tail);
}

HashRing::HashRing(const std::vector<std::string>& keys, const std::vector<double>& weights, uint32_t min_size) {
  double total = 0, least = 0;
  for (const double each : weights) {
    total += each;
    if (each > 0 && (least == 0 || each < least)) least = each;
  }
  if (total <= 0) return;
  // The lightest member gets at least one point, and all together at least `min_size`.
  const double size = std::max<double>(min_size, std::min<double>(kMostExactPoints, std::ceil(total / least)));
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto n = static_cast<uint32_t>(std::ceil(size * weights[i] / total));
    for (uint32_t point = 0; point < n && weights[i] > 0; ++point) {
      points_.push_back({HashText(keys[i], point + 1), static_cast<uint32_t>(i)});
    }
  }
  std::ranges::sort(points_, {}, &Point::hash);
}

size_t HashRing::Pick(uint64_t hash) const {
  const auto found = std::ranges::lower_bound(points_, hash, {}, &Point::hash);
  return (found == points_.end() ? points_.front() : *found).member;
}

MaglevTable::MaglevTable(const std::vector<std::string>& keys, const std::vector<double>& weights, uint32_t size) {
  constexpr uint32_t kFree = 0xffffffff;
  table_.assign(size, kFree);
  const double heaviest = *std::ranges::max_element(weights);
  struct Member {
    uint64_t offset, skip, next = 0;
    double turns = 0;
  };
  std::vector<Member> members;
  for (const std::string& key : keys) {
    members.push_back({.offset = HashText(key, 1) % size, .skip = HashText(key, 2) % (size - 1) + 1});
  }
  for (uint32_t filled = 0; filled < size;) {
    for (size_t i = 0; i < members.size() && filled < size; ++i) {
      // Heavier members take their turn more often.
      members[i].turns += weights[i] / heaviest;
      if (members[i].turns < 1) continue;
      members[i].turns -= 1;
      uint64_t slot;
      do {
        slot = (members[i].offset + members[i].skip * members[i].next++) % size;
      } while (table_[slot] != kFree);
      table_[slot] = static_cast<uint32_t>(i);
      ++filled;
    }
  }
}

}  // namespace weft::upstream
