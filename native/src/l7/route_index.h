#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "l7/route_match.h"

namespace weft::l7 {

// Finds the first of many routes whose match holds, as a walk from the first to the last would, without the walk:
// routes are looked up by the path that they ask for (exact, or one of the lengths that prefixes have); those with
// regular expressions, without regard to case or without a path are tried in their turn. The matches must outlive it.
// Flat tables, because an edit of one of thousands of routes makes all of it anew, and a loop that serves takes it
// apart.
class RouteIndex {
 public:
  explicit RouteIndex(std::vector<const RouteMatch*> matches);

  static constexpr size_t kNone = static_cast<size_t>(-1);
  size_t Find(const MatchContext& context) const;

 private:
  // What a path is looked up in: open addressing, at most half full. Routes of one path are a list through `next_`.
  struct Slot {
    uint32_t first = kEnd;
    uint32_t last = kEnd;
  };
  using Table = std::vector<Slot>;
  static constexpr uint32_t kEnd = static_cast<uint32_t>(-1);

  void Insert(Table& table, uint32_t route);
  // The first route of a path, or kEnd.
  uint32_t Look(const Table& table, std::string_view path) const;

  std::vector<const RouteMatch*> matches_;
  std::vector<uint32_t> next_;
  Table exact_;
  Table prefixes_;
  std::vector<size_t> prefix_lengths_;  // ascending, each once
  uint32_t others_ = kEnd;
};

}  // namespace weft::l7
