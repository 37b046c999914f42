#include "bpf/direct_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>

#include "bpf/abi_convert.h"

namespace weft {
namespace {

template <typename T>
struct ByBytes {
  bool operator()(const T& a, const T& b) const { return std::memcmp(&a, &b, sizeof(T)) < 0; }
};

// The kernel's side. After every step that a program could see it looks at each route as a program would.
struct FakeKernel {
  std::map<weft_route_key, weft_route, ByBytes<weft_route_key>> routes;
  std::map<weft_endpoint_key, weft_endpoint, ByBytes<weft_endpoint_key>> endpoints;
  std::map<weft_verdict_key, weft_verdict, ByBytes<weft_verdict_key>> verdicts;
  size_t max_routes = 1000;
  size_t max_endpoints = 1000;
  size_t max_verdicts = 1000;
  size_t slots_written = 0;

  void Look() const {
    for (const auto& [key, route] : routes) {
      for (uint32_t slot = 0; slot < route.count; ++slot) {
        EXPECT_TRUE(endpoints.contains({.set = route.set, .slot = slot})) << "set " << route.set << " has a hole";
      }
    }
  }
};

class FakeMaps final : public DirectMaps {
 public:
  explicit FakeMaps(FakeKernel& kernel) : kernel_(kernel) {}

  std::vector<std::pair<weft_route_key, weft_route>> Routes() const override {
    return {kernel_.routes.begin(), kernel_.routes.end()};
  }
  Status PutRoute(const weft_route_key& key, const weft_route& route) override {
    return Put(kernel_.routes, key, route, kernel_.max_routes, "weft_routes");
  }
  void RemoveRoutes(std::span<const weft_route_key> keys) override { Remove(kernel_.routes, keys); }

  std::vector<std::pair<weft_endpoint_key, weft_endpoint>> Endpoints() const override {
    return {kernel_.endpoints.begin(), kernel_.endpoints.end()};
  }
  Status PutSet(uint32_t set, std::span<const weft_endpoint> slots) override {
    if (kernel_.endpoints.size() + slots.size() > kernel_.max_endpoints) return Error{ENOSPC, "weft_endpoints is full"};
    for (uint32_t slot = 0; slot < slots.size(); ++slot) {
      const weft_endpoint_key key{.set = set, .slot = slot};
      EXPECT_FALSE(kernel_.endpoints.contains(key)) << "set " << set << " is changed";
      kernel_.endpoints[key] = slots[slot];
      ++kernel_.slots_written;
      kernel_.Look();
    }
    return Ok{};
  }
  void RemoveSlots(std::span<const weft_endpoint_key> keys) override { Remove(kernel_.endpoints, keys); }

  std::vector<std::pair<weft_verdict_key, weft_verdict>> Verdicts() const override {
    return {kernel_.verdicts.begin(), kernel_.verdicts.end()};
  }
  Status PutVerdict(const weft_verdict_key& key, const weft_verdict& verdict) override {
    return Put(kernel_.verdicts, key, verdict, kernel_.max_verdicts, "weft_verdicts");
  }
  void RemoveVerdicts(std::span<const weft_verdict_key> keys) override { Remove(kernel_.verdicts, keys); }

 private:
  template <typename Map, typename Key, typename Value>
  Status Put(Map& map, const Key& key, const Value& value, size_t max, const char* name) {
    if (!map.contains(key) && map.size() >= max) return Error{ENOSPC, std::string(name) + " is full"};
    map[key] = value;
    kernel_.Look();
    return Ok{};
  }
  template <typename Map, typename Key>
  void Remove(Map& map, std::span<const Key> keys) {
    for (const Key& key : keys) {
      map.erase(key);
      kernel_.Look();
    }
  }

  FakeKernel& kernel_;
};

SocketAddress At(const char* text) { return *SocketAddress::Parse(text); }

std::vector<DirectEndpoint> Endpoints(uint32_t first, uint32_t count) {
  std::vector<DirectEndpoint> endpoints;
  for (uint32_t i = first; i < first + count; ++i) {
    in_addr ip{.s_addr = htonl(0x0a000000 + i)};
    endpoints.push_back({.key = i, .weight = 1 + i % 3, .address = {IpAddress::FromV4(ip), 8080}});
  }
  return endpoints;
}

const SocketAddress kService = At("10.96.0.1:80");

class DirectTableTest : public testing::Test {
 protected:
  DirectTable Open() { return DirectTable(std::make_unique<FakeMaps>(kernel), kernel.max_endpoints); }
  FakeKernel kernel;
};

TEST_F(DirectTableTest, SharesASetAmongPodsAndDropsItWithTheLast) {
  DirectTable table = Open();
  const std::vector<DirectEndpoint> endpoints = Endpoints(1, 100);
  std::vector<DirectEndpoint> reversed(endpoints.rbegin(), endpoints.rend());
  for (uint64_t pod = 1; pod <= 50; ++pod) {
    ASSERT_TRUE(table.SetRoute(pod, kService, pod % 2 == 0 ? endpoints : reversed));
  }
  EXPECT_EQ(kernel.endpoints.size(), 100U);
  EXPECT_EQ(kernel.slots_written, 100U);

  // A change costs one set, not one for each pod.
  const std::vector<DirectEndpoint> fewer = Endpoints(1, 99);
  for (uint64_t pod = 1; pod <= 50; ++pod) ASSERT_TRUE(table.SetRoute(pod, kService, fewer));
  EXPECT_EQ(kernel.endpoints.size(), 99U);
  EXPECT_EQ(kernel.slots_written, 199U);

  for (uint64_t pod = 1; pod < 50; ++pod) table.RemoveRoute(pod, kService);
  EXPECT_EQ(kernel.endpoints.size(), 99U);
  table.PurgePod(50);
  EXPECT_TRUE(kernel.endpoints.empty());
  EXPECT_TRUE(kernel.routes.empty());
}

TEST_F(DirectTableTest, TakesEverySingleDifferenceForAnotherSet) {
  DirectTable table = Open();
  const DirectEndpoint base = Endpoints(1, 1)[0];
  std::vector<DirectEndpoint> variants(6, base);
  variants[1].key = 99;
  variants[2].address.port = 81;
  variants[3].kind = WEFT_ENDPOINT_PLAIN;
  variants[4].netns = 7;
  variants[5].address.ip = *IpAddress::Parse("fd00::1");
  for (uint64_t pod = 0; pod < variants.size(); ++pod) {
    ASSERT_TRUE(table.SetRoute(pod + 1, kService, {&variants[pod], 1}));
  }
  EXPECT_EQ(kernel.endpoints.size(), variants.size());
}

TEST_F(DirectTableTest, AdoptsRoutesAndRemovesWhatAnotherProcessLeftHalfDone) {
  {
    DirectTable table = Open();
    ASSERT_TRUE(table.SetRoute(1, kService, Endpoints(1, 5)));
    ASSERT_TRUE(table.SetRoute(2, kService, Endpoints(1, 5)));
    ASSERT_TRUE(table.SetRoute(3, kService, Endpoints(1, 6)));
  }
  // Killed between a set and its route.
  kernel.endpoints[{.set = 77, .slot = 0}] = {};
  DirectTable table = Open();
  EXPECT_EQ(table.Routes().size(), 3U);
  EXPECT_EQ(kernel.endpoints.size(), 11U);
  // The same endpoints: the same set.
  ASSERT_TRUE(table.SetRoute(4, kService, Endpoints(1, 5)));
  EXPECT_EQ(kernel.endpoints.size(), 11U);
  // Numbers go on after everything that was there.
  ASSERT_TRUE(table.SetRoute(5, kService, Endpoints(1, 7)));
  EXPECT_GT(kernel.routes.rbegin()->second.set, 77U);
  for (uint64_t pod = 1; pod <= 5; ++pod) table.PurgePod(pod);
  EXPECT_TRUE(kernel.endpoints.empty());
}

TEST_F(DirectTableTest, LeavesARouteWhoseSetIsNotWholeToTheAgent) {
  weft_route_key key{};
  key.netns = 1;
  key.dst = ToAbi(kService.ip);
  key.port = kService.port;
  kernel.routes[key] = {.set = 5, .count = 2};
  kernel.endpoints[{.set = 5, .slot = 1}] = {};
  DirectTable table = Open();
  EXPECT_TRUE(kernel.endpoints.empty());
  EXPECT_TRUE(kernel.routes.empty());
  EXPECT_TRUE(table.Routes().empty());
  ASSERT_TRUE(table.SetRoute(1, kService, Endpoints(1, 3)));
  EXPECT_EQ(kernel.routes.at(key).count, 3U);
  EXPECT_EQ(kernel.routes.at(key).set, 6U);
  kernel.Look();
}

TEST_F(DirectTableTest, LeavesARouteThatDoesNotFitToTheAgent) {
  kernel.max_endpoints = 10;
  DirectTable table = Open();
  ASSERT_TRUE(table.SetRoute(1, kService, Endpoints(1, 6)));
  ASSERT_TRUE(table.SetRoute(2, kService, Endpoints(1, 2)));
  const Status full = table.SetRoute(2, kService, Endpoints(20, 7));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ENOSPC);
  EXPECT_EQ(full.error().what, "weft_endpoints is full");
  EXPECT_EQ(kernel.routes.size(), 1U);
  EXPECT_EQ(kernel.endpoints.size(), 6U);
  // Fits once its own old set has gone.
  ASSERT_TRUE(table.SetRoute(1, kService, Endpoints(1, 9)));
  EXPECT_EQ(kernel.endpoints.size(), 9U);

  kernel.max_routes = 1;
  const Status no_room = table.SetRoute(2, kService, Endpoints(1, 9));
  ASSERT_FALSE(no_room);
  EXPECT_EQ(no_room.error().what, "weft_routes is full");
  table.PurgePod(1);
  EXPECT_TRUE(kernel.endpoints.empty());
}

TEST_F(DirectTableTest, RefusesEndpointsThatNobodyCouldDraw) {
  DirectTable table = Open();
  ASSERT_TRUE(table.SetRoute(1, kService, Endpoints(1, 2)));
  EXPECT_FALSE(table.SetRoute(1, kService, {}));
  EXPECT_TRUE(kernel.routes.empty());
  std::vector<DirectEndpoint> weightless = Endpoints(1, 2);
  weightless[1].weight = 0;
  EXPECT_FALSE(table.SetRoute(1, kService, weightless));
  EXPECT_TRUE(kernel.endpoints.empty());
}

TEST_F(DirectTableTest, KeepsRoutesAndSetsTogetherOverRandomChanges) {
  std::mt19937 random(3);
  kernel.max_endpoints = 60;
  kernel.max_routes = 12;
  auto table = std::make_unique<DirectTable>(std::make_unique<FakeMaps>(kernel), kernel.max_endpoints);
  for (int step = 0; step < 5000; ++step) {
    const uint64_t pod = 1 + random() % 5;
    const SocketAddress destination{kService.ip, static_cast<uint16_t>(80 + random() % 4)};
    const uint32_t action = random() % 100;
    if (action < 70) {
      static_cast<void>(table->SetRoute(pod, destination, Endpoints(random() % 3, 1 + random() % 15)));
    } else if (action < 90) {
      table->RemoveRoute(pod, destination);
    } else if (action < 98) {
      table->PurgePod(pod);
    } else {
      table = std::make_unique<DirectTable>(std::make_unique<FakeMaps>(kernel), kernel.max_endpoints);
    }
    kernel.Look();
    ASSERT_EQ(table->Routes().size(), kernel.routes.size());
    std::set<uint32_t> used;
    for (const auto& [key, route] : kernel.routes) used.insert(route.set);
    std::set<uint32_t> kept;
    for (const auto& [key, endpoint] : kernel.endpoints) kept.insert(key.set);
    ASSERT_EQ(used, kept);
  }
}

TEST_F(DirectTableTest, PurgesVerdictsFromAndToAPod) {
  DirectTable table = Open();
  const auto verdict = [](uint64_t from, uint64_t to) {
    return weft_verdict_key{.src_netns = from, .dst_netns = to, .port = 80, .family = AF_INET};
  };
  for (const auto& key : {verdict(1, 2), verdict(2, 1), verdict(2, 3), verdict(1, 1)}) {
    ASSERT_TRUE(table.SetVerdict(key, {.epoch = 1, .allow = 1}));
  }
  table.PurgePod(1);
  ASSERT_EQ(kernel.verdicts.size(), 1U);
  EXPECT_EQ(kernel.verdicts.begin()->first.dst_netns, 3U);
}

TEST_F(DirectTableTest, SweepsVerdictsOfAnotherEpoch) {
  DirectTable table = Open();
  for (uint64_t to = 1; to <= 3; ++to) {
    ASSERT_TRUE(table.SetVerdict({.src_netns = 9, .dst_netns = to, .port = 80, .family = AF_INET},
                                 {.epoch = static_cast<uint32_t>(to), .allow = 1}));
  }
  table.SweepVerdicts([](uint64_t pod) { return pod == 3 ? std::nullopt : std::optional<uint32_t>(2); });
  ASSERT_EQ(kernel.verdicts.size(), 1U);
  EXPECT_EQ(kernel.verdicts.begin()->first.dst_netns, 2U);
  kernel.max_verdicts = 1;
  const Status full = table.SetVerdict({.src_netns = 9, .dst_netns = 4, .port = 80, .family = AF_INET}, {});
  EXPECT_EQ(full.error().what, "weft_verdicts is full");
}

}  // namespace
}  // namespace weft
