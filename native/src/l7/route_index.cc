#include "l7/route_index.h"

#include <algorithm>
#include <set>

namespace weft::l7 {
namespace {

// Lists that can hold a path at the same time: its own, one for each length of prefixes, the others. More lengths than
// this are no index any more, and all prefixes are walked.
constexpr size_t kMaxLists = 64;
// Below this a walk is faster than the look-ups.
constexpr size_t kFewRoutes = 4;

}  // namespace

RouteIndex::RouteIndex(const std::vector<const RouteMatch*>& matches) : matches_(matches) {
  std::set<size_t> lengths;
  for (const RouteMatch* match : matches) {
    if (match->path_kind() == PathKind::kPrefix || match->path_kind() == PathKind::kSegmentPrefix) {
      lengths.insert(match->path().size());
    }
  }
  const bool walk = matches.size() <= kFewRoutes, walk_prefixes = lengths.size() > kMaxLists - 2;
  for (uint32_t i = 0; i < matches.size(); ++i) {
    const RouteMatch& match = *matches[i];
    const bool indexed = !walk && !match.ignore_case();
    if (indexed && match.path_kind() == PathKind::kExact) {
      exact_[match.path()].push_back(i);
    } else if (indexed && !walk_prefixes &&
               (match.path_kind() == PathKind::kPrefix || match.path_kind() == PathKind::kSegmentPrefix)) {
      prefixes_[match.path()].push_back(i);
    } else {
      others_.push_back(i);
    }
  }
  if (!prefixes_.empty()) prefix_lengths_.assign(lengths.begin(), lengths.end());
}

size_t RouteIndex::Find(const MatchContext& context) const {
  const std::string_view path = context.request.PathWithoutQuery();
  struct Cursor {
    const uint32_t* at;
    const uint32_t* end;
  };
  Cursor cursors[kMaxLists];
  size_t n = 0;
  const auto add = [&](const List& list) {
    if (!list.empty()) cursors[n++] = {list.data(), list.data() + list.size()};
  };
  add(others_);
  if (!exact_.empty()) {
    if (const auto found = exact_.find(path); found != exact_.end()) add(found->second);
  }
  for (const size_t length : prefix_lengths_) {
    if (length > path.size()) break;
    if (const auto found = prefixes_.find(path.substr(0, length)); found != prefixes_.end()) add(found->second);
  }
  // Merges the lists, which are all in order, so that the first route of all is tried first.
  while (n > 0) {
    size_t least = 0;
    for (size_t i = 1; i < n; ++i) {
      if (*cursors[i].at < *cursors[least].at) least = i;
    }
    const uint32_t route = *cursors[least].at++;
    if (matches_[route]->Matches(context)) return route;
    if (cursors[least].at == cursors[least].end) cursors[least] = cursors[--n];
  }
  return kNone;
}

}  // namespace weft::l7
