#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fake_http.h"
#include "l7.pb.h"
#include "l7/downstream.h"
#include "l7/services.h"

namespace weft::test {

// What a request's record said; the record's own texts are gone by then.
struct SeenRecord {
  uint16_t status = 0;
  int32_t grpc_status = -1;
  std::string flags, details, route, cluster, endpoint, path, original_path, request_id, transport_failure;
  uint64_t received = 0, sent = 0, grpc_requests = 0, grpc_responses = 0;
  uint32_t attempts = 0;
};

struct AskedRequest {
  std::string method = "GET", path = "/", authority = "reviews:9080";
  Fields fields = {};
  bool end = true;
  http::Protocol protocol = http::Protocol::kHttp11;
  std::string upgrade = "";
  bool expect_continue = false;
};

// The engine between fakes: routes as the control plane would send them, a client, clusters.
class ExchangeTest : public testing::Test, private l7::RecordSink {
 protected:
  ExchangeTest();
  ~ExchangeTest() override;

  // A route for everything that is not matched before it, to cluster "reviews" (which is there).
  l7::Route& AddRoute(const std::string& prefix = "/");
  // Compiles what was added; exchanges that begin later run under it.
  void Publish();

  // Runs on the loop, and after it all that it has put off to the end of its turn.
  void On(const std::function<void()>& run);
  // Asks; the stream lives as long as the test.
  FakeServerStream& Ask(const AskedRequest& request = {});
  FakeClientStream& Asked(size_t i, const std::string& cluster = "reviews");
  // Waits until the cluster has got so many requests.
  void AwaitRequests(size_t n, const std::string& cluster = "reviews");
  void AwaitAnswer(FakeServerStream& stream);
  bool Await(const std::function<bool()>& condition);

  FakeCluster& cluster(const std::string& name = "reviews") { return clusters_[name]; }
  const SeenRecord& record(size_t i = 0) { return records_.at(i); }

  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;
  FakeClusters clusters_;
  telemetry::Hooks hooks_;
  l7::SettingsProgram settings_;
  l7::HttpRoutes routes_;
  std::vector<SeenRecord> records_;
  std::unique_ptr<l7::LoopServices> services_;
  l7::ChainHandle handle_{"default/reviews"};
  StreamInfo info_;

 private:
  void OnRecord(const l7::RequestRecord& record) override;
  void OnTcpOpened(const l7::RequestRecord&) override {}
  void OnTcpProgress(const l7::RequestRecord&, uint64_t, uint64_t) override {}

  std::unique_ptr<l7::Downstream> downstream_;
  std::vector<std::unique_ptr<FakeServerStream>> streams_;
  std::thread runner_;
};

}  // namespace weft::test
