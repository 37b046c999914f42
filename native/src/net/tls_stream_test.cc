#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "net/transport.h"
#include "test_ca.h"
#include "test_net.h"

namespace weft {
namespace {

// One end of a connection; writes down what it hears.
struct End final : ByteStream::Handler {
  void OnStreamUp() override { up = true; }
  void OnBytes(std::span<const uint8_t> bytes) override {
    heard.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (pause_each) stream->PauseReads();
  }
  void OnReadEnd() override { read_end = true; }
  void OnWritable() override { SayMore(); }
  void OnStreamDown(StreamEnd how, std::string_view why) override {
    down = true;
    end = how;
    detail = why;
  }
  // As much of `unsaid` as there is room for.
  void SayMore() {
    for (size_t room; !unsaid.empty() && (room = stream->WriteRoom()) > 0;) {
      Say(unsaid.substr(0, room));
      unsaid.remove_prefix(std::min(room, unsaid.size()));
    }
  }
  void Say(std::string_view text) { stream->Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()}); }

  std::unique_ptr<ByteStream> stream;
  std::string heard, detail;
  std::string_view unsaid;
  bool up = false, read_end = false, down = false, pause_each = false;
  StreamEnd end = StreamEnd::kClosed;
};

// A TLS client and server on one loop.
class TlsStreamTest : public testing::Test {
 protected:
  TlsStreamTest() : loop_(std::move(*EpollLoop::Create())), context_(*loop_) {
    const test::Svid svid =
        ca_.Issue({.uris = {"spiffe://td/ns/a/sa/b"}, .dns_names = {"a.example", "*.wild.example"}});
    server_options_.certificate_chain = svid.chain;
    server_options_.private_key = svid.key;
    client_options_.ca = ca_.roots();
  }
  void Connect(const std::string& name) {
    auto server_config = MakeTlsServerConfig(server_options_);
    auto client_config = MakeTlsClientConfig(client_options_);
    ASSERT_TRUE(server_config.has_value() && client_config.has_value());
    const UniqueFd listener = test::Listen(test::At("127.0.0.1", 0));
    auto below = MakeTcpClient(context_, test::At("127.0.0.1", test::PortOf(listener)), 5'000, {});
    below_ = below.get();
    UniqueFd accepted = test::Accept(listener);
    ASSERT_EQ(fcntl(accepted.get(), F_SETFL, O_NONBLOCK), 0);
    server_.stream = MakeTlsServer(context_, MakeTcpStream(context_, std::move(accepted), {}), *server_config);
    client_.stream = MakeTlsClient(context_, std::move(below), *client_config, name);
    for (End* each : {&server_, &client_}) {
      each->stream->set_handler(each);
      ASSERT_TRUE(each->stream->Begin().has_value());
    }
  }
  // Turns until `condition` holds; the test's own time-out ends one that never does.
  void RunUntil(std::function<bool()> condition) {
    Timer patience([&] {
      ADD_FAILURE() << "client: " << client_.detail << " server: " << server_.detail;
      loop_->Stop();
    });
    std::function<void()> look = [&] {
      if (condition()) return loop_->Stop();
      loop_->Post(look);
    };
    loop_->Arm(patience, 10'000);
    loop_->Post(look);
    loop_->Run();
  }

  test::TestCa ca_;
  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;
  TlsServerOptions server_options_;
  TlsClientOptions client_options_;
  End server_, client_;
  ByteStream* below_ = nullptr;
};

TEST_F(TlsStreamTest, CarriesBytesBetweenThoseWhoKnowEachOther) {
  const test::Svid svid = ca_.Issue("spiffe://td/ns/c/sa/d");
  server_options_.client_ca = ca_.roots();
  server_options_.client_certificate_required = true;
  server_options_.alpn = {"h2", "http/1.1"};
  client_options_.certificate_chain = svid.chain;
  client_options_.private_key = svid.key;
  client_options_.alpn = {"http/1.1", "h2"};
  Connect("x.wild.example");
  const std::string question(300'000, 'q');
  client_.Say(question);
  RunUntil([&] {
    if (server_.heard.size() == question.size() && client_.heard.empty()) server_.Say("answer");
    return client_.heard == "answer";
  });
  EXPECT_EQ(server_.heard, question);
  EXPECT_EQ(server_.stream->info().sni, "x.wild.example");
  EXPECT_EQ(server_.stream->info().alpn, "h2");
  EXPECT_EQ(client_.stream->info().alpn, "h2");
  EXPECT_EQ(server_.stream->info().peer_identity, "spiffe://td/ns/c/sa/d");
  EXPECT_EQ(client_.stream->info().peer_identity, "spiffe://td/ns/a/sa/b");
}

TEST_F(TlsStreamTest, WhoeverWaitsForRoomIsToldWhenThereIsSome) {
  Connect("a.example");
  const std::string text(5'000'000, 't');
  client_.unsaid = text;
  client_.SayMore();
  RunUntil([&] { return server_.heard.size() == text.size(); });
  EXPECT_TRUE(server_.heard == text);
}

TEST_F(TlsStreamTest, ANameThatIsNotInTheCertificateIsRefused) {
  Connect("other.example");
  client_.Say("secret");
  RunUntil([&] { return client_.down; });
  EXPECT_EQ(client_.end, StreamEnd::kTlsError);
  EXPECT_NE(client_.detail.find("none of the names"), std::string::npos) << client_.detail;
  EXPECT_EQ(server_.heard, "");
}

TEST_F(TlsStreamTest, AUriIsComparedToTheLetter) {
  client_options_.subject_alt_names = {"spiffe://td/ns/a/sa/"};
  Connect("a.example");
  RunUntil([&] { return client_.down; });
  EXPECT_EQ(client_.end, StreamEnd::kTlsError);
}

TEST_F(TlsStreamTest, ACertificateOfSomebodyElseIsRefused) {
  client_options_.ca = test::TestCa().roots();
  Connect("a.example");
  RunUntil([&] { return client_.down && server_.down; });
  EXPECT_EQ(client_.end, StreamEnd::kTlsError);
  EXPECT_NE(client_.detail.find("certificate"), std::string::npos) << client_.detail;
}

TEST_F(TlsStreamTest, ACertificateThatIsOnNoRevocationListIsTaken) {
  const test::Svid other = ca_.Issue({.uris = {}, .dns_names = {"a.example"}});
  client_options_.crl = ca_.Crl({other});
  Connect("a.example");
  RunUntil([&] { return client_.up && server_.up; });
}

TEST_F(TlsStreamTest, ARevokedCertificateIsRefused) {
  client_options_.crl = ca_.Crl({{server_options_.certificate_chain, {}}});
  Connect("a.example");
  RunUntil([&] { return client_.down && server_.down; });
  EXPECT_EQ(client_.end, StreamEnd::kTlsError);
  EXPECT_NE(client_.detail.find("revoked"), std::string::npos) << client_.detail;
}

TEST_F(TlsStreamTest, AnAuthorityWithoutARevocationListIsNotTrustedWhereOneIsAskedFor) {
  client_options_.crl = test::TestCa().Crl({});
  Connect("a.example");
  RunUntil([&] { return client_.down; });
  EXPECT_EQ(client_.end, StreamEnd::kTlsError);
}

TEST_F(TlsStreamTest, AServerThatWantsACertificateHearsNothingWithoutOne) {
  server_options_.client_ca = ca_.roots();
  server_options_.client_certificate_required = true;
  Connect("a.example");
  client_.Say("secret");
  RunUntil([&] { return server_.down && client_.down; });
  EXPECT_EQ(server_.end, StreamEnd::kTlsError);
  EXPECT_EQ(server_.heard, "");
}

TEST_F(TlsStreamTest, AnEndInOrderIsToldFromOneThatSomebodyMade) {
  Connect("a.example");
  client_.Say("all");
  client_.stream->FinishWrites();
  RunUntil([&] { return server_.read_end; });
  EXPECT_EQ(server_.heard, "all");
  EXPECT_FALSE(server_.down);
}

TEST_F(TlsStreamTest, AnEndWithoutCloseNotifyIsACut) {
  Connect("a.example");
  client_.Say("part");
  bool cut = false;
  RunUntil([&] {
    if (server_.heard == "part" && !std::exchange(cut, true)) below_->FinishWrites();
    return server_.down;
  });
  EXPECT_FALSE(server_.read_end);
  EXPECT_EQ(server_.end, StreamEnd::kReset);
}

TEST_F(TlsStreamTest, WhoeverPausesLosesNothingAtTheEnd) {
  Connect("a.example");
  server_.pause_each = true;
  const std::string text(200'000, 't');
  client_.Say(text);
  client_.stream->FinishWrites();
  RunUntil([&] {
    server_.stream->ResumeReads();
    return server_.read_end || server_.down;
  });
  EXPECT_TRUE(server_.read_end);
  EXPECT_EQ(server_.heard.size(), text.size());
}

}  // namespace
}  // namespace weft
