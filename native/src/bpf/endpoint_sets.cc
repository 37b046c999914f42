#include "bpf/endpoint_sets.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace weft {
namespace {

// The structs have no hidden padding: weft_abi.h asserts their sizes.
std::string_view Bytes(std::span<const weft_endpoint> slots) {
  return {reinterpret_cast<const char*>(slots.data()), slots.size_bytes()};
}

size_t HashOf(std::span<const weft_endpoint> slots) { return std::hash<std::string_view>{}(Bytes(slots)); }

}  // namespace

void EndpointSets::Adopt(std::span<const std::pair<weft_route_key, weft_route>> routes) {
  std::unordered_map<uint32_t, uint32_t> holders;
  for (const auto& [key, route] : routes) ++holders[route.set];
  std::vector<weft_endpoint_key> orphans;
  for (const auto& [key, endpoint] : maps_.Endpoints()) {
    last_number_ = std::max(last_number_, key.set);
    const auto held = holders.find(key.set);
    if (held == holders.end()) {
      orphans.push_back(key);
      continue;
    }
    Set& set = sets_[key.set];
    set.holders = held->second;
    if (set.slots.size() <= key.slot) set.slots.resize(key.slot + 1);
    set.slots[key.slot] = endpoint;
  }
  // A route whose set is not there asks the agent, and lets go of it when the route is written anew.
  for (const auto& [number, count] : holders) {
    last_number_ = std::max(last_number_, number);
    sets_[number].holders = count;
  }
  maps_.RemoveSlots(orphans);
  for (const auto& [number, set] : sets_) by_content_.emplace(HashOf(set.slots), number);
}

// A number that was given up may still be in a program's hands: it comes back after 2^32 others at the earliest.
uint32_t EndpointSets::NextNumber() {
  do {
    ++last_number_;
  } while (last_number_ == 0 || sets_.contains(last_number_));
  return last_number_;
}

Result<uint32_t> EndpointSets::Hold(std::span<const weft_endpoint> slots) {
  const size_t hash = HashOf(slots);
  const auto [begin, end] = by_content_.equal_range(hash);
  for (auto found = begin; found != end; ++found) {
    Set& set = sets_.at(found->second);
    if (Bytes(set.slots) != Bytes(slots)) continue;
    ++set.holders;
    return found->second;
  }
  const uint32_t number = NextNumber();
  if (const Status put = maps_.PutSet(number, slots); !put) return put.error();
  sets_[number] = Set{.slots = {slots.begin(), slots.end()}, .holders = 1};
  by_content_.emplace(hash, number);
  return number;
}

void EndpointSets::Release(uint32_t number) {
  const auto found = sets_.find(number);
  if (found == sets_.end() || --found->second.holders > 0) return;
  const Set& set = found->second;
  std::vector<weft_endpoint_key> keys(set.slots.size());
  for (uint32_t slot = 0; slot < keys.size(); ++slot) keys[slot] = {.set = number, .slot = slot};
  maps_.RemoveSlots(keys);
  const auto [begin, end] = by_content_.equal_range(HashOf(set.slots));
  by_content_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == number; }));
  sets_.erase(found);
}

}  // namespace weft
