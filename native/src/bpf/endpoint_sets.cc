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
  std::unordered_map<uint32_t, uint32_t> missing;
  for (const auto& [key, route] : routes) {
    last_number_ = std::max(last_number_, route.set);
    Set& set = sets_[route.set];
    ++set.holders;
    set.slots.resize(route.count);
    missing[route.set] = route.count;
  }
  const auto endpoints = maps_.Endpoints();
  for (const auto& [key, endpoint] : endpoints) {
    last_number_ = std::max(last_number_, key.set);
    const auto set = sets_.find(key.set);
    if (set == sets_.end() || key.slot >= set->second.slots.size()) continue;
    set->second.slots[key.slot] = endpoint;
    --missing[key.set];
  }
  std::erase_if(sets_, [&](const auto& entry) { return missing[entry.first] > 0; });
  std::vector<weft_route_key> broken;
  for (const auto& [key, route] : routes) {
    if (!sets_.contains(route.set)) broken.push_back(key);
  }
  maps_.RemoveRoutes(broken);
  std::vector<weft_endpoint_key> orphans;
  for (const auto& [key, endpoint] : endpoints) {
    if (!sets_.contains(key.set)) orphans.push_back(key);
  }
  maps_.RemoveSlots(orphans);
  for (const auto& [number, set] : sets_) {
    by_content_.emplace(HashOf(set.slots), number);
    used_slots_ += set.slots.size();
  }
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
  // Asking the kernel would cost as many writes and removals as there is room for.
  if (slots.size() > max_slots_ - used_slots_) return Error{ENOSPC, "weft_endpoints is full"};
  const uint32_t number = NextNumber();
  if (const Status put = maps_.PutSet(number, slots); !put) return put.error();
  sets_[number] = Set{.slots = {slots.begin(), slots.end()}, .holders = 1};
  by_content_.emplace(hash, number);
  used_slots_ += slots.size();
  return number;
}

void EndpointSets::Release(uint32_t number) {
  const auto found = sets_.find(number);
  if (found == sets_.end() || --found->second.holders > 0) return;
  const Set& set = found->second;
  std::vector<weft_endpoint_key> keys(set.slots.size());
  for (uint32_t slot = 0; slot < keys.size(); ++slot) keys[slot] = {.set = number, .slot = slot};
  maps_.RemoveSlots(keys);
  used_slots_ -= keys.size();
  const auto [begin, end] = by_content_.equal_range(HashOf(set.slots));
  by_content_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == number; }));
  sets_.erase(found);
}

}  // namespace weft
