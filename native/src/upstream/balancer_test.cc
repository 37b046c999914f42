#include "upstream/balancer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "upstream/outlier.h"

namespace weft::upstream {
namespace {

std::shared_ptr<ClusterEntry> Entry(ClusterConfig config, std::vector<EndpointConfig> endpoints) {
  auto entry = std::make_shared<ClusterEntry>();
  const std::vector<Placement> placements = Place(config, endpoints, {"r1", "z1", "s1"}, {{"rack", "1"}});
  entry->config = std::make_shared<ClusterConfig>(std::move(config));
  entry->counters = std::make_shared<ClusterCounters>();
  for (size_t i = 0; i < endpoints.size(); ++i) {
    entry->endpoints.push_back(std::make_shared<const EndpointEntry>(
        EndpointEntry{endpoints[i], std::make_shared<EndpointHealth>(), placements[i]}));
  }
  return entry;
}

std::vector<EndpointConfig> Endpoints(const std::vector<uint32_t>& weights) {
  std::vector<EndpointConfig> endpoints;
  for (size_t i = 0; i < weights.size(); ++i) {
    EndpointConfig& each = endpoints.emplace_back();
    each.address_text = "10.0.0." + std::to_string(i) + ":80";
    each.weight = weights[i];
  }
  return endpoints;
}

std::vector<int> Drawn(Balancer& balancer, size_t endpoints, int n, std::optional<uint64_t> hash = {}) {
  std::vector<int> counts(endpoints);
  for (int i = 0; i < n; ++i) {
    const size_t picked =
        balancer.Pick(hash ? std::optional(HashText({}, static_cast<uint64_t>(i))) : hash, {}, false, 1);
    if (picked != Balancer::kNone) ++counts[picked];
  }
  return counts;
}

TEST(BalancerTest, SharesByWeight) {
  for (const Algorithm algorithm : {Algorithm::kRandom, Algorithm::kRoundRobin, Algorithm::kLeastRequest}) {
    ClusterConfig config;
    config.algorithm = algorithm;
    Balancer balancer(Entry(config, Endpoints({1, 2, 5})), 1);
    const std::vector<int> counts = Drawn(balancer, 3, 8000);
    EXPECT_NEAR(counts[0], 1000, 150);
    EXPECT_NEAR(counts[1], 2000, 200);
    EXPECT_NEAR(counts[2], 5000, 250);
  }
}

TEST(BalancerTest, AvoidsWhatWasTriedAsFarAsThereAreOthers) {
  ClusterConfig config;
  Balancer balancer(Entry(config, Endpoints({1, 1, 1})), 1);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(balancer.Pick({}, {0, 2}, false, 1), 1u);
  EXPECT_NE(balancer.Pick({}, {0, 1, 2}, false, 1), Balancer::kNone);
}

TEST(BalancerTest, NobodyIsPickedWhenAllAreEjected) {
  ClusterConfig config;
  const auto entry = Entry(config, Endpoints({1, 1}));
  for (const auto& each : entry->endpoints) each->health->ejected_until_ms = 100;
  entry->counters->ejected = 2;
  Balancer balancer(entry, 1);
  EXPECT_EQ(balancer.Pick({}, {}, false, 50), Balancer::kNone);
  EXPECT_NE(balancer.Pick({}, {}, false, 100), Balancer::kNone);
}

// Of `keys` users, how many go elsewhere when one of `n` endpoints leaves.
template <typename Table>
double Moved(uint32_t size) {
  constexpr int kKeys = 20'000;
  std::vector<std::string> keys;
  for (int i = 0; i < 10; ++i) keys.push_back("10.0.0." + std::to_string(i) + ":80");
  const Table before(keys, std::vector<double>(10, 1), size);
  const std::string gone = keys.back();
  keys.pop_back();
  const Table after(keys, std::vector<double>(9, 1), size);
  int moved = 0;
  for (int i = 0; i < kKeys; ++i) {
    const uint64_t hash = HashText("user-" + std::to_string(i));
    if (before.Pick(hash) != 9 && before.Pick(hash) != after.Pick(hash)) ++moved;
  }
  return static_cast<double>(moved) / kKeys;
}

TEST(ConsistentHashTest, WhoLeavesTakesFewUsersAlong) {
  // Others get a few more points each when there are fewer of them.
  EXPECT_LT(Moved<HashRing>(1024), 0.1);
  EXPECT_LT(Moved<MaglevTable>(65537), 0.05);
}

TEST(ConsistentHashTest, SpreadsUsersEvenly) {
  for (const Algorithm algorithm : {Algorithm::kRingHash, Algorithm::kMaglev}) {
    ClusterConfig config;
    config.algorithm = algorithm;
    Balancer balancer(Entry(config, Endpoints({1, 1, 1, 1})), 1);
    for (const int each : Drawn(balancer, 4, 8000, 0)) EXPECT_NEAR(each, 2000, 500);
  }
}

// ---- localities
// -------------------------------------------------------------------------------------------------------

std::vector<EndpointConfig> Located(const std::vector<std::array<const char*, 3>>& places) {
  std::vector<EndpointConfig> endpoints = Endpoints(std::vector<uint32_t>(places.size(), 1));
  for (size_t i = 0; i < places.size(); ++i) {
    endpoints[i].region = places[i][0];
    endpoints[i].zone = places[i][1];
    endpoints[i].subzone = places[i][2];
  }
  return endpoints;
}

std::vector<uint32_t> Priorities(const LocalityConfig& locality, const std::vector<EndpointConfig>& endpoints) {
  ClusterConfig config;
  config.locality = locality;
  std::vector<uint32_t> priorities;
  for (const Placement& each : Place(config, endpoints, {"r1", "z1", "s1"}, {{"rack", "1"}})) {
    priorities.push_back(each.weight > 0 ? each.priority : 99);
  }
  return priorities;
}

TEST(LocalityTest, NearerEndpointsComeFirstWithoutGaps) {
  LocalityConfig locality{.failover = true, .failovers = {}, .failover_priority = {}, .distribute = {}};
  EXPECT_EQ(Priorities(locality, Located({{"r2", "", ""}, {"r1", "z1", "s1"}, {"r1", "z2", ""}, {"r1", "z1", "s2"}})),
            (std::vector<uint32_t>{3, 0, 2, 1}));
  EXPECT_EQ(Priorities(locality, Located({{"r2", "", ""}, {"r1", "z2", ""}})), (std::vector<uint32_t>{1, 0}));
  locality.failovers = {{"r1", "r3"}};
  EXPECT_EQ(Priorities(locality, Located({{"r2", "", ""}, {"r3", "", ""}})), (std::vector<uint32_t>{1, 0}));
}

TEST(LocalityTest, WhatIsNotListedGetsNothing) {
  LocalityConfig locality;
  locality.distribute = {{"r1/*", {{"r1/z1/*", 80}, {"r1/z2/*", 20}}}};
  const auto endpoints = Located({{"r1", "z1", ""}, {"r1", "z2", ""}, {"r2", "", ""}});
  EXPECT_EQ(Priorities(locality, endpoints), (std::vector<uint32_t>{0, 0, 99}));
}

TEST(LocalityTest, FailoverByLabelsCountsLeadingMatches) {
  LocalityConfig locality{.failover = true, .failovers = {}, .failover_priority = {"rack", "row=7"}, .distribute = {}};
  auto endpoints = Endpoints({1, 1, 1});
  endpoints[0].labels = {{"rack", "1"}, {"row", "7"}};
  endpoints[1].labels = {{"row", "7"}};
  endpoints[2].labels = {{"rack", "1"}};
  EXPECT_EQ(Priorities(locality, endpoints), (std::vector<uint32_t>{0, 2, 1}));
  locality.strict = true;
  EXPECT_EQ(Priorities(locality, endpoints), (std::vector<uint32_t>{0, 99, 99}));
}

// ---- outliers
// ---------------------------------------------------------------------------------------------------------

TEST(OutlierTest, EjectsAfterSoManyInARow) {
  OutlierConfig config;
  config.consecutive_5xx = 3;
  config.max_ejection_percent = 100;
  EndpointHealth health;
  ClusterCounters counters;
  for (const uint16_t status : {500, 500, 200, 500, 500})
    TakeOutcome(config, {status, false}, health, counters, 1, 1000);
  EXPECT_TRUE(health.healthy(1000));
  TakeOutcome(config, {0, true}, health, counters, 1, 1000);  // a connect failure counts as one
  EXPECT_FALSE(health.healthy(1000));
  EXPECT_FALSE(health.healthy(30'999));
  EXPECT_TRUE(health.healthy(31'000));
  EXPECT_TRUE(MaybeReturn(health, counters, 31'000));
  EXPECT_EQ(counters.ejected, 0u);
  for (int i = 0; i < 3; ++i) TakeOutcome(config, {503, false}, health, counters, 1, 40'000);
  EXPECT_FALSE(health.healthy(99'999));  // the second time it is twice as long
  EXPECT_TRUE(health.healthy(100'000));
}

TEST(OutlierTest, TenPercentOfFewerThanTenIsNobody) {
  OutlierConfig config;
  config.consecutive_5xx = 1;
  config.max_ejection_percent = 10;
  EndpointHealth health;
  ClusterCounters counters;
  TakeOutcome(config, {500, false}, health, counters, 9, 1);
  EXPECT_TRUE(health.healthy(1));
  TakeOutcome(config, {500, false}, health, counters, 10, 1);
  EXPECT_FALSE(health.healthy(1));
}

TEST(OutlierTest, ErrorCodesReplace5xx) {
  OutlierConfig config;
  config.consecutive_5xx = 1;
  config.max_ejection_percent = 100;
  config.error_codes = {429};
  EndpointHealth health;
  ClusterCounters counters;
  TakeOutcome(config, {500, false}, health, counters, 1, 1);
  EXPECT_TRUE(health.healthy(1));
  TakeOutcome(config, {429, false}, health, counters, 1, 1);
  EXPECT_FALSE(health.healthy(1));
}

}  // namespace
}  // namespace weft::upstream
