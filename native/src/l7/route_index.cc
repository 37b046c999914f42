#include "l7/route_index.h"

#include <bit>
#include <functional>
#include <set>
#include <string>
#include <utility>

namespace weft::l7 {
namespace {

// Lists that can hold a path at the same time: its own, one for each length of prefixes, the others. More lengths than
// this are no index any more, and all prefixes are walked.
constexpr size_t kMaxLists = 64;
// Below this a walk is faster than the look-ups.
constexpr size_t kFewRoutes = 4;

size_t HashOf(std::string_view path) { return std::hash<std::string_view>()(path); }

}  // namespace

RouteIndex::RouteIndex(std::vector<const RouteMatch*> matches)
    : matches_(std::move(matches)), next_(matches_.size(), kEnd) {
  const auto is_prefix = [](const RouteMatch& match) {
    return match.path_kind() == PathKind::kPrefix || match.path_kind() == PathKind::kSegmentPrefix;
  };
  std::set<size_t> lengths;
  size_t n_exact = 0, n_prefixes = 0;
  for (const RouteMatch* match : matches_) {
    if (match->path_kind() == PathKind::kExact) ++n_exact;
    if (!is_prefix(*match)) continue;
    ++n_prefixes;
    lengths.insert(match->path().size());
  }
  const bool walk = matches_.size() <= kFewRoutes, walk_prefixes = lengths.size() > kMaxLists - 2;
  if (!walk && n_exact > 0) exact_.resize(std::bit_ceil(2 * n_exact));
  if (!walk && !walk_prefixes && n_prefixes > 0) {
    prefixes_.resize(std::bit_ceil(2 * n_prefixes));
    prefix_lengths_.assign(lengths.begin(), lengths.end());
  }
  uint32_t last_other = kEnd;
  for (uint32_t i = 0; i < matches_.size(); ++i) {
    const RouteMatch& match = *matches_[i];
    const bool indexed = !walk && !match.ignore_case();
    if (indexed && match.path_kind() == PathKind::kExact) {
      Insert(exact_, i);
    } else if (indexed && !walk_prefixes && is_prefix(match)) {
      Insert(prefixes_, i);
    } else {
      (last_other == kEnd ? others_ : next_[last_other]) = i;
      last_other = i;
    }
  }
}

void RouteIndex::Insert(Table& table, uint32_t route) {
  const std::string& path = matches_[route]->path();
  const size_t mask = table.size() - 1;
  for (size_t at = HashOf(path) & mask;; at = (at + 1) & mask) {
    Slot& slot = table[at];
    if (slot.first == kEnd) {
      slot = {route, route};
      return;
    }
    if (matches_[slot.first]->path() != path) continue;
    next_[slot.last] = route;
    slot.last = route;
    return;
  }
}

uint32_t RouteIndex::Look(const Table& table, std::string_view path) const {
  if (table.empty()) return kEnd;
  const size_t mask = table.size() - 1;
  for (size_t at = HashOf(path) & mask;; at = (at + 1) & mask) {
    const uint32_t first = table[at].first;
    if (first == kEnd || matches_[first]->path() == path) return first;
  }
}

size_t RouteIndex::Find(const MatchContext& context) const {
  const std::string_view path = context.request.PathWithoutQuery();
  uint32_t cursors[kMaxLists];
  size_t n = 0;
  const auto add = [&](uint32_t first) {
    if (first != kEnd) cursors[n++] = first;
  };
  add(others_);
  add(Look(exact_, path));
  for (const size_t length : prefix_lengths_) {
    if (length > path.size()) break;
    add(Look(prefixes_, path.substr(0, length)));
  }
  // Merges the lists, which are all in order, so that the first route of all is tried first.
  while (n > 0) {
    size_t least = 0;
    for (size_t i = 1; i < n; ++i) {
      if (cursors[i] < cursors[least]) least = i;
    }
    const uint32_t route = cursors[least];
    if (matches_[route]->Matches(context)) return route;
    cursors[least] = next_[route];
    if (cursors[least] == kEnd) cursors[least] = cursors[--n];
  }
  return kNone;
}

}  // namespace weft::l7
