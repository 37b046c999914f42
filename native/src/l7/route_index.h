#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "l7/route_match.h"

namespace weft::l7 {

// Finds the first of many routes whose match holds, as a walk from the first to the last would, without the walk:
// routes are looked up by the path that they ask for (exact, or one of the lengths that prefixes have); those with
// regular expressions, without regard to case or without a path are tried in their turn.
class RouteIndex {
 public:
  explicit RouteIndex(const std::vector<const RouteMatch*>& matches);

  static constexpr size_t kNone = static_cast<size_t>(-1);
  size_t Find(const MatchContext& context) const;

 private:
  using List = std::vector<uint32_t>;
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using ByText = std::unordered_map<std::string, List, TextHash, std::equal_to<>>;

  std::vector<const RouteMatch*> matches_;
  ByText exact_;
  ByText prefixes_;
  std::vector<size_t> prefix_lengths_;  // ascending, each once
  List others_;
};

}  // namespace weft::l7
