#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "l7.pb.h"
#include "loop/loop_thread.h"
#include "test_net.h"
#include "upstream/loop_clusters.h"

namespace weft::test {

// Somebody who asks a cluster for "/" and keeps what comes back. Made and destroyed on the loop.
class Caller final : public upstream::PoolWaiter, public http::ClientStream::Handler {
 public:
  explicit Caller(std::shared_ptr<upstream::Cluster> cluster) : cluster_(std::move(cluster)) {}
  ~Caller();
  // False: nobody is there, or too many requests run.
  bool Ask(const upstream::PickContext& context = {}, http::Protocol protocol = http::Protocol::kHttp11);
  bool done() const { return closed || failure; }

  std::string authority;
  upstream::EndpointRef endpoint;
  uint16_t status = 0;
  std::string body, detail;
  bool closed = false;
  std::optional<upstream::PoolFailure> failure;
  std::unique_ptr<upstream::Attempt> attempt;

 private:
  void OnConnection(http::ClientConnection& connection) override;
  void OnPoolFailure(upstream::PoolFailure with, std::string_view why) override;
  void OnInformational(const http::ResponseHead&) override {}
  void OnHead(http::ResponseHead& head, bool) override { status = head.status; }
  void OnBody(std::span<const uint8_t> bytes, bool) override {
    body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void OnResponseEnd(const http::HeaderMap*) override {}
  void OnStreamWritable() override {}
  void OnStreamClosed(http::StreamError) override;

  std::shared_ptr<upstream::Cluster> cluster_;
  http::ClientStream* stream_ = nullptr;
};

// One end of a stream on the loop, and what it was told.
class StreamEndpoint final : public ByteStream::Handler {
 public:
  StreamEndpoint(EpollLoop& loop, std::unique_ptr<ByteStream> made) : stream(std::move(made)), loop_(loop) {
    stream->set_handler(this);
  }
  ~StreamEndpoint();
  std::unique_ptr<ByteStream> stream;
  bool up = false, down = false, read_end = false;
  StreamEnd end = StreamEnd::kClosed;
  std::string received, detail;

 private:
  void OnStreamUp() override { up = true; }
  void OnBytes(std::span<const uint8_t> bytes) override {
    received.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void OnReadEnd() override { read_end = true; }
  void OnWritable() override {}
  void OnStreamDown(StreamEnd with, std::string_view why) override {
    down = true;
    end = with;
    detail = why;
  }

  EpollLoop& loop_;
};

// The clusters of one loop, as the control plane would send them; servers are sockets of the test.
class ClustersTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // A cluster named "c" of these endpoints.
  void Publish(const l7::Cluster& cluster, const std::vector<SocketAddress>& endpoints);
  void PublishEndpoints(const l7::Endpoints& endpoints);
  static l7::Endpoints EndpointsAt(const std::vector<SocketAddress>& addresses);

  // Runs on the loop.
  void On(const std::function<void()>& run);
  void Until(const std::function<bool()>& condition);
  std::shared_ptr<upstream::Cluster> cluster();
  // Asks on the loop; the caller lives as long as the test.
  Caller& Ask(http::Protocol protocol = http::Protocol::kHttp11, const std::string& authority = {});
  void AwaitDone(Caller& caller);
  StreamEndpoint& Open(const StreamInfo& downstream = {});
  uint32_t Connections();

  // The head of a request on a socket of the test.
  static std::string ReadHead(const UniqueFd& fd);
  static void Answer(const UniqueFd& fd, const std::string& body = "ok");

  LoopThread thread_;
  upstream::CatalogOptions options_;
  std::unique_ptr<upstream::ClusterCatalog> catalog_;
  std::unique_ptr<upstream::LoopClusters> clusters_;
  std::vector<std::unique_ptr<Caller>> callers_;
  std::vector<std::unique_ptr<StreamEndpoint>> streams_;
  UniqueFd server_ = Listen(At("127.0.0.1", 0));
  const SocketAddress address_ = At("127.0.0.1", PortOf(server_));
};

}  // namespace weft::test
