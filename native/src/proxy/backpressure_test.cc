// Streams that stall: they stop themselves, not their tunnel, and hold a bounded amount of memory.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>

#include <thread>

#include "test_mesh.h"

namespace weft::test {
namespace {

class BackpressureTest : public MeshTest {
 protected:
  static EngineLimits OneLoop() {
    EngineLimits limits = TestLimits();
    limits.loops = 1;
    return limits;
  }
  // Sends without waiting until nothing more goes in for a while.
  static size_t Fill(const UniqueFd& fd) {
    static const std::string block(256 * 1024, 'x');
    size_t total = 0;
    for (int quiet = 0; quiet < 20;) {
      const ssize_t n = send(fd.get(), block.data(), block.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) {
        total += static_cast<size_t>(n);
        quiet = 0;
      } else {
        ++quiet;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    }
    return total;
  }
};

TEST_F(BackpressureTest, AStalledStreamDoesNotSlowOthersOfItsTunnel) {
  TestNode single{ca, kClientId, "127.0.0.3", OneLoop()};
  single.RouteTo(service, server, PortOf(app));
  const UniqueFd stalled_down = single.Dial(service);
  const UniqueFd stalled_up = Accept(app);
  ASSERT_TRUE(stalled_up);
  Fill(stalled_down);  // its application never reads

  const UniqueFd down = single.Dial(service);
  const UniqueFd up = Accept(app);
  ASSERT_TRUE(up);
  EXPECT_EQ(single.stats().open_tunnels, 1U);
  const std::string bytes = Noise(64 << 20, 5);
  std::thread sender([&] { SendAll(down, bytes); });
  EXPECT_TRUE(ReadN(up, bytes.size()) == bytes);
  sender.join();
}

TEST_F(BackpressureTest, AThousandStalledStreamsHoldABoundedAmount) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  constexpr size_t kStreams = 1000;
  // Small socket buffers at the application, so that the engine is where the bytes pile up.
  const int small = 4096;
  setsockopt(app.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  std::vector<UniqueFd> down;
  std::vector<UniqueFd> up;
  for (size_t i = 0; i < kStreams; ++i) {
    down.push_back(client.Dial(service));
    up.push_back(Accept(app));
    ASSERT_TRUE(up.back());
  }
  static const std::string block(1 << 20, 'x');
  for (int round = 0; round < 20; ++round) {
    for (const UniqueFd& fd : down) send(fd.get(), block.data(), block.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  Fill(down.back());
  const H2Config config;
  // The bound of H2Config, with a block of slack per stream for the rounding of buffers to sizes.
  const uint64_t tunnels = kStreams / TestLimits().max_streams_per_connection + 2;
  const uint64_t bound = kStreams * 2 * config.base_window + tunnels * config.connection_window;
  const uint64_t held = server.stats().buffered_bytes;
  EXPECT_GT(held, kStreams * 4096U) << "nothing stalled: the test proves nothing";
  EXPECT_LE(held, bound);
  EXPECT_LE(held, 400U << 20);
  EXPECT_LE(client.stats().buffered_bytes, tunnels * 2 * H2Connection::kOutputHigh);

  // And none of it is stuck: a reader gets its bytes.
  EXPECT_EQ(ReadN(up.front(), 1 << 20).size(), 1U << 20);
}

TEST_F(BackpressureTest, AStreamThatGoesBeyondItsPodsPartIsReset) {
  EngineLimits limits = OneLoop();
  limits.pending_bytes = 64 * 1024;
  TestNode small{ca, kServerId, "127.0.0.4", limits};
  client.RouteTo(service, small, PortOf(app));
  // The route leads to the pod's own address, where nobody else listens.
  const UniqueFd own_app = Listen(At("127.0.0.4", PortOf(app)));
  const int bytes = 4096;
  setsockopt(own_app.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  const UniqueFd down = client.Dial(service);
  const UniqueFd up = Accept(own_app);
  ASSERT_TRUE(up);
  Fill(down);
  EXPECT_EQ(small.log().Closed(0).reason, WEFT_R_LIMIT_EXCEEDED);
  EXPECT_TRUE(Eventually([&] { return small.stats().buffered_bytes == 0; }));

  // The next one has all of it again.
  const UniqueFd next = client.Dial(service);
  const UniqueFd next_up = Accept(own_app);
  ASSERT_TRUE(SendAll(next, "hello"));
  EXPECT_EQ(ReadN(next_up, 5), "hello");
}

TEST_F(BackpressureTest, AnIdleConnectionHoldsNoBuffers) {
  std::vector<UniqueFd> open;
  for (int i = 0; i < 100; ++i) {
    open.push_back(client.Dial(service));
    open.push_back(Accept(app));
    ASSERT_TRUE(SendAll(open[open.size() - 2], "x"));
    EXPECT_EQ(ReadN(open.back(), 1), "x");
  }
  EXPECT_TRUE(Eventually([&] { return client.stats().buffered_bytes == 0 && server.stats().buffered_bytes == 0; }));
}

}  // namespace
}  // namespace weft::test
