#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "bpf/pinned_map.h"
#include "weft_abi.h"

namespace weft {

struct PinPaths;

// weft_routes, weft_endpoints and weft_verdicts. An interface so that tests can look at what a program would find
// between any two steps. Errors name the map; a full one is ENOSPC.
class DirectMaps {
 public:
  virtual ~DirectMaps() = default;

  virtual std::vector<std::pair<weft_route_key, weft_route>> Routes() const = 0;
  virtual Status PutRoute(const weft_route_key& key, const weft_route& route) = 0;
  virtual void RemoveRoutes(std::span<const weft_route_key> keys) = 0;

  virtual std::vector<std::pair<weft_endpoint_key, weft_endpoint>> Endpoints() const = 0;
  // All slots or, on an error, none.
  virtual Status PutSet(uint32_t set, std::span<const weft_endpoint> slots) = 0;
  virtual void RemoveSlots(std::span<const weft_endpoint_key> keys) = 0;

  virtual std::vector<std::pair<weft_verdict_key, weft_verdict>> Verdicts() const = 0;
  virtual Status PutVerdict(const weft_verdict_key& key, const weft_verdict& verdict) = 0;
  virtual void RemoveVerdicts(std::span<const weft_verdict_key> keys) = 0;
};

class PinnedDirectMaps final : public DirectMaps {
 public:
  Status Open(const PinPaths& pins);

  std::vector<std::pair<weft_route_key, weft_route>> Routes() const override { return routes_.Entries(); }
  Status PutRoute(const weft_route_key& key, const weft_route& route) override { return routes_.Set(key, route); }
  void RemoveRoutes(std::span<const weft_route_key> keys) override { routes_.RemoveMany(keys); }
  std::vector<std::pair<weft_endpoint_key, weft_endpoint>> Endpoints() const override { return endpoints_.Entries(); }
  Status PutSet(uint32_t set, std::span<const weft_endpoint> slots) override;
  void RemoveSlots(std::span<const weft_endpoint_key> keys) override { endpoints_.RemoveMany(keys); }
  std::vector<std::pair<weft_verdict_key, weft_verdict>> Verdicts() const override { return verdicts_.Entries(); }
  Status PutVerdict(const weft_verdict_key& key, const weft_verdict& verdict) override {
    return verdicts_.Set(key, verdict);
  }
  void RemoveVerdicts(std::span<const weft_verdict_key> keys) override { verdicts_.RemoveMany(keys); }

 private:
  PinnedMap<weft_route_key, weft_route> routes_;
  PinnedMap<weft_endpoint_key, weft_endpoint> endpoints_;
  PinnedMap<weft_verdict_key, weft_verdict> verdicts_;
};

}  // namespace weft
