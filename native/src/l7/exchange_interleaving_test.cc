#include <random>

#include "exchange_fixture.h"
#include "l7/mirror_request.h"

namespace weft::l7 {
namespace {

using test::FakeClientStream;
using test::FakeServerStream;

// Clients and upstreams that do anything at any time. Whatever they do, every request has one record, nothing is left
// behind, and nothing is touched that is gone.
class InterleavingTest : public test::ExchangeTest {
 protected:
  uint32_t Draw(uint32_t below) { return static_cast<uint32_t>(random_()) % below; }

  test::AskedRequest AnyRequest() {
    test::AskedRequest request;
    request.end = Draw(3) == 0;
    request.method = request.end ? "GET" : "POST";
    request.path = Draw(2) == 0 ? "/mirrored" : "/plain";
    if (Draw(4) == 0) request.fields = {{"content-type", "application/grpc"}};
    if (!request.end && Draw(5) == 0) request.upgrade = "websocket";
    request.protocol = Draw(2) == 0 ? http::Protocol::kHttp2 : http::Protocol::kHttp11;
    return request;
  }

  void Disturb(FakeServerStream& client) {
    if (client.closed) return;
    switch (Draw(8)) {
      case 0:
        return client.Body(std::string(Draw(100'000), 'b'), true);
      case 1:
        return client.Trailers({{"x-t", "1"}});
      case 2:
        if (Draw(3) == 0) client.Leave(Draw(2) == 0 ? http::StreamError::kReset : http::StreamError::kConnectionClosed);
        return;
      case 3:
        client.room = Draw(1000);
        return;
      case 4:
        return client.Read(Draw(200'000));
      default:
        return client.Body(std::string(Draw(50'000), 'b'), false);
    }
  }

  void Disturb(FakeClientStream& upstream, uint16_t& headed) {
    if (upstream.closed) return;
    if (headed == 0) {
      switch (Draw(6)) {
        case 0:
          return upstream.Informational(103);
        case 1:
          return upstream.Close(static_cast<http::StreamError>(1 + Draw(4)));
        case 2:
          upstream.room = Draw(1000);
          return upstream.Writable();
        default:
          headed = Draw(4) == 0 ? 503 : 200;
          return upstream.Head(headed, {{"x-a", "1"}}, Draw(4) == 0, Draw(8) == 0);
      }
    }
    switch (Draw(6)) {
      case 0:
        return upstream.Body(std::string(Draw(50'000), 'a'), true);
      case 1:
        return upstream.Trailers({{"grpc-status", "0"}});
      case 2:
        return upstream.Close(static_cast<http::StreamError>(1 + Draw(4)));
      case 3:
        upstream.room = 100'000;
        return upstream.Writable();
      default:
        return upstream.Body(std::string(Draw(50'000), 'a'), false);
    }
  }

  std::mt19937 random_{20260727};
};

TEST_F(InterleavingTest, LeavesNothingBehindWhateverHappens) {
  for (const char* path : {"/mirrored", "/"}) {
    Route& route = AddRoute(path);
    RetryPolicy* const retry = route.mutable_forward()->mutable_retry();
    retry->set_attempts(2);
    retry->set_backoff_base_ms(1);
    for (const RetryOn each : {FIVE_XX, REFUSED_STREAM}) retry->add_on(each);
    if (path[1] == '\0') continue;
    Mirror* const mirror = route.mutable_forward()->add_mirrors();
    mirror->set_cluster("reviews");
    mirror->set_share_ppm(500'000);
  }
  Publish();
  constexpr size_t kRounds = 150, kAtOnce = 4, kSteps = 25;
  std::vector<uint16_t> headed;
  for (size_t round = 0; round < kRounds; ++round) {
    std::vector<FakeServerStream*> clients;
    for (size_t i = 0; i < kAtOnce; ++i) clients.push_back(&Ask(AnyRequest()));
    for (size_t step = 0; step < kSteps; ++step) {
      On([&] {
        Disturb(*clients[Draw(kAtOnce)]);
        const size_t n = cluster().requests();
        headed.resize(n);
        if (n == 0) return;
        const size_t i = n - 1 - Draw(static_cast<uint32_t>(std::min<size_t>(n, 2 * kAtOnce)));
        Disturb(cluster().stream(i), headed[i]);
      });
    }
    On([&] {
      for (FakeServerStream* each : clients) each->Leave();
      for (size_t i = 0; i < cluster().requests(); ++i) {
        if (!cluster().stream(i).closed) cluster().stream(i).Close(http::StreamError::kConnectionClosed);
      }
    });
    ASSERT_EQ(records_.size(), (round + 1) * kAtOnce);
    ASSERT_EQ(services_->mirrors->size(), 0u);
    ASSERT_EQ(cluster().active, 0);
    ASSERT_EQ(cluster().retries, 0);
    ASSERT_EQ(services_->retained.held, 0u);
    ASSERT_EQ(context_.buffers.in_use(), 0u);
  }
}

}  // namespace
}  // namespace weft::l7
