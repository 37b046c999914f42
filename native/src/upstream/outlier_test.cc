#include "upstream/outlier.h"

#include <gtest/gtest.h>

namespace weft::upstream {
namespace {

// A cluster of `n` endpoints that detects outliers, with sweeps every 10 s.
class Outliers {
 public:
  Outliers(OutlierConfig config, size_t n) {
    ClusterConfig cluster;
    cluster.outlier = std::move(config);
    entry_.config = std::make_shared<ClusterConfig>(std::move(cluster));
    entry_.counters = std::make_shared<ClusterCounters>();
    for (size_t i = 0; i < n; ++i) {
      entry_.endpoints.push_back(
          std::make_shared<const EndpointEntry>(EndpointEntry{{}, std::make_shared<EndpointHealth>(), {}}));
    }
  }
  void Answers(size_t endpoint, std::initializer_list<uint16_t> statuses, uint64_t now_ms) {
    for (const uint16_t status : statuses) TakeOutcome(entry_, {status, false}, health(endpoint), now_ms);
  }
  void Fails(size_t endpoint, int times, uint64_t now_ms) {
    for (int i = 0; i < times; ++i) TakeOutcome(entry_, {0, true}, health(endpoint), now_ms);
  }
  EndpointHealth& health(size_t endpoint) { return *entry_.endpoints[endpoint]->health; }
  bool Well(size_t endpoint, uint64_t now_ms) { return health(endpoint).healthy(now_ms); }

 private:
  ClusterEntry entry_;
};

OutlierConfig Config(uint32_t consecutive_5xx) {
  return {.consecutive_5xx = consecutive_5xx, .max_ejection_percent = 100, .error_codes = {}};
}

TEST(OutlierTest, EjectsAfterSoManyInARow) {
  Outliers cluster(Config(3), 1);
  cluster.Answers(0, {500, 500, 200, 500, 500}, 1000);
  EXPECT_TRUE(cluster.Well(0, 1000));
  cluster.Answers(0, {599}, 1000);
  EXPECT_FALSE(cluster.Well(0, 1000));
}

TEST(OutlierTest, WhatWasNotAnsweredCountsAs5xxAndGatewayError) {
  Outliers cluster(Config(3), 1);
  cluster.Answers(0, {500, 500}, 1000);
  cluster.Fails(0, 1, 1000);
  EXPECT_FALSE(cluster.Well(0, 1000));
  OutlierConfig config = Config(0);
  config.consecutive_gateway_errors = 3;
  Outliers gateway(config, 1);
  gateway.Answers(0, {503, 504, 500, 502, 503}, 1000);
  EXPECT_TRUE(gateway.Well(0, 1000));
  gateway.Fails(0, 1, 1000);
  EXPECT_FALSE(gateway.Well(0, 1000));
}

TEST(OutlierTest, LocalOriginIsCountedApartWhenItIsSplit) {
  OutlierConfig config = Config(2);
  config.split_local_origin = true;
  config.consecutive_local_origin = 3;
  Outliers cluster(config, 1);
  cluster.Fails(0, 2, 1000);
  cluster.Answers(0, {500}, 1000);  // it was there: the local count starts again, and its own has one
  cluster.Fails(0, 2, 1000);
  EXPECT_TRUE(cluster.Well(0, 1000));
  cluster.Fails(0, 1, 1000);
  EXPECT_FALSE(cluster.Well(0, 1000));
}

TEST(OutlierTest, ErrorCodesReplace5xx) {
  OutlierConfig config = Config(1);
  config.error_codes = {429};
  Outliers cluster(config, 1);
  cluster.Answers(0, {500}, 1);
  EXPECT_TRUE(cluster.Well(0, 1));
  cluster.Answers(0, {429}, 1);
  EXPECT_FALSE(cluster.Well(0, 1));
}

TEST(OutlierTest, ComesBackAtTheFirstSweepAfterItsTime) {
  Outliers cluster(Config(1), 1);
  cluster.Answers(0, {500}, 1000);
  EXPECT_FALSE(cluster.Well(0, 31'000));
  EXPECT_FALSE(cluster.Well(0, 39'999));
  EXPECT_TRUE(cluster.Well(0, 40'000));
}

TEST(OutlierTest, StaysAwayLongerEachTimeUntilItHasBeenWell) {
  Outliers cluster(Config(1), 1);
  cluster.Answers(0, {500}, 10'000);
  EXPECT_TRUE(cluster.Well(0, 40'000));
  cluster.Answers(0, {500}, 40'000);
  EXPECT_FALSE(cluster.Well(0, 99'999));
  EXPECT_TRUE(cluster.Well(0, 100'000));
  // One sweep found it well: as if it had been out once.
  cluster.Answers(0, {500}, 110'000);
  EXPECT_FALSE(cluster.Well(0, 169'999));
  EXPECT_TRUE(cluster.Well(0, 170'000));
  // Long after, everything is forgotten.
  cluster.Answers(0, {500}, 1'000'000);
  EXPECT_TRUE(cluster.Well(0, 1'030'000));
}

TEST(OutlierTest, NobodyStaysAwayLongerThanFiveMinutesUnlessAskedFor) {
  Outliers cluster(Config(1), 1);
  uint64_t now_ms = 10'000;
  for (int i = 0; i < 20; ++i) {
    cluster.Answers(0, {500}, now_ms);
    now_ms = cluster.health(0).ejected_until_ms;
  }
  cluster.Answers(0, {500}, now_ms);
  EXPECT_EQ(cluster.health(0).ejected_until_ms, now_ms + 300'000);
  OutlierConfig config = Config(1);
  config.base_ejection_ms = 600'000;
  Outliers patient(config, 1);
  patient.Answers(0, {500}, 10'000);
  EXPECT_EQ(patient.health(0).ejected_until_ms, 610'000u);
}

TEST(OutlierTest, TenPercentOfFewerThanTenIsNobody) {
  OutlierConfig config = Config(1);
  config.max_ejection_percent = 10;
  Outliers nine(config, 9), twenty(config, 20);
  nine.Answers(0, {500}, 1);
  EXPECT_TRUE(nine.Well(0, 1));
  for (size_t i = 0; i < 3; ++i) twenty.Answers(i, {500}, 1);
  EXPECT_FALSE(twenty.Well(0, 1));
  EXPECT_FALSE(twenty.Well(1, 1));
  EXPECT_TRUE(twenty.Well(2, 1));
  // Whoever is back makes room for others.
  twenty.Answers(2, {500}, 50'000);
  EXPECT_FALSE(twenty.Well(2, 50'000));
}

}  // namespace
}  // namespace weft::upstream
