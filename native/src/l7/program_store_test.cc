#include "l7/program_store.h"

#include <gtest/gtest.h>

#include "l7.pb.h"
#include "upstream/cluster_catalog.h"

namespace weft::l7 {
namespace {

constexpr char kHost[] = "web.default.svc.cluster.local";

void AddRoute(google::protobuf::RepeatedPtrField<Route>& routes, const std::string& prefix) {
  Route& route = *routes.Add();
  route.set_name(prefix);
  route.mutable_match()->mutable_path()->set_prefix(prefix);
  route.mutable_direct()->set_status(200);
}

class ProgramStoreTest : public testing::Test {
 protected:
  std::string Group(const std::vector<std::string>& prefixes) {
    RouteGroup group;
    for (const std::string& each : prefixes) AddRoute(*group.mutable_routes(), each);
    return group.SerializeAsString();
  }

  std::string Web(const std::vector<std::string>& groups, const std::vector<std::string>& prefixes) {
    Destination destination;
    destination.set_name("default/web");
    destination.set_hostname(kHost);
    auto& port = *destination.add_ports();
    port.set_port(80);
    VirtualHost& host = *port.mutable_chain()->mutable_http()->add_hosts();
    host.add_domains("*");
    for (const std::string& each : groups) host.add_route_groups(each);
    for (const std::string& each : prefixes) AddRoute(*host.mutable_routes(), each);
    return destination.SerializeAsString();
  }

  std::vector<Rejection> Put(const std::vector<std::pair<ResourceType, std::pair<std::string, std::string>>>& resources,
                             const std::vector<ResourceName>& removed = {}) {
    std::vector<ResourceUpdate> updates;
    for (const auto& [type, resource] : resources) updates.push_back({type, resource.first, resource.second});
    return store_.Apply(updates, removed);
  }

  const VirtualHostProgram* Host() {
    const auto& by_host = store_.program()->by_host;
    const auto found = by_host.find(std::string(kHost) + ":80");
    return found == by_host.end() ? nullptr : found->second.chain->http->FindHost("any");
  }

  // The name of the route that a path takes; empty: none.
  std::string RouteOf(std::string_view path) {
    Arena arena;
    http::RequestHead request(arena);
    request.path = path;
    const RouteProgram* route = Host()->Find({request, nullptr, ""});
    return route == nullptr ? "" : route->name;
  }

  upstream::ClusterCatalog clusters_{{}};
  ProgramStore store_{clusters_};
};

TEST_F(ProgramStoreTest, RoutesOfGroupsAreTriedInTheirOrderBeforeTheHostsOwn) {
  // Also when what names them comes first.
  EXPECT_TRUE(Put({{ResourceType::kDestination, {"default/web", Web({"two", "one"}, {"/"})}},
                   {ResourceType::kRouteGroup, {"one", Group({"/a", "/b"})}},
                   {ResourceType::kRouteGroup, {"two", Group({"/a/x", "/b/"})}}})
                  .empty());
  EXPECT_EQ(RouteOf("/a/x"), "/a/x");
  EXPECT_EQ(RouteOf("/a/y"), "/a");
  EXPECT_EQ(RouteOf("/b/y"), "/b/");
  EXPECT_EQ(RouteOf("/c"), "/");
}

TEST_F(ProgramStoreTest, AnEditCompilesItsGroupAndKeepsTheOthersAsTheyAre) {
  Put({{ResourceType::kRouteGroup, {"one", Group({"/a"})}}, {ResourceType::kRouteGroup, {"two", Group({"/b"})}}});
  Put({{ResourceType::kDestination, {"default/web", Web({"one", "two"}, {})}}});
  const std::vector<const RouteProgram*> before = Host()->routes;
  EXPECT_TRUE(Put({{ResourceType::kRouteGroup, {"three", Group({"/c"})}}}).empty());
  EXPECT_EQ(Host()->routes, before);
  EXPECT_TRUE(Put({{ResourceType::kDestination, {"default/web", Web({"one", "three"}, {})}}},
                  {{ResourceType::kRouteGroup, "two"}})
                  .empty());
  EXPECT_EQ(Host()->routes[0], before[0]);
  EXPECT_EQ(RouteOf("/b"), "");
  EXPECT_EQ(RouteOf("/c"), "/c");
}

TEST_F(ProgramStoreTest, WhatNamesAGroupThatIsNotThereIsRefusedAndWhatWasThereStays) {
  Put({{ResourceType::kRouteGroup, {"one", Group({"/a"})}},
       {ResourceType::kDestination, {"default/web", Web({"one"}, {})}}});
  Route broken;
  RouteGroup group;
  *group.add_routes() = broken;
  const std::vector<Rejection> refused = Put({{ResourceType::kRouteGroup, {"two", group.SerializeAsString()}},
                                              {ResourceType::kDestination, {"default/web", Web({"two"}, {})}}},
                                             {{ResourceType::kRouteGroup, "one"}});
  ASSERT_EQ(refused.size(), 2u);
  EXPECT_EQ(refused[0].reason, "route 0 (): no action");
  EXPECT_EQ(refused[1].reason, "port 80: host : there is no route group two");
  EXPECT_EQ(RouteOf("/a"), "/a");
}

}  // namespace
}  // namespace weft::l7
