// The HTTP/2 server fed with frames: what honest clients get, and what others do.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "h2_frames.h"
#include "http/codec.h"
#include "loop_test.h"
#include "memory_stream.h"
#include "on_loop.h"

namespace weft::http {
namespace {

using test::Block;
using test::Fields;
using test::Frame;
using test::MemoryStream;
using test::Preface;
using test::U32;

using Texts = std::vector<std::string>;

constexpr uint8_t kWhole = h2::kEndHeaders | h2::kEndStream;

Fields Request(const std::string& method, const Fields& more = {}) {
  Fields fields{{":method", method}, {":scheme", "http"}, {":authority", "a.com"}, {":path", "/"}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}
std::string Get(uint32_t stream) { return Frame(h2::kHeaders, kWhole, stream, Block(Request("GET"))); }
// Its body is to come.
std::string Post(uint32_t stream) { return Frame(h2::kHeaders, h2::kEndHeaders, stream, Block(Request("POST"))); }

std::string Closed(StreamError error) { return "closed " + std::to_string(int(error)); }

// An application that answers nothing by itself, and writes down what it hears.
class Http2ServerTest : public test::LoopTest, public ServerConnection::Owner, public ServerStream::Handler {
 protected:
  void SetUp() override {
    LoopTest::SetUp();
    Restart();
  }
  void TearDown() override {
    End();
    LoopTest::TearDown();
  }

  void Restart() {
    End();
    On([this] {
      heard_.clear();
      streams_.clear();
      auto stream = std::make_unique<MemoryStream>(context_);
      stream_ = stream.get();
      server_ = MakeHttp2Server(context_, std::move(stream), *this, limits_, {});
    });
  }
  void End() {
    if (!server_) return;
    On([this] { server_->Abort(); });
    On([this] { server_.reset(); });
  }
  // What comes back: without SETTINGS and what belongs to them.
  Texts Say(const std::string& bytes) {
    On([&] { stream_->Say(bytes); });
    return Answers();
  }
  Texts Answers() {
    Texts frames;
    On([&] { frames = test::FramesOf(stream_->Written()); });
    std::erase_if(frames, [](const std::string& each) { return each.starts_with("settings"); });
    return frames;
  }
  void AwaitClose() {
    EXPECT_TRUE(test::EventuallyOnLoop(*loop_, [this] { return stream_->closed; }));
  }

  ServerStream::Handler* OnRequest(ServerStream& stream, RequestHead& head, bool end) override {
    heard_.push_back(std::string(head.method) + " " + std::string(head.path) + (end ? " end" : ""));
    for (const Header& each : head.headers)
      heard_.back() += " " + std::string(each.name) + "=" + std::string(each.value);
    streams_.push_back(&stream);
    if (on_request_) on_request_(stream);
    return this;
  }
  void OnBadRequest(uint16_t status, std::string_view) override { heard_.push_back("bad " + std::to_string(status)); }
  void OnConnectionDown(StreamEnd, std::string_view) override { heard_.push_back("down"); }
  void OnBody(std::span<const uint8_t> bytes, bool end) override {
    heard_.push_back("body " + std::to_string(bytes.size()) + (end ? " end" : ""));
  }
  void OnRequestEnd(const HeaderMap* trailers) override {
    heard_.push_back("end");
    if (trailers == nullptr) return;
    for (const Header& each : *trailers) heard_.back() += " " + std::string(each.name) + "=" + std::string(each.value);
  }
  void OnStreamWritable() override { heard_.push_back("writable"); }
  void OnStreamClosed(StreamError error) override { heard_.push_back(Closed(error)); }

  static void Answer(ServerStream& stream, bool end = true) {
    Arena arena;
    ResponseHead head(arena);
    head.status = 200;
    stream.SendHead(head, end);
  }

  ServerLimits limits_;
  MemoryStream* stream_ = nullptr;
  std::unique_ptr<ServerConnection> server_;
  std::function<void(ServerStream&)> on_request_;
  std::vector<ServerStream*> streams_;
  Texts heard_;
};

// ---- frames on streams that are over
// -----------------------------------------------------------------------------------

TEST_F(Http2ServerTest, DataBehindAResetEndsTheConnection) {
  const std::string frames =
      Post(1) + Frame(h2::kRstStream, 0, 1, U32(h2::kCancel)) + Frame(h2::kData, h2::kEndStream, 1, "late");
  // However it is cut: each read is its own.
  for (size_t piece : {size_t{1}, size_t{7}, size_t{20}, frames.size()}) {
    Restart();
    Say(Preface());
    Texts answers;
    for (size_t at = 0; at < frames.size(); at += piece) {
      const Texts more = Say(frames.substr(at, piece));
      answers.insert(answers.end(), more.begin(), more.end());
    }
    EXPECT_EQ(answers, (Texts{"goaway 1 5"})) << piece;
    EXPECT_EQ(heard_, (Texts{"POST /", Closed(StreamError::kReset), "bad 0"})) << piece;
    EXPECT_TRUE(stream_->closed);
  }
}

TEST_F(Http2ServerTest, DataOnAStreamThatEndedEndsTheConnection) {
  on_request_ = [](ServerStream& stream) { Answer(stream); };
  EXPECT_EQ(Say(Preface() + Get(1)), (Texts{"headers 1 end"}));
  EXPECT_EQ(Say(Frame(h2::kData, 0, 1, "late")), (Texts{"goaway 1 5"}));
}

TEST_F(Http2ServerTest, DataOnAStreamThatWeResetIsDropped) {
  Say(Preface() + Post(1));
  On([&] { streams_[0]->Reset(StreamError::kLocal); });
  EXPECT_EQ(Answers(), (Texts{"reset 1 8"}));
  EXPECT_EQ(Say(Frame(h2::kData, 0, 1, "under way")), Texts{});
  EXPECT_EQ(Say(Frame(h2::kPing, 0, 0, "12345678")), (Texts{"ping ack"}));
  EXPECT_EQ(heard_, (Texts{"POST /"}));
}

TEST_F(Http2ServerTest, AStreamBelowOneThatIsOpenEndsTheConnection) {
  EXPECT_EQ(Say(Preface() + Post(5) + Post(3)), (Texts{"goaway 5 1"}));
  Restart();
  EXPECT_EQ(Say(Preface() + Post(1) + Post(3) + Frame(h2::kData, 0, 1, "x")), Texts{});
}

TEST_F(Http2ServerTest, APriorityOfNothingOrOfItselfEndsTheConnection) {
  EXPECT_EQ(Say(Preface() + Frame(h2::kPriority, 0, 0, U32(1) + "w")), (Texts{"goaway 0 1"}));
  Restart();
  EXPECT_EQ(Say(Preface() + Frame(h2::kPriority, 0, 3, U32(3) + "w")), (Texts{"goaway 0 1"}));
  Restart();
  EXPECT_EQ(Say(Preface() + Frame(h2::kPriority, 0, 3, U32(1) + "w")), Texts{});
}

// ---- messages that are none
// --------------------------------------------------------------------------------------------

TEST_F(Http2ServerTest, AFieldThatIsNoneResetsTheStreamAndNobodyHearsOfIt) {
  const Fields bad[] = {
      {{"X-Upper", "a"}},
      {{"", "a"}},
      {{"a b", "c"}},
      {{"a:b", "c"}},
      {{"x\r\ny", "c"}},
      {{"x", "a\r\nb: c"}},
      {{"x", std::string("a\0b", 3)}},
      {{"x", "a\nb"}},
      {{":unknown", "a"}},
      {{"x", "a"}, {":path", "/late"}},
      {{":path", "/twice"}},
      // Of the connection: RFC 9113 section 8.2.2.
      {{"connection", "close"}},
      {{"keep-alive", "1"}},
      {{"proxy-connection", "keep-alive"}},
      {{"transfer-encoding", "chunked"}},
      {{"upgrade", "websocket"}},
      {{"te", "gzip"}},
      {{"content-length", "1"}, {"content-length", "2"}},
      {{"content-length", "+1"}},
  };
  for (const Fields& more : bad) {
    Restart();
    const std::string block = Block(Request("POST", more));
    EXPECT_EQ(Say(Preface() + Frame(h2::kHeaders, h2::kEndHeaders, 1, block)), (Texts{"reset 1 1"}))
        << more.back().first << "=" << more.back().second;
    EXPECT_EQ(heard_, Texts{});
    // Others go on.
    EXPECT_EQ(Say(Get(3)), Texts{});
    EXPECT_EQ(heard_, (Texts{"GET / end"}));
  }
}

TEST_F(Http2ServerTest, TakesFieldsThatAreOdd) {
  const Fields odd{{"te", "trailers"}, {"x", ""}, {"x-bytes", "\x80\xff\t~"}, {"!#$%&'*+-.^_`|~", "1"}};
  EXPECT_EQ(Say(Preface() + Frame(h2::kHeaders, kWhole, 1, Block(Request("GET", odd)))), Texts{});
  EXPECT_EQ(heard_, (Texts{"GET / end te=trailers x= x-bytes=\x80\xff\t~ !#$%&'*+-.^_`|~=1"}));
}

TEST_F(Http2ServerTest, ABodyThatIsNotAsLongAsItSaidIsCut) {
  const std::string head = Block(Request("POST", {{"content-length", "4"}}));
  for (const std::string& body : {Frame(h2::kData, h2::kEndStream, 1, "abc"), Frame(h2::kData, 0, 1, "abcde")}) {
    Restart();
    EXPECT_EQ(Say(Preface() + Frame(h2::kHeaders, h2::kEndHeaders, 1, head) + body), (Texts{"reset 1 1"}));
    EXPECT_EQ(heard_.back(), Closed(StreamError::kProtocol));
    EXPECT_EQ(std::ranges::count(heard_, "end"), 0);
  }
}

TEST_F(Http2ServerTest, CarriesTrailersBothWays) {
  const std::string trailers = Frame(h2::kHeaders, kWhole, 1, Block({{"x-sum", "42"}}));
  Say(Preface() + Post(1) + Frame(h2::kData, 0, 1, "abc") + trailers);
  EXPECT_EQ(heard_, (Texts{"POST /", "body 3", "end x-sum=42"}));
  On([&] {
    Answer(*streams_[0], false);
    Arena arena;
    HeaderMap back(arena);
    back.Add("x-sum", "43");
    streams_[0]->SendTrailers(back);
  });
  EXPECT_EQ(Answers(), (Texts{"headers 1", "headers 1 end"}));
}

TEST_F(Http2ServerTest, TrailersThatAreNoneResetTheStream) {
  const std::string bad[] = {
      Frame(h2::kHeaders, h2::kEndHeaders, 1, Block({{"x-sum", "no end"}})),
      Frame(h2::kHeaders, kWhole, 1, Block({{":path", "/"}})),
      Frame(h2::kHeaders, kWhole, 1, Block({{"X-Sum", "1"}})),
  };
  for (const std::string& trailers : bad) {
    Restart();
    EXPECT_EQ(Say(Preface() + Post(1) + trailers), (Texts{"reset 1 1"}));
    EXPECT_EQ(heard_, (Texts{"POST /", Closed(StreamError::kProtocol)}));
  }
}

// ---- floods
// ------------------------------------------------------------------------------------------------------------

TEST_F(Http2ServerTest, RapidResetsEndTheConnection) {
  on_request_ = [](ServerStream& stream) { Answer(stream, false); };
  Say(Preface());
  Texts answers;
  size_t rounds = 0;
  // CVE-2023-44487: the limit of streams says nothing against it.
  for (uint32_t id = 1; rounds < 1000 && !stream_->closed; id += 2, ++rounds) {
    const Texts more = Say(Post(id) + Frame(h2::kRstStream, 0, id, U32(h2::kCancel)));
    answers.insert(answers.end(), more.begin(), more.end());
  }
  EXPECT_TRUE(answers.back().ends_with(" 11")) << answers.back();
  EXPECT_GE(rounds, 200u);
  EXPECT_LT(rounds, 1000u);
  EXPECT_EQ(server_->open_streams(), 0u);
}

TEST_F(Http2ServerTest, ResetsAmongAnswersThatAreHeardAreNoAttack) {
  on_request_ = [this](ServerStream& stream) {
    if (heard_.back().ends_with(" end")) Answer(stream);
  };
  Say(Preface());
  for (uint32_t id = 1; id < 4'000; id += 4) {
    Say(Get(id) + Post(id + 2) + Frame(h2::kRstStream, 0, id + 2, U32(h2::kCancel)));
  }
  EXPECT_FALSE(stream_->closed);
  EXPECT_EQ(server_->open_streams(), 0u);
}

TEST_F(Http2ServerTest, FramesThatDoNothingEndTheConnectionInTheEnd) {
  const std::string floods[] = {
      Frame(h2::kPing, 0, 0, "12345678"), Frame(h2::kSettings, 0, 0, ""), Frame(h2::kPriority, 0, 7, U32(1) + "w"),
      Frame(h2::kData, 0, 1, ""),         Frame(42, 0, 0, "what?"),
  };
  for (const std::string& frame : floods) {
    Restart();
    Say(Preface() + Post(1));
    Texts answers;
    size_t sent = 0;
    for (; sent < 100'000 && !stream_->closed; sent += 50) {
      std::string many;
      for (int i = 0; i < 50; ++i) many += frame;
      const Texts more = Say(many);
      answers.insert(answers.end(), more.begin(), more.end());
    }
    ASSERT_FALSE(answers.empty()) << int(frame[3]);
    EXPECT_EQ(answers.back(), "goaway 1 11") << int(frame[3]);
    EXPECT_GE(sent, 500u);
    EXPECT_LT(context_.buffers.in_use(), size_t{1} << 20);
  }
}

TEST_F(Http2ServerTest, EmptyDataOnAStreamThatIsOverCountsToo) {
  Say(Preface() + Post(1));
  On([&] { streams_[0]->Reset(StreamError::kLocal); });
  Answers();
  std::string many;
  for (int i = 0; i < 2000; ++i) many += Frame(h2::kData, 0, 1, "");
  EXPECT_EQ(Say(many), (Texts{"goaway 1 11"}));
}

TEST_F(Http2ServerTest, AHeaderBlockOfManyFramesEndsTheConnection) {
  std::string frames = Frame(h2::kHeaders, h2::kEndStream, 1, Block(Request("GET")));
  for (int i = 0; i < 20; ++i) frames += Frame(h2::kContinuation, 0, 1, "");
  // CVE-2024-27919: the block never ends, and so no limit of it is ever looked at.
  const Texts answers = Say(Preface() + frames);
  ASSERT_FALSE(answers.empty());
  EXPECT_TRUE(answers.back().ends_with(" 11")) << answers.back();
  EXPECT_TRUE(std::ranges::none_of(heard_, [](const std::string& each) { return each.starts_with("GET"); }));
}

TEST_F(Http2ServerTest, AHeaderListThatIsTooLargeIsAnswered) {
  Fields many;
  for (int i = 0; i < 8; ++i) many.push_back({"x-" + std::to_string(i), std::string(10'000, 'x')});
  const std::string block = Block(Request("GET", many));
  std::string frames = Frame(h2::kHeaders, h2::kEndStream, 1, block.substr(0, 16'000));
  for (size_t at = 16'000; at < block.size(); at += 16'000) {
    const bool last = at + 16'000 >= block.size();
    frames += Frame(h2::kContinuation, last ? h2::kEndHeaders : 0, 1, block.substr(at, 16'000));
  }
  EXPECT_EQ(Say(Preface() + frames), (Texts{"headers 1 end"}));
  EXPECT_EQ(heard_, (Texts{"bad 431"}));
  // The table of the connection is still the same at both ends.
  EXPECT_EQ(Say(Get(3)), Texts{});
  EXPECT_EQ(heard_.back(), "GET / end");
}

TEST_F(Http2ServerTest, MoreStreamsThanAllowedAreRefused) {
  limits_.max_concurrent_streams = 2;
  Restart();
  // Before the client has heard of the limit.
  EXPECT_EQ(Say(Preface() + Post(1) + Post(3) + Post(5)), (Texts{"reset 5 7"}));
  EXPECT_EQ(server_->open_streams(), 2u);
  EXPECT_EQ(Say(Frame(h2::kSettings, h2::kAck, 0) + Post(7)), (Texts{"goaway 3 1"}));
}

// ---- slow and stuck peers
// ----------------------------------------------------------------------------------------------

TEST_F(Http2ServerTest, APrefaceThatDoesNotComeToItsEndEndsTheConnection) {
  limits_.header_ms = 20;
  const std::string beginnings[] = {"", std::string(h2::kPreface, 10), std::string(h2::kPreface, h2::kPrefaceBytes),
                                    Preface() + Frame(h2::kHeaders, 0, 1, Block(Request("GET")))};
  for (const std::string& begin : beginnings) {
    Restart();
    Say(begin);
    AwaitClose();
    EXPECT_EQ(Answers().back(), begin.size() > 50 ? "goaway 1 11" : "goaway 0 11");
  }
}

TEST_F(Http2ServerTest, AClientThatNeverReadsHoldsBoundedMemoryAndNobodyElse) {
  Say(Preface() + Get(1));
  On([&] { Answer(*streams_[0], false); });
  const std::vector<uint8_t> piece(16 * 1024);
  size_t taken = 0;
  for (bool room = true; room && taken < (size_t{64} << 20);) {
    On([&] {
      room = streams_[0]->WriteRoom() > 0;
      if (!room) return;
      streams_[0]->SendBody(piece, false);
      taken += piece.size();
    });
  }
  // Its window of 65,535 bytes is used up, and what waits for it is what a stream may have.
  EXPECT_LT(taken, size_t{65'536} * 4);
  EXPECT_LT(context_.buffers.in_use(), size_t{1} << 20);
  // Another stream with the connection's window at an end: its head goes out all the same.
  Answers();
  Say(Get(3));
  On([&] { Answer(*streams_[1]); });
  EXPECT_EQ(Answers(), (Texts{"headers 3 end"}));
  // It reads at last.
  heard_.clear();
  Say(Frame(h2::kWindowUpdate, 0, 0, U32(1 << 20)) + Frame(h2::kWindowUpdate, 0, 1, U32(1 << 20)));
  EXPECT_EQ(heard_, (Texts{"writable"}));
}

TEST_F(Http2ServerTest, AnAnswerThatIsCutShowsWhatThereWasOfIt) {
  Say(Preface() + Get(1));
  On([&] {
    Answer(*streams_[0], false);
    streams_[0]->SendBody(std::vector<uint8_t>(80), false);
    streams_[0]->Reset(StreamError::kReset);
  });
  EXPECT_EQ(Answers(), (Texts{"headers 1", "data 1 80", "reset 1 2"}));
  EXPECT_EQ(server_->open_streams(), 0u);
}

// ---- ends
// --------------------------------------------------------------------------------------------------------------

TEST_F(Http2ServerTest, WhoeverEndsTheConnectionWithinARequestHearsOfNoOther) {
  on_request_ = [this](ServerStream&) { server_->Abort(); };
  Say(Preface() + Get(1) + Get(3) + Get(5));
  EXPECT_EQ(std::ranges::count(heard_, "GET / end"), 1);
  EXPECT_EQ(heard_.back(), "down");
  EXPECT_TRUE(stream_->aborted);
}

TEST_F(Http2ServerTest, ADrainServesWhatWasUnderWay) {
  Say(Preface() + Get(1));
  On([&] { server_->Drain(); });
  // No stream is refused yet: what the client sends before it has heard this arrives before its answer to the PING.
  EXPECT_EQ(Answers(), (Texts{"goaway 2147483647 0", "ping"}));
  EXPECT_EQ(Say(Get(3)), Texts{});
  EXPECT_EQ(Say(Frame(h2::kPing, h2::kAck, 0, std::string(8, '\0'))), (Texts{"goaway 3 0"}));
  // Behind the last word nothing is taken; the client knows that it may send it elsewhere.
  EXPECT_EQ(Say(Get(5)), Texts{});
  EXPECT_EQ(heard_, (Texts{"GET / end", "GET / end"}));
  On([&] { Answer(*streams_[0]); });
  EXPECT_FALSE(stream_->closed);
  On([&] { Answer(*streams_[1]); });
  EXPECT_EQ(Answers(), (Texts{"headers 1 end", "headers 3 end"}));
  EXPECT_TRUE(stream_->closed);
}

TEST_F(Http2ServerTest, ADrainDoesNotWaitForAPeerThatDoesNotAnswerIt) {
  limits_.header_ms = 20;
  Restart();
  Say(Preface());
  On([&] { server_->Drain(); });
  AwaitClose();
  EXPECT_EQ(Answers(), (Texts{"goaway 2147483647 0", "ping", "goaway 0 0"}));
}

}  // namespace
}  // namespace weft::http
