// Streams of bytes at both ends of one tunnel, on one loop each, over mutual TLS on loopback.
#include "hbone/hbone_stream.h"

#include <gtest/gtest.h>

#include <atomic>

#include "loop/loop_thread.h"
#include "net/socket.h"
#include "on_loop.h"
#include "test_ca.h"
#include "test_net.h"

namespace weft::test {
namespace {

constexpr char kServer[] = "spiffe://cluster.local/ns/default/sa/server";
constexpr char kClient[] = "spiffe://cluster.local/ns/default/sa/client";

// What one end of a stream has been told.
struct End final : ByteStream::Handler {
  explicit End(LoopContext& with) : context(with) {}
  void OnStreamUp() override { up = true; }
  void OnBytes(std::span<const uint8_t> bytes) override {
    if (echo && stream) stream->Write(bytes);
    received += bytes.size();
    text.append(reinterpret_cast<const char*>(bytes.data()), echo ? 0 : bytes.size());
    if (echo && stream->WriteRoom() == 0) {
      stream->PauseReads();
      ++pauses;
    }
  }
  void OnReadEnd() override {
    read_end = true;
    if (echo) stream->FinishWrites();
  }
  void OnWritable() override {
    if (echo) return stream->ResumeReads();
    Send();
  }
  void OnStreamDown(StreamEnd with, std::string_view) override {
    end = with;
    context.loop.Retire(std::move(stream));
    down = true;
  }
  void Send() {
    while (stream && to_send > 0) {
      const size_t room = stream->WriteRoom();
      if (room == 0) return;
      const std::string piece(std::min({room, to_send, size_t{70'000}}), 'x');
      stream->Write({reinterpret_cast<const uint8_t*>(piece.data()), piece.size()});
      to_send -= piece.size();
    }
    if (stream && finish) stream->FinishWrites();
  }

  LoopContext& context;
  std::unique_ptr<ByteStream> stream;
  bool echo = false;
  bool finish = false;
  size_t to_send = 0;
  std::string text;
  std::atomic<size_t> received{0};
  std::atomic<int> pauses{0};
  std::atomic<bool> up{false}, read_end{false}, down{false};
  std::atomic<StreamEnd> end{StreamEnd::kAborted};
};

class Peer final : H2Connection::Owner {
 public:
  Peer(LoopThread& thread, UniqueFd fd, std::unique_ptr<TlsConn> tls, bool server, std::string refuse)
      : end(thread.context()), refuse_(std::move(refuse)) {
    H2Config config;
    config.server = server;
    connection = std::make_unique<H2Connection>(thread.context(), static_cast<H2Connection::Owner&>(*this),
                                                std::move(fd), std::move(tls), config, timeouts_, true);
    EXPECT_TRUE(connection->Begin());
  }
  End end;
  std::unique_ptr<H2Connection> connection;
  std::atomic<bool> up{false};

 private:
  void OnUp(H2Connection&) override { up = true; }
  void OnRequest(H2Connection& tunnel, H2Stream& stream, HeaderBlock headers, bool) override {
    StreamInfo info;
    info.baggage = headers.baggage;
    auto served = std::make_unique<HboneServerStream>(end.context, tunnel, stream, std::move(info));
    if (!refuse_.empty()) {
      served->Refuse(refuse_);
      return end.context.loop.Retire(std::move(served));
    }
    served->set_handler(&end);
    EXPECT_TRUE(served->Begin());
    served->Accept("service.name=here");
    end.stream = std::move(served);
  }
  void OnCapacityChanged(H2Connection&) override {}
  void OnBatchEnd() override {}
  void OnDown(H2Connection&) override { end.context.loop.Retire(std::move(connection)); }

  TunnelTimeouts timeouts_;
  std::string refuse_;
};

class HboneStreamTest : public testing::Test {
 protected:
  void Begin(bool echo, std::string refuse = "") {
    TestCa ca;
    const Svid server_svid = ca.Issue(kServer), client_svid = ca.Issue(kClient);
    auto server_context = IdentityContext::Create(kServer, server_svid.chain, server_svid.key, ca.roots());
    auto client_context = IdentityContext::Create(kClient, client_svid.chain, client_svid.key, ca.roots());
    ASSERT_TRUE(server_context && client_context);
    ASSERT_TRUE(thread_.Start());
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    OnLoop([&] {
      server_ =
          std::make_unique<Peer>(thread_, UniqueFd(fds[0]), std::move(*TlsConn::Server(*server_context)), true, refuse);
      client_ = std::make_unique<Peer>(thread_, UniqueFd(fds[1]),
                                       std::move(*TlsConn::Client(*client_context, {kServer})), false, "");
      server_->end.echo = echo;
    });
    ASSERT_TRUE(Eventually([&] { return client_->up.load(); }));
    OnLoop([&] {
      auto stream = std::make_unique<HboneClientStream>(thread_.context(), StreamInfo{}, "10.0.0.1:80", "a=b", "");
      EXPECT_TRUE(stream->OpenIn(*client_->connection));
      client_->end.stream = std::move(stream);
      client_->end.stream->set_handler(&client_->end);
      EXPECT_TRUE(client_->end.stream->Begin());
    });
  }
  void OnLoop(const std::function<void()>& work) { test::OnLoop(thread_, work); }
  void TearDown() override {
    // The ends of streams that are still open go with their loop.
    OnLoop([&] {
      for (Peer* peer : {client_.get(), server_.get()}) {
        if (peer->end.stream) peer->end.stream->Abort();
        if (peer->connection) peer->connection->Abort(WEFT_R_DRAINED, "over");
      }
    });
    thread_.Stop([this] {
      client_.reset();
      server_.reset();
    });
  }
  LoopThread thread_;
  std::unique_ptr<Peer> server_, client_;
};

TEST_F(HboneStreamTest, CarriesMegabytesBothWaysPastASlowReaderAndEndsInOrder) {
  Begin(true);
  ASSERT_TRUE(Eventually([&] { return client_->end.up.load(); }));
  constexpr size_t kBytes = 24 << 20;
  OnLoop([&] {
    EXPECT_EQ(client_->end.stream->info().baggage, "service.name=here");
    EXPECT_EQ(server_->end.stream->info().baggage, "a=b");
    client_->end.stream->PauseReads();
    client_->end.to_send = kBytes;
    client_->end.finish = true;
    client_->end.Send();
  });
  // The echo has nowhere to go, so its reader pauses too; then everything flows.
  ASSERT_TRUE(Eventually([&] { return server_->end.pauses > 0; }));
  OnLoop([&] { client_->end.stream->ResumeReads(); });
  ASSERT_TRUE(Eventually([&] { return client_->end.down && server_->end.down; }));
  EXPECT_EQ(server_->end.received, kBytes);
  EXPECT_EQ(client_->end.received, kBytes);
  EXPECT_EQ(client_->end.end, StreamEnd::kClosed);
  EXPECT_EQ(server_->end.end, StreamEnd::kClosed);
  EXPECT_TRUE(client_->end.read_end && server_->end.read_end);
}

TEST_F(HboneStreamTest, WhatIsNotReadIsKeptWithinTheWindow) {
  Begin(false);
  ASSERT_TRUE(Eventually([&] { return client_->end.up.load(); }));
  OnLoop([&] {
    server_->end.stream->PauseReads();
    client_->end.to_send = 4 << 20;
    client_->end.Send();
  });
  size_t left = 0;
  ASSERT_TRUE(Eventually([&] {
    const size_t before = left;
    OnLoop([&] { left = client_->end.to_send; });
    return before == left && left > 0;
  }));
  EXPECT_EQ(server_->end.received, 0U);
  OnLoop([&] { server_->end.stream->ResumeReads(); });
  EXPECT_TRUE(Eventually([&] { return server_->end.received == 4 << 20; }));
}

TEST_F(HboneStreamTest, ARefusalIsTheEndOfTheClientsStream) {
  Begin(false, "503");
  ASSERT_TRUE(Eventually([&] { return client_->end.down.load(); }));
  EXPECT_FALSE(client_->end.up);
  EXPECT_EQ(client_->end.end, StreamEnd::kRefused);
}

TEST_F(HboneStreamTest, AnAbortIsAResetAtTheOtherEnd) {
  Begin(false);
  ASSERT_TRUE(Eventually([&] { return client_->end.up.load(); }));
  OnLoop([&] {
    client_->end.stream->Abort();
    thread_.loop().Retire(std::move(client_->end.stream));
  });
  ASSERT_TRUE(Eventually([&] { return server_->end.down.load(); }));
  EXPECT_EQ(server_->end.end, StreamEnd::kReset);
}

TEST_F(HboneStreamTest, CloseSendsWhatIsWrittenAndWaitsForNothingElse) {
  Begin(false);
  ASSERT_TRUE(Eventually([&] { return client_->end.up.load(); }));
  OnLoop([&] {
    server_->end.stream->Write({reinterpret_cast<const uint8_t*>("bye"), 3});
    server_->end.stream->Close();
  });
  ASSERT_TRUE(Eventually([&] { return server_->end.down.load(); }));
  EXPECT_EQ(server_->end.end, StreamEnd::kClosed);
  ASSERT_TRUE(Eventually([&] { return client_->end.received == 3; }));
  ASSERT_TRUE(Eventually([&] { return client_->end.read_end || client_->end.down; }));
}

TEST_F(HboneStreamTest, TheEndOfTheTunnelIsTheEndOfItsStreams) {
  Begin(false);
  ASSERT_TRUE(Eventually([&] { return client_->end.up.load(); }));
  OnLoop([&] { client_->connection->Abort(WEFT_R_DRAINED, "over"); });
  ASSERT_TRUE(Eventually([&] { return client_->end.down && server_->end.down; }));
  EXPECT_EQ(client_->end.end, StreamEnd::kReset);
  EXPECT_EQ(server_->end.end, StreamEnd::kReset);
}

}  // namespace
}  // namespace weft::test
