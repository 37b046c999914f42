#include "upstream/cluster_catalog.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "l7.pb.h"

namespace weft::upstream {
namespace {

std::string EndpointsOf(std::initializer_list<const char*> ips) {
  l7::Endpoints endpoints;
  for (const char* ip : ips) {
    endpoints.add_endpoints()->set_ip(ip);
    endpoints.mutable_endpoints(endpoints.endpoints_size() - 1)->set_port(80);
  }
  return endpoints.SerializeAsString();
}

std::string ClusterOf(const std::function<void(l7::Cluster&)>& edit = {}) {
  l7::Cluster cluster;
  cluster.set_name("c");
  if (edit) edit(cluster);
  return cluster.SerializeAsString();
}

TEST(ClusterCatalogTest, WhatStaysKeepsItsHealthAndCounts) {
  ClusterCatalog catalog({});
  ASSERT_TRUE(catalog.SetEndpoints("c", EndpointsOf({"10.0.0.1", "10.0.0.2"})));
  EXPECT_TRUE(catalog.snapshot()->clusters.empty());
  ASSERT_TRUE(catalog.SetCluster("c", ClusterOf()));
  const auto before = catalog.snapshot()->clusters.at("c");
  ASSERT_TRUE(catalog.SetEndpoints("c", EndpointsOf({"10.0.0.3", "10.0.0.2"})));
  ASSERT_TRUE(catalog.SetCluster("c", ClusterOf([](l7::Cluster& it) { it.mutable_pool()->set_max_requests(1); })));
  const auto after = catalog.snapshot()->clusters.at("c");
  EXPECT_EQ(after->counters, before->counters);
  EXPECT_EQ(after->endpoints.at(1)->health, before->endpoints.at(1)->health);
  EXPECT_NE(after->endpoints.at(0)->health, before->endpoints.at(0)->health);
  EXPECT_EQ(after->config->max_requests, 1u);
  // A snapshot never changes, and nothing makes none.
  EXPECT_EQ(before->endpoints.at(0)->config.address_text, "10.0.0.1:80");
  EXPECT_EQ(catalog.snapshot(), catalog.snapshot());
  catalog.RemoveEndpoints("c");
  EXPECT_TRUE(catalog.snapshot()->clusters.at("c")->endpoints.empty());
  catalog.RemoveCluster("c");
  EXPECT_TRUE(catalog.snapshot()->clusters.empty());
}

TEST(ClusterCatalogTest, WhatIsWrongIsSaidAndChangesNothing) {
  ClusterCatalog catalog({});
  ASSERT_TRUE(catalog.SetCluster("c", ClusterOf()));
  ASSERT_TRUE(catalog.SetEndpoints("c", EndpointsOf({"10.0.0.1"})));
  const auto before = catalog.snapshot();
  const auto why = [&](const std::function<void(l7::Cluster&)>& edit) {
    const Status status = catalog.SetCluster("c", ClusterOf(edit));
    return status ? std::string() : status.error().what;
  };
  EXPECT_EQ(why([](l7::Cluster& it) { it.mutable_load_balancer()->set_maglev_table_size(10); }),
            "maglev table size 10 is no prime below 5000011");
  EXPECT_EQ(why([](l7::Cluster& it) { it.mutable_load_balancer()->mutable_session(); }),
            "load_balancer.session: needs a cookie or a header");
  EXPECT_EQ(why([](l7::Cluster& it) {
              it.mutable_load_balancer()->mutable_warmup()->set_duration_ms(1);
              it.mutable_load_balancer()->mutable_warmup()->set_aggression(-1);
            }),
            "load_balancer.warmup: aggression must be above 0");
  EXPECT_TRUE(why([](l7::Cluster& it) { it.mutable_tls()->set_ca("no PEM"); }).starts_with("tls: "));
  EXPECT_FALSE(catalog.SetCluster("c", "\xff"));
  EXPECT_FALSE(catalog.SetEndpoints("c", "\xff"));
  l7::Endpoints endpoints;
  endpoints.add_endpoints()->set_ip("10.0.0.1");
  EXPECT_EQ(catalog.SetEndpoints("c", endpoints.SerializeAsString()).error().what, "endpoint 10.0.0.1: port 0");
  endpoints.mutable_endpoints(0)->set_port(80);
  endpoints.mutable_endpoints(0)->set_tunnel(true);
  EXPECT_EQ(catalog.SetEndpoints("c", endpoints.SerializeAsString()).error().what,
            "endpoint 10.0.0.1: a tunnel without identities");
  EXPECT_EQ(catalog.snapshot(), before);
}

}  // namespace
}  // namespace weft::upstream
