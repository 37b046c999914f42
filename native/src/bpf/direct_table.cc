#include "bpf/direct_table.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "bpf/abi_convert.h"
#include "bpf/alias_table.h"

namespace weft {
namespace {

weft_route_key KeyOf(uint64_t pod, const SocketAddress& destination) {
  weft_route_key key{};
  key.netns = pod;
  key.dst = ToAbi(destination.ip);
  key.port = destination.port;
  return key;
}

// The same endpoints in another order are the same set.
std::vector<weft_endpoint> MakeSlots(std::span<const DirectEndpoint> endpoints) {
  std::vector<DirectEndpoint> sorted(endpoints.begin(), endpoints.end());
  const auto rank = [](const DirectEndpoint& endpoint) {
    return std::tie(endpoint.address, endpoint.key, endpoint.kind, endpoint.netns, endpoint.weight);
  };
  std::sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  std::vector<uint32_t> weights(sorted.size());
  std::transform(sorted.begin(), sorted.end(), weights.begin(), [](const auto& endpoint) { return endpoint.weight; });
  const std::vector<AliasSlot> alias = MakeAliasTable(weights);
  std::vector<weft_endpoint> slots(sorted.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    slots[i] = {.address = ToAbi(sorted[i].address),
                .netns = sorted[i].netns,
                .key = sorted[i].key,
                .kind = sorted[i].kind,
                .keep = alias[i].keep,
                .alias = alias[i].alias};
  }
  return slots;
}

}  // namespace

DirectTable::DirectTable(std::unique_ptr<DirectMaps> maps, size_t max_endpoints)
    : maps_(std::move(maps)), sets_(*maps_, max_endpoints) {
  const auto routes = maps_->Routes();
  sets_.Adopt(routes);
  for (const auto& [key, route] : routes) {
    if (sets_.Has(route.set)) routes_[key] = route.set;
  }
}

Status DirectTable::SetRoute(uint64_t pod, const SocketAddress& destination,
                             std::span<const DirectEndpoint> endpoints) {
  const weft_route_key key = KeyOf(pod, destination);
  const bool drawable =
      !endpoints.empty() && std::all_of(endpoints.begin(), endpoints.end(), [](const auto& e) { return e.weight > 0; });
  if (!drawable) {
    Drop(key);
    return Error{EINVAL, "a route needs endpoints, each with a weight"};
  }
  const std::vector<weft_endpoint> slots = MakeSlots(endpoints);
  Result<uint32_t> set = sets_.Hold(slots);
  if (!set && set.error().code == ENOSPC && routes_.contains(key)) {
    // Old and new do not fit side by side; the agent has the connections in between.
    Drop(key);
    set = sets_.Hold(slots);
  }
  Status put =
      set ? maps_->PutRoute(key, {.set = *set, .count = static_cast<uint32_t>(slots.size())}) : Status(set.error());
  if (!put) {
    Drop(key);
    if (set) sets_.Release(*set);
    return put;
  }
  const auto [route, added] = routes_.try_emplace(key, *set);
  if (!added) sets_.Release(std::exchange(route->second, *set));
  return Ok{};
}

void DirectTable::RemoveRoute(uint64_t pod, const SocketAddress& destination) { Drop(KeyOf(pod, destination)); }

void DirectTable::Drop(const weft_route_key& key) {
  const auto found = routes_.find(key);
  if (found == routes_.end()) return;
  maps_->RemoveRoutes({&key, 1});
  sets_.Release(found->second);
  routes_.erase(found);
}

std::vector<weft_route_key> DirectTable::Routes() const {
  std::vector<weft_route_key> keys;
  keys.reserve(routes_.size());
  for (const auto& [key, set] : routes_) keys.push_back(key);
  return keys;
}

Status DirectTable::SetVerdict(const weft_verdict_key& key, const weft_verdict& verdict) {
  const Status put = maps_->PutVerdict(key, verdict);
  if (!put) RemoveVerdict(key);
  return put;
}

void DirectTable::SweepVerdicts(const std::function<std::optional<uint32_t>(uint64_t pod)>& epoch_of) {
  std::vector<weft_verdict_key> stale;
  for (const auto& [key, verdict] : maps_->Verdicts()) {
    if (epoch_of(key.dst_netns) != verdict.epoch) stale.push_back(key);
  }
  maps_->RemoveVerdicts(stale);
}

void DirectTable::PurgePod(uint64_t pod) {
  weft_route_key first{};
  first.netns = pod;
  const auto begin = routes_.lower_bound(first);
  auto end = begin;
  std::vector<weft_route_key> keys;
  for (; end != routes_.end() && end->first.netns == pod; ++end) keys.push_back(end->first);
  maps_->RemoveRoutes(keys);
  for (auto route = begin; route != end; ++route) sets_.Release(route->second);
  routes_.erase(begin, end);

  std::vector<weft_verdict_key> verdicts;
  for (const auto& [key, verdict] : maps_->Verdicts()) {
    if (key.src_netns == pod || key.dst_netns == pod) verdicts.push_back(key);
  }
  maps_->RemoveVerdicts(verdicts);
}

}  // namespace weft
