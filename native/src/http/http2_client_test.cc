// The HTTP/2 client fed with frames: what becomes of requests at servers that answer well, and at others.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "h2_frames.h"
#include "http/codec.h"
#include "loop_test.h"
#include "memory_stream.h"

namespace weft::http {
namespace {

using test::Block;
using test::Fields;
using test::Frame;
using test::MemoryStream;
using test::Setting;
using test::U32;

using Texts = std::vector<std::string>;

constexpr uint8_t kWhole = h2::kEndHeaders | h2::kEndStream;

std::string Head(uint32_t stream, const Fields& more = {}, uint8_t flags = h2::kEndHeaders) {
  Fields fields{{":status", "200"}};
  fields.insert(fields.end(), more.begin(), more.end());
  return Frame(h2::kHeaders, flags, stream, Block(fields));
}
std::string Closed(StreamError error) { return "closed " + std::to_string(int(error)); }

// A request that writes down what it hears.
struct Asked final : ClientStream::Handler {
  void OnInformational(const ResponseHead& head) override { heard.push_back(std::to_string(head.status)); }
  void OnHead(ResponseHead& head, bool end) override {
    heard.push_back(std::to_string(head.status) + (end ? " end" : ""));
    if (on_head) on_head();
  }
  void OnBody(std::span<const uint8_t> bytes, bool end) override {
    heard.push_back("body " + std::to_string(bytes.size()) + (end ? " end" : ""));
  }
  void OnResponseEnd(const HeaderMap* trailers) override {
    heard.push_back("end");
    if (trailers == nullptr) return;
    for (const Header& each : *trailers) heard.back() += " " + std::string(each.name) + "=" + std::string(each.value);
  }
  void OnStreamWritable() override { heard.push_back("writable"); }
  void OnStreamClosed(StreamError error) override { heard.push_back(Closed(error)); }

  ClientStream* stream = nullptr;
  std::function<void()> on_head;
  Texts heard;
};

class Http2ClientTest : public test::LoopTest, public ClientConnection::Owner {
 protected:
  void SetUp() override {
    LoopTest::SetUp();
    Restart();
  }
  void TearDown() override {
    End();
    LoopTest::TearDown();
  }

  // A connection whose server has said its settings.
  void Restart(const std::string& settings = "") {
    End();
    On([this] {
      down_ = false;
      auto stream = std::make_unique<MemoryStream>(context_);
      stream_ = stream.get();
      client_ = MakeHttp2Client(context_, std::move(stream), *this, limits_);
    });
    Say(Frame(h2::kSettings, 0, 0, settings) + Frame(h2::kSettings, h2::kAck, 0));
  }
  void End() {
    if (!client_) return;
    On([this] { client_->Abort(); });
    On([this] { client_.reset(); });
    asked_.clear();
  }
  // Numbers are 1, 3, 5 and so on.
  Asked& Ask(bool end = true) {
    asked_.push_back(std::make_unique<Asked>());
    Asked& asked = *asked_.back();
    On([&] {
      Arena arena;
      RequestHead head(arena);
      head.method = end ? "GET" : "POST";
      head.authority = "a.com";
      head.path = "/";
      asked.stream = client_->Open(head, end, asked);
    });
    return asked;
  }
  Texts Say(const std::string& bytes) {
    On([&] { stream_->Say(bytes); });
    return Answers();
  }
  Texts Answers() {
    std::string written;
    On([&] { written = stream_->Written(); });
    if (written.starts_with(h2::kPreface)) written.erase(0, h2::kPrefaceBytes);
    Texts frames = test::FramesOf(written);
    std::erase_if(frames, [](const std::string& each) { return each.starts_with("settings"); });
    return frames;
  }
  bool CanOpen() {
    bool can = false;
    On([&] { can = client_->CanOpen(); });
    return can;
  }

  void OnCapacityChanged(ClientConnection&) override {}
  void OnConnectionDown(ClientConnection&, StreamEnd, std::string_view) override { down_ = true; }

  ClientLimits limits_;
  MemoryStream* stream_ = nullptr;
  std::unique_ptr<ClientConnection> client_;
  std::vector<std::unique_ptr<Asked>> asked_;
  bool down_ = false;
};

TEST_F(Http2ClientTest, HearsAnswersWithInterimOnesAndTrailers) {
  Asked& asked = Ask();
  Answers();
  Say(Frame(h2::kHeaders, h2::kEndHeaders, 1, Block({{":status", "103"}})) + Head(1) + Frame(h2::kData, 0, 1, "abc") +
      Frame(h2::kHeaders, kWhole, 1, Block({{"x-sum", "42"}})));
  EXPECT_EQ(asked.heard, (Texts{"103", "200", "body 3", "end x-sum=42", Closed(StreamError::kNone)}));
}

TEST_F(Http2ClientTest, AnAnswerThatIsNoneEndsItsStreamAlone) {
  const std::string bad[] = {
      Head(1, {{"X-Upper", "a"}}),
      Head(1, {{"x", "a\r\nb: c"}}),
      Head(1, {{"connection", "close"}}),
      Head(1, {{"transfer-encoding", "chunked"}}),
      Head(1, {{":path", "/"}}),
      Frame(h2::kHeaders, h2::kEndHeaders, 1, Block({{"x", "no status"}})),
      Frame(h2::kHeaders, h2::kEndHeaders, 1, Block({{":status", "2x0"}})),
      Head(1, {{"content-length", "4"}}) + Frame(h2::kData, h2::kEndStream, 1, "abc"),
      Head(1) + Frame(h2::kHeaders, h2::kEndHeaders, 1, Block({{"x-sum", "no end"}})),
  };
  for (const std::string& frames : bad) {
    Restart();
    Asked& asked = Ask();
    Asked& other = Ask();
    Answers();
    EXPECT_EQ(Say(frames), (Texts{"reset 1 1"}));
    EXPECT_EQ(asked.heard.back(), Closed(StreamError::kProtocol));
    EXPECT_TRUE(std::ranges::none_of(asked.heard, [](const std::string& each) { return each.ends_with("end"); }));
    Say(Head(3, {}, kWhole));
    EXPECT_EQ(other.heard, (Texts{"200 end", Closed(StreamError::kNone)}));
  }
}

TEST_F(Http2ClientTest, AnAnswerWithoutEndIsCutAtItsLimits) {
  limits_.max_headers = 10;
  limits_.max_header_bytes = 4'096;
  Fields many, large;
  for (int i = 0; i < 11; ++i) many.push_back({"x-" + std::to_string(i), "1"});
  for (int i = 0; i < 5; ++i) large.push_back({"x-" + std::to_string(i), std::string(1'000, 'x')});
  std::string interim;
  for (int i = 0; i < 20; ++i) interim += Frame(h2::kHeaders, h2::kEndHeaders, 1, Block({{":status", "103"}}));
  for (const std::string& frames : {Head(1, many), Head(1, large), interim}) {
    Restart();
    Asked& asked = Ask();
    Answers();
    EXPECT_EQ(Say(frames), (Texts{"reset 1 11"}));
    EXPECT_EQ(asked.heard.back(), Closed(StreamError::kLimit));
  }
}

TEST_F(Http2ClientTest, WhatAServerThatGoesHasNotTakenIsRefused) {
  Asked& first = Ask();
  Asked& second = Ask();
  Say(Frame(h2::kGoAway, 0, 0, U32(1) + U32(0)));
  EXPECT_FALSE(CanOpen());
  // May be sent elsewhere: it was not looked at.
  EXPECT_EQ(second.heard, (Texts{Closed(StreamError::kRefused)}));
  EXPECT_EQ(first.heard, Texts{});
  EXPECT_FALSE(stream_->closed);
  Say(Head(1, {}, kWhole));
  EXPECT_EQ(first.heard, (Texts{"200 end", Closed(StreamError::kNone)}));
  EXPECT_TRUE(stream_->closed);
}

TEST_F(Http2ClientTest, TheServersLimitOfStreamsCounts) {
  Restart(Setting(h2::kMaxConcurrentStreams, 1));
  Ask();
  EXPECT_FALSE(CanOpen());
  Say(Head(1, {}, kWhole));
  EXPECT_TRUE(CanOpen());
}

TEST_F(Http2ClientTest, AServerMayResetWhatItWasAskedForAsOftenAsItLikes) {
  // Servers of gRPC do so behind every early answer.
  for (uint32_t id = 1; id < 2'000; id += 2) {
    Asked& asked = Ask(false);
    ASSERT_NE(asked.stream, nullptr) << id;
    Say(Head(id, {}, kWhole) + Frame(h2::kRstStream, 0, id, U32(0)));
    ASSERT_EQ(asked.heard, (Texts{"200 end", Closed(StreamError::kNone)})) << id;
  }
  EXPECT_FALSE(stream_->closed);
}

TEST_F(Http2ClientTest, FloodsEndTheConnectionAndItsRequests) {
  std::string resets, pings;
  for (int i = 0; i < 1'000; ++i) pings += Frame(h2::kPing, 0, 0, "12345678");
  for (int i = 0; i < 1'000; ++i) resets += Frame(h2::kRstStream, 0, 1, U32(0));
  std::string block = Frame(h2::kHeaders, 0, 1, Block({{":status", "200"}}));
  for (int i = 0; i < 20; ++i) block += Frame(h2::kContinuation, 0, 1);
  for (const std::string& flood : {pings, resets, block}) {
    Restart();
    Asked& asked = Ask();
    const Texts answers = Say(flood);
    ASSERT_FALSE(answers.empty());
    EXPECT_EQ(answers.back(), "goaway 0 11");
    ASSERT_FALSE(asked.heard.empty());
    EXPECT_TRUE(asked.heard.back().starts_with("closed"));
    EXPECT_TRUE(stream_->closed);
  }
}

TEST_F(Http2ClientTest, AServerThatGivesNoWindowStopsTheBodyAndNothingElse) {
  Restart(Setting(h2::kInitialWindowSize, 0));
  Asked& asked = Ask(false);
  const std::vector<uint8_t> piece(16 * 1024);
  size_t taken = 0;
  for (bool room = true; room && taken < (size_t{64} << 20);) {
    On([&] {
      room = asked.stream->WriteRoom() > 0;
      if (!room) return;
      asked.stream->SendBody(piece, false);
      taken += piece.size();
    });
  }
  EXPECT_LT(context_.buffers.in_use(), size_t{1} << 20);
  EXPECT_EQ(Answers(), (Texts{"headers 1"}));
  Asked& other = Ask();
  Say(Head(3, {}, kWhole));
  EXPECT_EQ(other.heard, (Texts{"200 end", Closed(StreamError::kNone)}));
  Say(Frame(h2::kWindowUpdate, 0, 1, U32(1 << 20)));
  EXPECT_EQ(asked.heard, (Texts{"writable"}));
}

TEST_F(Http2ClientTest, WhoeverEndsTheConnectionWithinAnAnswerHearsOfNoOther) {
  Asked& first = Ask();
  Asked& second = Ask();
  first.on_head = [this] { client_->Abort(); };
  Say(Head(1, {}, kWhole) + Head(3, {}, kWhole));
  EXPECT_EQ(first.heard.front(), "200 end");
  EXPECT_EQ(second.heard, (Texts{Closed(StreamError::kLocal)}));
  EXPECT_TRUE(down_);
}

TEST_F(Http2ClientTest, AnEndOfTheConnectionEndsWhatIsOpen) {
  Asked& asked = Ask();
  Say(Head(1));
  On([this] { stream_->SayEnd(); });
  EXPECT_EQ(asked.heard, (Texts{"200", Closed(StreamError::kConnectionClosed)}));
}

}  // namespace
}  // namespace weft::http
