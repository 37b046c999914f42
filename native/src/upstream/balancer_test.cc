#include "upstream/balancer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

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
  entry->counters->ejections_until_ms = 100;
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

// ---- health
// -----------------------------------------------------------------------------------------------------------

void EjectUntil(const ClusterEntry& cluster, std::initializer_list<size_t> endpoints, uint64_t until_ms) {
  for (const size_t each : endpoints) cluster.endpoints[each]->health->ejected_until_ms = until_ms;
  cluster.counters->ejections_until_ms = until_ms;
}

std::shared_ptr<ClusterEntry> TwoLevels(uint32_t min_health_percent) {
  ClusterConfig config;
  config.outlier = OutlierConfig{.min_health_percent = min_health_percent, .error_codes = {}};
  auto endpoints = Endpoints({1, 1, 1, 1, 1, 1});
  for (size_t i = 4; i < 6; ++i) endpoints[i].priority = 1;
  return Entry(config, endpoints);
}

TEST(BalancerTest, TheNextPriorityTakesWhatTheFirstCannotCarry) {
  const auto cluster = TwoLevels(0);
  Balancer balancer(cluster, 1);
  std::vector<int> counts = Drawn(balancer, 6, 4000);
  EXPECT_EQ(counts[4] + counts[5], 0);
  // 3 of 4 times 1.4 is enough.
  EjectUntil(*cluster, {0}, 100);
  counts = Drawn(balancer, 6, 4000);
  EXPECT_EQ(counts[0] + counts[4] + counts[5], 0);
  // 2 of 4 times 1.4 is 70 %.
  EjectUntil(*cluster, {0, 1}, 100);
  counts = Drawn(balancer, 6, 4000);
  EXPECT_EQ(counts[0] + counts[1], 0);
  EXPECT_NEAR(counts[4] + counts[5], 1200, 150);
}

TEST(BalancerTest, AllAreAskedWhenTooFewAreWellToCarryEverything) {
  // 1 of 4 carries 35 %, 1 of 2 70 %: together all, so nobody who is ejected is asked.
  const auto cluster = TwoLevels(60);
  EjectUntil(*cluster, {0, 1, 2, 4}, 100);
  Balancer balancer(cluster, 1);
  std::vector<int> counts = Drawn(balancer, 6, 4000);
  EXPECT_EQ(counts[0] + counts[1] + counts[2] + counts[4], 0);
  // Nobody there: the rest does not carry everything, and all of it are asked.
  EjectUntil(*cluster, {0, 1, 2, 3, 4}, 100);
  counts = Drawn(balancer, 6, 4000);
  EXPECT_EQ(counts[0] + counts[1] + counts[2] + counts[3], 0);
  EXPECT_NEAR(counts[4], 2000, 200);
  EjectUntil(*cluster, {0, 1, 2, 3, 4, 5}, 100);
  for (const int each : Drawn(balancer, 6, 6000)) EXPECT_NEAR(each, 1000, 200);
}

TEST(BalancerTest, NobodyIsAskedWhenAllAreEjectedAndPanicIsOff) {
  const auto cluster = TwoLevels(0);
  EjectUntil(*cluster, {0, 1, 2, 3, 4, 5}, 100);
  Balancer balancer(cluster, 1);
  EXPECT_EQ(balancer.Pick({}, {}, false, 99), Balancer::kNone);
  EXPECT_NE(balancer.Pick({}, {}, false, 100), Balancer::kNone);
}

TEST(BalancerTest, RetriesMayPreferOtherPriorities) {
  const auto cluster = TwoLevels(0);
  Balancer balancer(cluster, 1);
  for (int i = 0; i < 50; ++i) EXPECT_GE(balancer.Pick({}, {1}, true, 1), 4u);
  EXPECT_LT(balancer.Pick({}, {1, 4}, true, 1), 6u);
}

TEST(BalancerTest, AnEndpointThatIsNewWarmsUp) {
  for (const Algorithm algorithm : {Algorithm::kRoundRobin, Algorithm::kLeastRequest}) {
    ClusterConfig config;
    config.algorithm = algorithm;
    config.warmup = WarmupConfig{.duration_ms = 10'000, .minimum_percent = 10, .aggression = 1};
    const auto cluster = Entry(config, Endpoints({1, 1}));
    cluster->endpoints[1]->health->since_ms = 100'000;
    Balancer balancer(cluster, 1);
    const auto share = [&](uint64_t now_ms) {
      int second = 0;
      for (int i = 0; i < 4000; ++i) second += balancer.Pick({}, {}, false, now_ms) == 1 ? 1 : 0;
      return second / 4000.0;
    };
    EXPECT_NEAR(share(100'000), 0.1 / 1.1, 0.03);
    EXPECT_NEAR(share(105'000), 0.5 / 1.5, 0.03);
    EXPECT_NEAR(share(110'000), 0.5, 0.03);
  }
}

// Whatever the weights, the health and what was tried: who is picked is well, untried while there are others, and of
// weight.
TEST(BalancerTest, NeverPicksWhomItMustNot) {
  std::minstd_rand random(7);
  for (int round = 0; round < 2000; ++round) {
    ClusterConfig config;
    config.algorithm = static_cast<Algorithm>(random() % 5);
    config.maglev_table_size = 251;
    config.min_ring_size = 64;
    const size_t n = 1 + random() % 6;
    auto endpoints = Endpoints(std::vector<uint32_t>(n, 1));
    for (EndpointConfig& each : endpoints) {
      each.weight = 1 + static_cast<uint32_t>(random() % 4);
      each.priority = static_cast<uint32_t>(random() % 3);
    }
    const auto cluster = Entry(config, endpoints);
    cluster->counters->ejections_until_ms = 100;
    std::vector<size_t> tried;
    size_t well = 0, fresh = 0;
    for (size_t i = 0; i < n; ++i) {
      const bool ejected = random() % 3 == 0, was_tried = random() % 3 == 0;
      if (ejected) cluster->endpoints[i]->health->ejected_until_ms = 100;
      if (was_tried) tried.push_back(i);
      well += ejected ? 0 : 1;
      fresh += ejected || was_tried ? 0 : 1;
    }
    Balancer balancer(cluster, static_cast<uint32_t>(random()));
    const size_t picked = balancer.Pick(HashText({}, random()), tried, random() % 2 == 0, 50);
    if (well == 0) {
      EXPECT_EQ(picked, Balancer::kNone);
      continue;
    }
    ASSERT_LT(picked, n);
    EXPECT_TRUE(cluster->endpoints[picked]->health->healthy(50));
    const bool one_level =
        std::ranges::all_of(cluster->endpoints, [&](const auto& each) { return each->placement.priority == 0; });
    if (one_level && fresh > 0) EXPECT_EQ(std::ranges::count(tried, picked), 0);
  }
}

TEST(ConsistentHashTest, VeryUnequalWeightsMakeNoGiantRing) {
  const HashRing ring({"a", "b"}, {1, 4e9}, 1024);
  EXPECT_LE(ring.size(), 128u * 1024 + 2);
}

}  // namespace
}  // namespace weft::upstream
